"""Fixtures for the tests of programs that use this package.

pytest loads this module in every run of everybody who has the package installed, so importing it costs nothing:
whatever is heavy is imported inside the fixtures.
"""
