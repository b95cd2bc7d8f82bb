"""A reader who copies a page: its blocks, top to bottom, into one shell, with a home directory that is new.

``python -m tests.docs.copying README.md`` does so in a fresh clone, and installs what the page says to
install. Called by the tests, it takes the environment that runs them for the installed one. What a block's
language means:

``bash``
    is typed. No command may end with an error, and nothing on stderr may look like one.
``text``
    is what the block before it ends with on stdout, but for times, counts of requests and places.
``console``
    has commands behind "$ ", and all that they print on stdout. They may end with an error.
``sh``
    needs something of the reader's, a key or a bucket: its syntax is checked.
others
    are saved as the file that the line before them names, "`jobs.jsonl`:". Python that is not named is run
    against a sandbox, and may ``await`` at its top, unless the line after it says of which file it is a copy.

A page that makes no environment is read in one that is active. Blocks about developing this package stand
below "## Develop", where copying ends: ``.ci/run`` runs those.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Final

import attrs
from sybil.document import Document
from sybil.parsers.markdown.lexers import FencedCodeBlockLexer

from tests.canary import clean

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

ROOT: Final = Path(__file__).parents[2]
GUIDES: Final = sorted(page.relative_to(ROOT).as_posix() for page in ROOT.glob("examples/*/README.md"))

MADE: Final = {
    "README.md": (
        *("demo-out/gallery.html", "pond/gallery.html", "harbour/gallery.html"),
        *("demo-out/01-*.mp4", "out/sd2_*.mp4", "pond/boat.mp4", "pond/fox-3.png", "harbour/shot-2.mp4"),
    )
}
"""The files that a page's reader has at the end, of the pages that make some."""

MARK: Final = "\x1e"
LOOKS_LIKE_AN_ERROR: Final = re.compile(
    r"\b(error|traceback|exception|not found|no such|denied|cannot|failed|unrecognized|usage:)", re.IGNORECASE
)
WRONG_ANYWHERE: Final = re.compile(r"traceback|command not found|unrecognized", re.IGNORECASE)
TOP_LEVEL_AWAIT: Final = """
import ast, asyncio, inspect, sys
code = compile(sys.stdin.read(), "block", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
waiting = eval(code, {"__name__": "__main__"})
if inspect.isawaitable(waiting):
    async def wait(): await waiting
    asyncio.run(wait())
"""
"""A program that runs a block as ``python -m asyncio`` would."""


@attrs.frozen
class Block:
    """A fenced block of a page."""

    language: str
    source: str
    line: int
    before: str
    """The last line before it that is not empty."""
    after: str
    """The first line after it that is not empty."""

    @property
    def saved_as(self) -> str | None:
        """The file that it is, where the line before it names one."""
        named = re.search(r"`([\w./-]+\.\w+)`(?:\s\([^)]*\))?:$", self.before)
        return named[1] if named and self.language not in {"bash", "console", "sh", "text"} else None

    @property
    def is_copy_of(self) -> str | None:
        """The file of the repository that has it, where the line after it says so."""
        named = re.match(r"This is \[`([\w./-]+)`\]", self.after)
        return named[1] if named else None


@attrs.frozen
class Said:
    """What one block wrote."""

    block: Block
    stdout: str
    stderr: str


def blocks_of(text: str) -> list[Block]:
    """The fenced blocks of a page down to "## Develop", in order."""
    document = Document(text.partition("\n## Develop\n")[0], "page")
    found = []
    for region in FencedCodeBlockLexer(r"\w+")(document):
        begin, end = region.start, region.end
        before = [line for line in document.text[:begin].splitlines() if line.strip()]
        after = [line for line in document.text[end:].splitlines() if line.strip(" `")]
        found.append(
            Block(
                language=str(region.lexemes["language"]),
                source=str(region.lexemes["source"]),
                line=document.text.count("\n", 0, begin) + 1,
                before=before[-1] if before else "",
                after=after[0] if after else "",
            )
        )
    return found


def copy_page(page: str, directory: Path, *, install: bool = False) -> list[Said]:
    """Copy all blocks of a page into one shell.

    Args:
        page: relative to the repository.
        directory: new and empty; gets the copy of the repository and the home directory.
        install: whether to install what the page says to install, in a fresh clone.

    Raises:
        AssertionError: a command failed, something looks like an error, or the page shows another ending.
    """
    here, home = directory / "repository", directory / "home"
    home.mkdir()
    if install:
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(here)], check=True)
    else:
        _take_over(here)
    text = (ROOT / page).read_text(encoding="utf-8")
    blocks, variables = blocks_of(text), _variables(home, install=install)
    if "python3 -m venv" not in text:
        variables["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{variables['PATH']}"
    said = _type(blocks, here, variables, install=install)
    for part, following in zip_longest(said, blocks[1:]):
        _judge(page, part, following)
    for pattern in MADE.get(page, ()):
        assert list(here.glob(pattern)), f"{page}: there is no {pattern} at the end"
    return said


def _take_over(here: Path) -> None:
    """A copy of the examples, beside links to the rest of the repository and to this environment."""
    shutil.copytree(ROOT / "examples", here / "examples")
    for path in ROOT.iterdir():
        if not path.name.startswith(".") and not (here / path.name).exists():
            (here / path.name).symlink_to(path)
    (here / ".venv").symlink_to(sys.prefix)


def _variables(home: Path, *, install: bool) -> dict[str, str]:
    """As in a terminal that was just opened, by somebody without a key."""
    ours = ("SEEDANCE_", "XDG_", "VIRTUAL_ENV", "PYTEST_", *(("PYTHON",) if install else ()))
    variables = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return {**variables, "HOME": str(home), "COLUMNS": "80"}


def _type(blocks: Sequence[Block], here: Path, variables: dict[str, str], *, install: bool) -> list[Said]:
    """All blocks in one shell; what each of them wrote."""
    script = here.parent / "typed.sh"
    here.with_name("block.py").write_text(TOP_LEVEL_AWAIT, encoding="utf-8")
    script.write_text("\n".join(_script(blocks, install=install)), encoding="utf-8")
    with subprocess.Popen(
        ["bash", str(script)], cwd=here, env=variables, stdin=subprocess.DEVNULL, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
    ) as shell:  # fmt: skip
        try:
            streams = shell.communicate(timeout=1200 if install else 240)
        finally:  # with whatever it left running
            with suppress(ProcessLookupError):
                os.killpg(shell.pid, signal.SIGKILL)
    outs, errors = (clean(stream).split(f"{MARK}\n")[1:] for stream in streams)
    assert len(outs) == len(blocks), f"the shell ended at block {len(outs)}: {streams[1]}"
    return [Said(*each) for each in zip(blocks, outs, errors, strict=True)]


def _script(blocks: Sequence[Block], *, install: bool) -> Iterator[str]:
    yield """trap 'echo "error: ended with $?: $BASH_COMMAND" >&2' ERR"""
    for block in blocks:
        yield f"echo {MARK}; echo {MARK} >&2"
        yield from _lines(block, install=install)


def _lines(block: Block, *, install: bool) -> Iterator[str]:
    """What is typed for a block."""
    match block.language:
        case "bash":
            yield block.source if install else _without_installing(block.source)
        case "console":
            commands = [
                line.removeprefix("$ ") for line in block.source.splitlines() if line.startswith("$ ")
            ]
            yield from (f"{{ {command}\n}} || true" for command in commands)
        case "sh":
            yield f"bash -n <<'END-OF-BLOCK'\n{block.source}END-OF-BLOCK"
        case _ if block.saved_as:
            yield f"cat > {shlex.quote(block.saved_as)} <<'END-OF-BLOCK'\n{block.source}END-OF-BLOCK"
        case "python" if not block.is_copy_of:
            command = "seedance sandbox --speed 200 -- python ../block.py"
            yield f"{command} <<'END-OF-BLOCK'\n{block.source}END-OF-BLOCK"
        case _:
            pass


def _without_installing(source: str) -> str:
    """The commands of a block but for those that make and fill an environment."""
    lines = []
    for line in source.splitlines():
        parts = re.split(r" && ", line)
        kept = [part for part in parts if not re.match(r"python3 -m venv |\S*pip install ", part)]
        lines.append(" && ".join(kept))
    return "\n".join(lines)


def _judge(page: str, said: Said, following: Block | None) -> None:
    """Compare what a block wrote with what the page shows, and look for errors."""
    where = f"{page}:{said.block.line}"
    wrong = WRONG_ANYWHERE if said.block.language == "console" else LOOKS_LIKE_AN_ERROR
    found = [line for line in said.stderr.splitlines() if wrong.search(line)]
    assert not found, f"{where}: {found}\n{said.stdout}\n{said.stderr}"
    if said.block.language == "console":
        shown = [_comparable(line) for line in said.block.source.splitlines() if not line.startswith("$ ")]
        printed = [_comparable(line) for line in said.stdout.splitlines()]
        assert shown == printed, f"{where}: it printed\n{said.stdout}\n{said.stderr}"
    if said.block.language != "text" and following and following.language == "text":
        shown = [_comparable(line) for line in following.source.strip().splitlines()]
        printed = [_comparable(line) for line in said.stdout.strip().splitlines()]
        assert shown == printed[-len(shown) :], f"{where}: it printed\n{said.stdout}\n{said.stderr}"


def _comparable(line: str) -> str:
    """A line of output without what differs between runs: where files are, how long, how many requests."""
    line = re.sub(r"file:///\S*?/([^/\s]+/[^/\s]+)$", r"file:///…/\1", line.rstrip())
    line = re.sub(r"received \d+ requests", "received # requests", line)
    if not line.startswith(("time ", "requests ")):
        return line
    if " to " in line:  # ranges of an estimate
        return re.sub(r"[\d.]+ to [\d.]+", "A to B", line)
    return re.sub(r"\d[\d.:]*" if line.startswith("time ") else r"\b[1-9]\d*", "#", line)


def main() -> None:
    """Copy pages into fresh clones."""
    for page in sys.argv[1:]:
        with tempfile.TemporaryDirectory() as directory:
            said = copy_page(page, Path(directory), install=True)
        print(f"{page}: {len(said)} blocks copied, no error")  # noqa: T201 - whoever runs it by hand reads this


if __name__ == "__main__":
    main()
