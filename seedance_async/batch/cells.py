"""Requests and fields made of text, as the cells of a table and environment variables have them. Pure.

A cell is read by the field it belongs to: ``true`` and ``false``, whole numbers, and lists of URLs. What
cannot be read stays text, and the field's own rule says what is wrong with it.
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
"""How the text of a cell is read; ``duration`` and all others stay text."""

ASKED_SEED: Final = "asked_seed"
"""In a line of ``results.jsonl`` the request's own seed, or null; ``seed`` there is the one that was used."""

_BETWEEN_PATHS: Final = re.compile(r"[,;]")
"""What parts the paths of local files, too; one with a comma or a blank in it stands in a JSON list."""


def read_request(fields: Mapping[str, object]) -> Request:
    """The request that a dict, or a row of a table, stands for: ``model`` and the fields by the API's names.

    Text is read as in a CSV manifest, and an empty one counts as left out, so that ``csv.DictReader``, a form
    or a spreadsheet can be passed on as they are::

        with open("jobs.csv", newline="") as file:
            requests = [read_request(row) for row in csv.DictReader(file)]

    Args:
        fields: ``model``, such as ``seedance2``, and fields of that model. None counts as left out.

    Raises:
        ValidationError: with every problem, unknown fields and the names that were probably meant included.
    """
    given = {name: value for name, value in fields.items() if value is not None and value != ""}
    model = given.pop("model", None)
    if not isinstance(model, str):
        raise ValidationError([("model", f"is required: {', '.join(REQUEST_TYPES)}")])
    read = {name: cell(name, value) if isinstance(value, str) else value for name, value in given.items()}
    return wire.build(model, read)


def cell(name: str, text: str) -> object:
    """What a cell stands for; what cannot be read stays text, for the field's own rule to name."""
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
    """A list in a cell as JSON has it; any other text stays one."""
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
    """Whether it is neither a URL nor a link: either may have commas in it."""
    return "://" not in text and not text.startswith("$")
