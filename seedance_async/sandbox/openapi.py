"""The API as an OpenAPI 3.1 document: ``openapi.json``, for whoever generates clients or tests from such.

Written from the vendor's documents; a test holds it against the tables. What a schema cannot say, such as
that a URL's host is public, stands in its descriptions.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files

from seedance_async.sandbox.exchange import BASE_PATH


@cache
def document() -> dict[str, object]:
    """The document as it is shipped; its server is the vendor's."""
    return dict(json.loads((files("seedance_async.sandbox") / "openapi.json").read_text(encoding="utf-8")))


def local_document() -> dict[str, object]:
    """The document for who serves it: no tool that is fed with it calls the vendor."""
    return {**document(), "servers": [{"url": BASE_PATH}]}
