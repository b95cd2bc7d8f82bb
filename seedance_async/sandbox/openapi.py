"""The OpenAPI 3.1 document of the API, ``openapi.json``, for generators of clients and tests.

It is written from the vendor's documentation; a test compares it with the parameter tables. Rules that a
schema cannot express, such as that a URL's host must be public, are in its descriptions.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from seedance_async.sandbox.calls import BASE_PATH


@cache
def document() -> dict[str, object]:
    """The document as it is shipped, with the vendor's server."""
    return dict(json.loads((files("seedance_async.sandbox") / "openapi.json").read_text(encoding="utf-8")))


def local_document() -> dict[str, object]:
    """The document as the sandbox serves it, so that a tool that uses it calls the sandbox."""
    return {**document(), "servers": [{"url": BASE_PATH}]}
