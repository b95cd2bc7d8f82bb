"""The conversion of text, such as the cells of a table, to the fields of a request. Pure.

Each cell is converted for its field: ``true`` and ``false``, whole numbers, and lists of URLs. Text that
cannot be converted is kept, and the validation of the field reports it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from seedance_async import wire
from seedance_async.errors import ValidationError
from seedance_async.models import REQUEST_TYPES, Request
from seedance_async.models.rules import split_urls

BOOLEANS: Final = frozenset({"generate_audio", "fixed_lens"})
INTEGERS: Final = frozenset({"seed", "batch_count", "repeat"})
LISTS: Final = frozenset({"media_urls", "image_urls"})
"""The fields whose text is converted; ``duration`` and all others stay text."""

ASKED_SEED: Final = "asked_seed"
"""Field of ``results.jsonl`` with the request's own seed, or null; ``seed`` is the one that was used."""

_BETWEEN_PATHS: Final = re.compile(r"[,;]")
"""Separators of local paths besides white space; a path that contains one must be in a JSON list."""


def read_request(fields: Mapping[str, object]) -> Request:
    """Return the request for a dict or a row of a table with ``model`` and the API's field names.

    Text is converted as in a CSV manifest, and empty text counts as left out, so the rows of
    ``csv.DictReader``, a form or a spreadsheet can be passed unchanged::

        with open("jobs.csv", newline="") as file:
            requests = [read_request(row) for row in csv.DictReader(file)]

    Args:
        fields: ``model``, such as ``seedance2``, and fields of that model. None counts as left out.

    Raises:
        ValidationError: with every problem, including unknown fields and suggestions for them.
    """
    given = {name: value for name, value in fields.items() if value is not None and value != ""}
    model = given.pop("model", None)
    if not isinstance(model, str):
        raise ValidationError([("model", f"is required: {', '.join(REQUEST_TYPES)}")])
    read = {name: cell(name, value) if isinstance(value, str) else value for name, value in given.items()}
    return wire.build(model, read)


def cell(name: str, text: str) -> object:
    """Return the value of a cell for a field; text that cannot be converted is returned unchanged."""
    if name in BOOLEANS:
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    if name == ASKED_SEED and not text.strip():
        return None
    if name in {*INTEGERS, ASKED_SEED} and re.fullmatch(r"\s*-?[0-9]{1,18}\s*", text):
        return int(text)
    if name == "shots":
        return _json_list(text)
    return _list(text) if name in LISTS else text


def _json_list(text: str) -> object:
    """Decode a cell as JSON; return the text unchanged if that fails."""
    try:
        return wire.loads(text.encode(errors="surrogateescape"))
    except ValueError:
        return text


def _list(text: str) -> object:
    if text.lstrip().startswith("["):
        return _json_list(text)
    parts = ((_BETWEEN_PATHS.split(part) if _is_path(part) else [part]) for part in split_urls(text))
    return [url for part in parts for url in part if url]


def _is_path(text: str) -> bool:
    """Whether a text is neither a URL nor a link, which may contain commas."""
    return "://" not in text and not text.startswith("$")
