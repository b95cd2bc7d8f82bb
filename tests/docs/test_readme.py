"""Tests of the README: its Python runs, its tables are those of the code, its commands exist."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import anyio
import pytest
from sybil.document import Document
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

from seedance_async import BatchRunner, RateLimit, RetryPolicy, SeedanceClient, Timeouts
from seedance_async.cli.app import build
from seedance_async.client import BASE_URL
from seedance_async.downloads.fetch import ATTEMPTS
from seedance_async.errors import BY_CODE
from seedance_async.retry import KEY_TRUSTED
from seedance_async.sandbox import Behaviour, Fault, Sandbox
from seedance_async.sandbox.faults import NAMED
from tests.examples.processes import ask, run, serving
from tests.sandbox.api import CLIP, VIDEO, calling

if TYPE_CHECKING:
    from collections.abc import Awaitable

README = Path(__file__).parents[2] / "README.md"
TEXT = README.read_text(encoding="utf-8")
DEMO = (
    "python3 -m venv .venv && .venv/bin/pip install '.[cli,sandbox]' && .venv/bin/seedance demo -o demo-out"
)
TESTS = "python3 -m venv .venv && .venv/bin/pip install -e '.[dev]' && .venv/bin/pytest -n auto"


def blocks(language: str) -> list[str]:
    """The fenced blocks of a language, in order."""
    regions = FencedCodeBlockLexer(language)(Document(TEXT, str(README)))
    return [str(region.lexemes["source"]) for region in regions]


def block(*, naming: str, language: str = "python") -> str:
    """The one block with this in it."""
    (found,) = [source for source in blocks(language) if naming in source]
    return found


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table below a heading, without its own head."""
    section = re.split(r"^## ", TEXT.split(f"\n## {heading}\n")[1], flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines[2:]]


async def play(source: str) -> None:
    """Run a block as `python -m asyncio` would: `await` and `async with` at its top."""
    code = compile(source, str(README), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    waiting: Awaitable[object] = eval(code, {"__name__": "readme"})
    await waiting


def test_every_python_block_is_run_by_a_test_below() -> None:
    """A new one cannot be forgotten."""
    tested = ["asyncio.run", "as_completed", "BatchRunner", "def test_", "FastAPI("]

    assert len(tested) == len(blocks("python"))
    assert all(block(naming=mark) for mark in tested)


def test_one_video_runs_as_a_script(tmp_path: Path) -> None:
    """The first program anybody copies."""
    script = tmp_path / "one_video.py"
    script.write_text(block(naming="asyncio.run"), encoding="utf-8")

    (line,) = run(script, directory=tmp_path)

    assert 2 == len(list((tmp_path / "out").iterdir()))
    assert ".mp4" in line


@pytest.mark.usefixtures("environment")
async def test_many_come_as_they_complete(capsys: pytest.CaptureFixture[str]) -> None:
    """Each result once, and the requests it took."""
    await play(block(naming="as_completed"))

    *results, last = capsys.readouterr().out.splitlines()
    assert ["0", "1", "2"] == sorted(line[0] for line in results)
    assert last.endswith(" 36 credits")


@pytest.mark.usefixtures("environment")
async def test_a_batch_can_be_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second run finds everything saved and pays nothing."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "jobs.jsonl").write_text(block(naming='"repeat"', language="json"), encoding="utf-8")

    await play(block(naming="BatchRunner"))
    first = capsys.readouterr().out.splitlines()
    await play(block(naming="BatchRunner"))
    second = capsys.readouterr().out.splitlines()

    assert ["boat saved", "fox saved", "fox-2 saved", "fox-3 saved", "poster saved"] == sorted(
        " ".join(line.split()[:2]) for line in first[:-1]
    )
    assert first[-1] == second[-1]
    assert {"journal.sqlite", "results.jsonl", "boat.mp4", "boat.mp4.json"} < {
        path.name for path in (tmp_path / "boats").iterdir()
    }


async def test_the_storyboard_is_made(
    tmp_path: Path, seedance_client: SeedanceClient, seedance_sandbox: Sandbox
) -> None:
    """Every job of it, each from what it says."""
    manifest = tmp_path / "jobs.jsonl"
    manifest.write_text(block(naming='"shot-2"', language="json"), encoding="utf-8")

    async with BatchRunner(seedance_client, tmp_path / "out") as batch:
        results = {result.name: result async for result in batch.run(manifest)}

    assert {"saved"} == {str(result.state) for result in results.values()}
    sent = [json.loads(record.body) for record in seedance_sandbox.requests if record.endpoint == "submit"]
    assert results["shot-1"].urls[1] == sent[-1]["image_url"]


def test_the_test_with_the_plugin_passes(tmp_path: Path) -> None:
    """In a project of its own, with nothing configured."""
    (tmp_path / "test_clips.py").write_text(block(naming="def test_"), encoding="utf-8")

    ending = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", "-p", "no:asyncio"],
        capture_output=True, text=True, timeout=50, check=False, cwd=tmp_path,
    )  # fmt: skip

    assert "1 passed" in ending.stdout, ending.stdout


async def test_the_rules_of_the_example_lose_what_is_said() -> None:
    """Two POSTs that are paid, and five looks, wherever chance puts them."""
    rules = Fault.read_all(json.loads(block(naming='"probability"', language="json")))
    async with calling(Sandbox(faults=rules)) as api:
        for _ in range(2):
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await api.post(VIDEO, CLIP)
        submitted = await api.post(VIDEO, CLIP)
        for _ in range(300):
            await anyio.sleep(2.1)  # as the limit wants it
            with suppress(aiohttp.ServerDisconnectedError):
                await api.task(submitted.id)

    faults = [record.fault for record in api.sandbox.requests]
    assert 3 == len(api.sandbox.paid_tasks)
    assert ["drop", "drop", ""] == faults[:3]
    assert 5 == faults[3:].count("drop")
    assert "" in faults[3 : faults.index("drop", 3)]


async def test_the_prompts_of_the_text_ask_for_what_is_said() -> None:
    """The answer to a paid POST is lost, three looks are a page, and files are smaller."""
    first, second, third = re.findall(r"`(\[\[fault:[^`]+\]\])`", TEXT)
    async with calling(Sandbox()) as api:
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await api.post(VIDEO, {"prompt": f"A train {first}"})
        paged = await api.post(VIDEO, {"prompt": f"A train {second}"})
        for _ in range(3):
            with pytest.raises(aiohttp.ContentTypeError):
                await api.task(paged.id)

        assert 200 == (await api.task(paged.id)).status
        assert 2 == len(api.sandbox.paid_tasks)
    assert NAMED[third.removeprefix("[[fault:").removesuffix("]]")].effect == "deliver"


def test_the_flags_and_switches_of_the_sandbox_are_those_of_the_code() -> None:
    """As the section on testing names them."""
    section = TEXT.split("\n## Testing your own code\n")[1].split("\n## ")[0]
    flags = set(re.findall(r"`(--[a-z-]+)", section))
    (switches,) = re.findall(r"switches, such as `(\{.*?\})`", section)

    assert {"--behaviour", "--faults", "--list-faults", "--state", "--host"} == flags
    assert flags <= {
        name for argument in build()["sandbox"].assemble_argument_collection() for name in argument.names
    }
    assert "reject" == Behaviour.read(json.loads(switches)).repeated_key


def test_every_module_of_the_tests_that_is_named_can_be_run() -> None:
    """As `python -m`."""
    named = set(re.findall(r"`python -m (tests[\w.]*)", TEXT))

    assert {
        "tests.fuzz", "tests.faults.soak", "tests.faults.processes", "tests.faults.catalogue"
    } == named  # fmt: skip
    assert all(find_spec(name) for name in named)


def test_the_backend_submits(tmp_path: Path) -> None:
    """The block is a whole application."""
    program = tmp_path / "app.py"
    program.write_text(
        f"{block(naming='FastAPI(')}\n\nimport uvicorn\nuvicorn.run(app, port=0)\n", encoding="utf-8"
    )

    with serving(program) as origin:
        status, answer = ask("POST", f"{origin}/clips?prompt=A%20paper%20boat")

    assert 202 == status
    assert str(answer["id"]).startswith("sd2_")


@pytest.mark.parametrize("command", [DEMO, TESTS])
def test_the_two_commands_stand_in_blocks_of_their_own(command: str) -> None:
    """They are run as they are written here, in fresh copies."""
    assert [f"{command}\n"] == [source for source in blocks("bash") if command in source]


def test_every_verb_is_in_the_table_and_every_row_is_a_verb() -> None:
    """In the order in which help lists them."""
    app = build()
    verbs = sorted((name for name in app if not name.startswith("-")), key=lambda name: app[name].sort_key)

    assert verbs == [row[0].strip("`").split()[1] for row in rows("Command line")]


def test_every_code_of_the_api_has_its_class_in_the_table() -> None:
    """As `errors.BY_CODE` has it."""
    table = {row[0].strip("`"): row[1].strip("`") for row in rows("Errors: what to do")}

    assert {code: error.__name__ for code, error in BY_CODE.items()}.items() <= table.items()


def test_the_defaults_are_those_of_the_code() -> None:
    """Row by row, in the units that are written beside them."""
    settings = {"RateLimit": RateLimit(), "Timeouts": Timeouts(), "RetryPolicy": RetryPolicy()}

    for row in rows("Limits and defaults"):
        named = re.search(r"(RateLimit|Timeouts|RetryPolicy)\((\w+)=", row[2])
        assert named, row
        default = None if row[1] == "as above" else float(row[1])
        assert default == getattr(settings[named[1]], named[2]), row


def test_numbers_in_the_text_are_those_of_the_code() -> None:
    """What is said in words beside the tables."""
    assert f"`{BASE_URL}`" in TEXT
    assert f"longer than {KEY_TRUSTED / 3600:.0f} hours" in TEXT
    assert {4: "tried four times"}[ATTEMPTS] in TEXT
    assert f"for {({600.0: 'ten'})[RetryPolicy().max_elapsed]} minutes" in TEXT


def test_the_arithmetic_of_the_problem_is_right() -> None:
    """One clip of 180 s at 30 requests a minute."""
    looks = 180 // 5
    naive, least = rows("The problem")

    assert [1 + looks, 30 * 60 // (1 + looks)] == [int(cell) for cell in naive[1:]]
    assert [2, 30 * 60 // 2] == [int(cell) for cell in least[1:]]


def test_every_link_to_a_file_leads_somewhere() -> None:
    """Relative to this page."""
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", TEXT)

    assert links
    assert [] == [link for link in links if not (README.parent / link).exists()]
