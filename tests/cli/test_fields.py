"""`seedance fields`: what each field of a request accepts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from seedance_async.exit_codes import ExitCode
from seedance_async.models import REQUEST_TYPES
from seedance_async.models.reference import fields_of

if TYPE_CHECKING:
    from tests.cli.conftest import Type


async def test_every_model_has_a_table(seedance: Type) -> None:
    """Narrow enough to be read, with what several fields must agree upon below."""
    printed = await seedance("fields")

    assert ExitCode.OK == printed.code
    assert [*REQUEST_TYPES] == [line for line in printed.lines if line in REQUEST_TYPES]
    assert max(map(len, printed.lines)) < 120
    assert "1080p-plus and 4k need quality_tier pro" in printed.out


async def test_one_model_as_json(seedance: Type) -> None:
    """For programs that make forms of it."""
    rows = [json.loads(line) for line in (await seedance("fields", "seedance2", "--json")).lines]

    assert [field.name for field in fields_of("seedance2")] == [row["name"] for row in rows]
    (duration,) = [row for row in rows if row["name"] == "duration"]
    assert {"accepts": "4 to 15", "default": "5", "required": False}.items() <= duration.items()


async def test_an_unknown_model_names_the_one_that_was_meant(seedance: Type) -> None:
    """As everywhere."""
    refused = await seedance("fields", "seedance")

    assert ExitCode.USAGE == refused.code
    assert "did you mean 'seedance2'?" in refused.err
