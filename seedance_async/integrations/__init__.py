"""Integrations of this package into other programs: web frameworks, agents (``mcp``), workers (``engine``).

``fastapi``, ``mcp`` and ``engine`` need extra packages; ``aiohttp`` needs none. ``events``, ``problems`` and
``results_tail`` are shared by the web frameworks; ``bodies`` is for FastAPI and pydantic. Of the rest of the
package only ``cli`` imports them, and only when a command needs one.
"""
