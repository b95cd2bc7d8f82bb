"""Tests of the reference of requests: it says what the classes do."""

from __future__ import annotations

import inspect

import attrs
import pytest

from seedance_async import ValidationError, wire
from seedance_async.models import REQUEST_TYPES
from seedance_async.models.reference import CONFLICTS, fields_of

URL = "https://a.example/1.png"

BROKEN: dict[str, list[dict[str, object]]] = {
    "seedance2": [
        {"image_url": URL, "media_urls": [URL]},
        {"end_image_url": URL},
        {"resolution": "4k"},
        {"seed": 1, "channel": "real"},
    ],
    "gpt-image-2": [{"image_urls": [URL], "type": "text-to-image"}],
    "nano-banana-pro": [{"image_urls": [URL], "type": "text-to-image"}],
}
"""For each line of ``CONFLICTS`` a request that breaks it and nothing else."""


@pytest.mark.parametrize("model", REQUEST_TYPES)
def test_every_field_says_what_it_accepts(model: str) -> None:
    """In the table, and in the docstring that ``help`` shows."""
    fields = fields_of(model)

    assert [field.name for field in attrs.fields(REQUEST_TYPES[model])] == [field.name for field in fields]
    assert all(field.accepts for field in fields)
    assert ["prompt"] == [field.name for field in fields if field.required]
    documented = inspect.cleandoc(REQUEST_TYPES[model].__doc__ or "")
    assert [] == [field.name for field in fields if f"    {field.name}: " not in documented]


@pytest.mark.parametrize("model", REQUEST_TYPES)
def test_what_is_said_to_be_accepted_and_left_out_is(model: str) -> None:
    """The words of a choice, the ends of a range, and the defaults, by the classes themselves."""
    for field in fields_of(model):
        if field.default is not None:
            built = getattr(wire.build(model, {"prompt": "A kite"}), field.name)
            assert field.default == (str(built).lower() if isinstance(built, bool) else str(built))
        low, _, high = field.accepts.partition(" to ")
        if low.lstrip("-").isdigit() and high.isdigit():
            others = {"quality_tier": "standard"} if field.name == "seed" else {}
            for value in (int(low), int(high)):
                wire.build(model, {"prompt": "A kite", **others, field.name: value})
            for value in (int(low) - 1, int(high) + 1):
                with pytest.raises(ValidationError, match=field.name):
                    wire.build(model, {"prompt": "A kite", **others, field.name: value})


@pytest.mark.parametrize("model", REQUEST_TYPES)
def test_every_conflict_that_is_told_is_refused(model: str) -> None:
    """A rule in words that the class does not have would mislead."""
    assert len(CONFLICTS[model]) == len(BROKEN[model])
    for fields in BROKEN[model]:
        with pytest.raises(ValidationError):
            wire.build(model, {"prompt": "A kite", **fields})
