"""Integrations: this package inside other programs' frameworks, each in a room of its own.

Each needs the extra of its name; nothing else of the package imports them.
"""
