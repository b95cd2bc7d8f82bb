"""The OpenAPI 3.1 document of the API, ``openapi.json``, for generators of clients and tests.

Written from the vendor's documents; a test compares it with the parameter tables. Rules that a schema cannot
express, such as that a URL's host is public, are in its descriptions.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from seedance_async.sandbox.calls import BASE_PATH


@cache
def document() -> dict[str, object]:
    """The document as it is shipped; its server is the vendor's."""
    return dict(json.loads((files("seedance_async.sandbox") / "openapi.json").read_text(encoding="utf-8")))


def local_document() -> dict[str, object]:
    """The document as the sandbox serves it: a tool that uses it calls the sandbox, not the vendor."""
    return {**document(), "servers": [{"url": BASE_PATH}]}
