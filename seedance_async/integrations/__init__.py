"""Integrations with web frameworks: what they share, and a module for each of them.

``fastapi`` and ``aiohttp`` need the framework of their name; nothing else of the package imports them.
"""
