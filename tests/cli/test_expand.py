"""`seedance expand`: the plain jobs of a manifest, as a manifest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from seedance_async.exit_codes import ExitCode

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.sandbox import Sandbox
    from tests.cli.conftest import Type

FILM = """\
[defaults]
model = "nano-banana-pro"

[[jobs]]
name = "sheet"
prompt = "A sheet of Mira"
repeat = 2

[[jobs]]
prompt = "Mira in {city}"
image_urls = ["$sheet.image"]
matrix.city = ["Oslo", "Lima"]
"""


async def test_what_is_printed_is_a_manifest_of_the_same_jobs(
    seedance: Type, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Run from it, a batch that was begun with the other one has nothing left to do."""
    film, plain = tmp_path / "film.toml", tmp_path / "plain.jsonl"
    film.write_text(FILM)

    expanded = await seedance("expand", film)
    plain.write_text(expanded.out)
    begun = await seedance("batch", film, "-o", tmp_path / "out")
    posts = sum(record.endpoint == "submit" for record in seedance_sandbox.requests)
    again = await seedance("batch", plain, "-o", tmp_path / "out")

    assert ["sheet", "Oslo", "Lima"] == [json.loads(line)["name"] for line in expanded.lines]
    assert (ExitCode.OK, ExitCode.OK, ExitCode.OK) == (expanded.code, begun.code, again.code)
    assert 4 == posts == sum(record.endpoint == "submit" for record in seedance_sandbox.requests)


async def test_what_is_wrong_is_told_and_nothing_printed(seedance: Type, tmp_path: Path) -> None:
    """As a batch would tell it."""
    film = tmp_path / "film.toml"
    film.write_text(FILM.replace("A sheet of Mira", "A"))

    ending = await seedance("expand", film)

    assert (ExitCode.USAGE, "") == (ending.code, ending.out)
    assert "line 4, prompt: must have 3 to" in ending.err
