"""`seedance batch` as people use it: refused manifests, names with slashes, other people's directories."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from seedance_async.batch.journal import Journal, opening, permissions
from seedance_async.batch.journal.opening import open_file
from seedance_async.errors import JournalError
from seedance_async.exit_codes import ExitCode
from tests.cli.test_batch import pictures, results

if TYPE_CHECKING:
    from collections.abc import Callable

    from seedance_async.sandbox import Sandbox
    from tests.cli.conftest import Type

GOOD = '{"name": "a", "model": "nano-banana-pro", "prompt": "A boat", "output_format": "jpeg"}\n'

REFUSED = {
    "not-json.jsonl": "{",
    "empty.jsonl": "",
    "quote.csv": 'model,prompt\nnano-banana-pro,"A boat\nnano-banana-pro,A fox\n',
    "prompts.txt": "A boat\nA fox\n",
    "late.jsonl": GOOD + '{"name": "b", "model": "nano-banana-pro", "prompt": "x"}\n',
    "twice.jsonl": GOOD + GOOD,
    "jobs.yaml": "- model: nano-banana-pro\n",
}


@pytest.mark.parametrize("name", [*REFUSED, "missing.jsonl", "."])
@pytest.mark.parametrize("place", ["out", "a/b/out"])
@pytest.mark.parametrize("flags", [[], ["--sandbox"]], ids=["account", "sandbox"])
async def test_a_refused_manifest_leaves_nothing_behind(
    flags: list[str], place: str, name: str, seedance: Type, tmp_path: Path, seedance_sandbox: Sandbox
) -> None:
    """No directory, no journal, no POST: the next command begins as if this had not been."""
    if name in REFUSED:
        (tmp_path / name).write_text(REFUSED[name])
    before = sorted(tmp_path.rglob("*"))

    ending = await seedance("batch", tmp_path / name, "-o", tmp_path / place, *flags)

    assert ExitCode.USAGE == ending.code
    assert [] == seedance_sandbox.requests
    assert before == sorted(tmp_path.rglob("*"))


async def test_a_refused_manifest_leaves_a_directory_as_it_was(
    seedance: Type, tmp_path: Path, seedance_sandbox: Sandbox
) -> None:
    """A batch that was there goes on; files of others stay."""
    out, manifest = tmp_path / "out", pictures(tmp_path, 2)
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    good = manifest.read_text()
    manifest.write_text("{")
    refused = await seedance("batch", manifest, "-o", out)
    left = [path.name for path in out.iterdir()]
    manifest.write_text(good)
    endings = [await seedance("batch", manifest, "-o", out)]
    manifest.write_text(f"{good}{{")
    endings += [await seedance("batch", manifest, "-o", out)]
    manifest.write_text(good)
    endings += [await seedance("batch", manifest, "-o", out)]

    assert (ExitCode.USAGE, ["notes.txt"]) == (refused.code, left)
    assert [ExitCode.OK, ExitCode.USAGE, ExitCode.OK] == [ending.code for ending in endings]
    assert 2 == len(seedance_sandbox.paid_tasks)


@pytest.mark.parametrize("place", [0, 1, 2])
async def test_a_name_that_comes_twice_is_told_together_with_all_else(
    place: int, seedance: Type, tmp_path: Path
) -> None:
    """Also where one of the two is wrong in another way: mended line by line, a night is over."""
    jobs: list[dict[str, object]] = [
        {"name": "a", "model": "nano-banana-pro", "prompt": "A boat"},
        {"name": "A", "model": "nano-banana-pro", "prompt": "A fox"},
        {"name": "b", "model": "seedance2", "prompt": "A cat", "duration": 99},
    ]
    if place < 2:
        jobs[place]["prompt"] = "x"
    (tmp_path / "jobs.jsonl").write_text("".join(json.dumps(job) + "\n" for job in jobs))

    ending = await seedance("batch", tmp_path / "jobs.jsonl", "-o", tmp_path / "out")

    assert ExitCode.USAGE == ending.code
    assert "line 2, name: 'A' is the name of the job at line 1 too" in ending.err
    assert "line 3, duration: must be a whole number of seconds from 4 to 15; got 99" in ending.err
    assert (place < 2) == (f"line {place + 1}, prompt: " in ending.err)


async def test_a_broken_line_uses_its_name_also_in_a_batch_that_has_begun(
    seedance: Type, tmp_path: Path
) -> None:
    """A job of the run before may have it, without standing in the way."""
    manifest = tmp_path / "jobs.jsonl"
    manifest.write_text(GOOD)
    await seedance("batch", manifest, "-o", tmp_path / "out")
    manifest.write_text('{"name": "a", "model": "x", "prompt": "A boat"}\n' + GOOD)

    ending = await seedance("batch", manifest, "-o", tmp_path / "out")

    assert ExitCode.USAGE == ending.code
    assert "line 1, model: is not a known model" in ending.err
    assert "got 'x'" in ending.err
    assert "line 2, name: 'a' is the name of the job at line 1 too" in ending.err


def test_a_journal_that_was_taken_away_while_it_was_opened_is_not_worked_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before its lock was had, another runner may have left; what is paid would be recorded nowhere."""
    prepare = opening.prepare

    def too_late(connection: sqlite3.Connection) -> None:
        prepare(connection)
        (tmp_path / "journal.sqlite").unlink()

    open_file(tmp_path).close()
    monkeypatch.setattr(opening, "prepare", too_late)

    with pytest.raises(JournalError, match="run again"):
        open_file(tmp_path)


# --- names


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("shots/one", "shots/one.jpg"),
        ("a/b/c", "a/b/c.jpg"),
        (" a / b ", "a-"),
        ("v1.2/take: one", "v1.2/take_ one-"),
        ("雪/山", "雪/山.jpg"),
        ("con/x", "_con-"),
    ],
)
async def test_the_slashes_of_a_name_make_folders(
    name: str, file: str, seedance: Type, tmp_path: Path
) -> None:
    """Each part made safe for itself; the sidecar beside it, and the gallery finds both."""
    (tmp_path / "jobs.jsonl").write_text(json.dumps({**json.loads(GOOD), "name": name}))

    ending = await seedance("batch", tmp_path / "jobs.jsonl", "-o", tmp_path / "out")

    (found,) = list(map(str, results(tmp_path / "out")[name]["files"]))  # type: ignore[call-overload]
    assert ExitCode.OK == ending.code
    assert found.startswith(file)
    assert name.count("/") == found.count("/")
    assert (tmp_path / "out" / f"{found}.json").exists()


@pytest.mark.parametrize(
    "name",
    ["/etc/x", "a/", "a//b", "../a", "a/../b", "./a", "https://example.com/a.png", "journal.sqlite/a",
     "results.jsonl/a", "gallery.html/a", "x.png/a", "/"],
)  # fmt: skip
async def test_a_slash_that_makes_no_folder_is_refused(
    name: str, seedance: Type, tmp_path: Path, seedance_sandbox: Sandbox
) -> None:
    """Nor one whose folder would stand where a file of the batch has to."""
    (tmp_path / "jobs.jsonl").write_text(json.dumps({**json.loads(GOOD), "name": name}))

    ending = await seedance("batch", tmp_path / "jobs.jsonl", "-o", tmp_path / "out")

    assert ExitCode.USAGE == ending.code
    assert "line 1, name: has a /" in ending.err
    assert [] == seedance_sandbox.requests


@pytest.mark.parametrize("locale", ["C", "POSIX"])
def test_names_that_the_locale_lacks_are_written_in_ascii(locale: str, tmp_path: Path) -> None:
    """Under its record each is the same job, and the next run, in whichever locale, pays for nothing."""
    names = ["雪", "été", "雪/山", "🛶", "boat-雪", "plain"]
    jobs = [{**json.loads(GOOD), "name": name} for name in names]
    (tmp_path / "jobs.jsonl").write_text("".join(json.dumps(job) + "\n" for job in jobs))
    words = [sys.executable, "-m", "seedance_async", "batch", "jobs.jsonl", "-o", "out", "--sandbox"]
    old = {"LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(Path.cwd())}
    runs = [
        subprocess.run(words, cwd=tmp_path, env=environment, capture_output=True, check=False)
        for environment in (os.environ | old, {**os.environ, "PYTHONPATH": old["PYTHONPATH"]})
    ]

    found = [str(file) for name in names for file in results(tmp_path / "out")[name]["files"]]  # type: ignore[attr-defined]
    assert [ExitCode.OK, ExitCode.OK] == [run.returncode for run in runs], runs[0].stderr
    assert all(file.isascii() and (tmp_path / "out" / file).exists() for file in found)
    assert found[-1] == "plain.jpg"
    assert len(names) == (tmp_path / "out" / "sandbox.jsonl").read_text().count('"body"')
    assert b"Traceback" not in runs[0].stderr + runs[1].stderr


# --- other people's directories


NOBODY = 65534


@pytest.mark.parametrize("changed", ["journal.sqlite", "journal.sqlite-wal", "journal.pid", "out", "both"])
async def test_files_of_somebody_else_are_told_to_be_theirs_and_never_called_damaged(
    changed: str, seedance: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After `sudo`, say: the words tell whose they are, and not to begin elsewhere or delete anything."""
    out, manifest = tmp_path / "out", pictures(tmp_path, 1)
    await seedance("batch", manifest, "-o", out)
    closed = {"out": [out], "folder": [out], "both": [out, out / "journal.sqlite"]}.get(
        changed, [out / changed]
    )
    if not closed[0].exists():
        closed[0].write_bytes(b"x")
    access, opened = os.access, os.open

    def forbidden(path: os.PathLike[str] | str, *_: object, **__: object) -> bool:
        return os.fspath(path) not in set(map(str, closed)) and access(path, os.R_OK)

    def refused(path: os.PathLike[str] | str, *rest: int, **more: int) -> int:
        if any(str(path).startswith(str(each)) for each in closed):
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *rest, **more)

    def unable(*_: object, **__: object) -> None:
        raise sqlite3.OperationalError("unable to open database file")

    monkeypatch.setattr(os, "access", forbidden)
    monkeypatch.setattr(os, "open", refused)
    monkeypatch.setattr(opening, "prepare", unable)
    monkeypatch.setattr(permissions, "_own_id", lambda: NOBODY)
    ending = await seedance("batch", manifest, "-o", out)

    assert ending.code in {ExitCode.USAGE, ExitCode.FAILED}
    assert "it belongs to" in ending.err
    assert "Do not delete it" in ending.err
    assert "damaged" not in ending.err
    assert "another directory" not in ending.err


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="becomes somebody else")
@pytest.mark.parametrize(("kept", "usable"), [(0o600, False), (0o644, False), (0o666, True)])
def test_a_journal_of_another_user_is_used_where_it_may_be_and_else_named(kept: int, usable: bool) -> None:
    """In truth, in another process: after a run with `sudo`, or where all files are somebody's."""
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        connection = open_file(directory)
        opening.close(connection, directory)
        directory.chmod(0o777)
        (directory / "journal.sqlite").chmod(kept)
        said = as_nobody(lambda: asyncio.run(Journal.open(directory)))

    assert usable == (said == "")
    assert (
        usable or "belongs to root, and this runs as nobody. Run as root, or take it over with: sudo" in said
    )
    assert "damaged" not in said


def as_nobody(action: Callable[[], object]) -> str:
    """What an action raises that another user does."""
    reader, writer = os.pipe()
    if not os.fork():
        said = ""
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            action()
        except BaseException as problem:  # it must not come back into the tests
            said = f"{type(problem).__name__}: {problem}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as stream:
        said = stream.read().decode()
    os.wait()
    return said


async def test_a_mount_that_refuses_chmod_is_worked_on(
    seedance: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """CIFS, exFAT and NTFS give every file one owner and one mode."""
    manifest, out = pictures(tmp_path, 1), tmp_path / "out"
    await seedance("batch", manifest, "-o", out)
    (out / "journal.sqlite").chmod(0o777)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr("pathlib.Path.chmod", refuse)
    ending = await seedance("batch", manifest, "-o", out)

    assert ExitCode.OK == ending.code
    assert "stays readable for others: Operation not permitted" in caplog.text
    assert 0o777 == stat.S_IMODE((out / "journal.sqlite").stat().st_mode)


# --- no temporary files


@pytest.mark.parametrize("words", [["batch", "-o", "out"], ["estimate"], ["batch", "--dry-run"]], ids=str)
async def test_no_directory_for_temporary_files_is_needed(
    words: list[str],
    seedance: Type,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A read-only container may have none: SQLite keeps in memory what it cannot put into a file."""
    access = os.access

    def only_here(path: os.PathLike[str] | str, mode: int, **_: object) -> bool:
        return str(path) not in {"/tmp", "/var/tmp", "/usr/tmp", "."} and access(path, mode)

    for name in ("TMPDIR", "SQLITE_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "access", only_here)
    monkeypatch.setattr("tempfile.tempdir", "/nonexistent")
    monkeypatch.chdir(tmp_path)
    command, *rest = words

    ending = await seedance(command, pictures(tmp_path, 2), *rest)

    assert ExitCode.OK == ending.code
    assert "MEMORY" == opening._temp_store()
    assert ["jobs.jsonl"] == [path.name for path in tmp_path.iterdir() if path.name != "out"]


async def test_where_nothing_can_be_written_an_estimate_says_what_to_set(
    seedance: Type, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one line, and not as a traceback of the library that makes such directories."""
    monkeypatch.setattr("tempfile.tempdir", "/nonexistent")
    monkeypatch.setattr("seedance_async.batch.survey.SHARED_MEMORY", "/nonexistent")

    ending = await seedance("estimate", pictures(tmp_path, 1))

    assert ExitCode.USAGE == ending.code
    assert "set TMPDIR" in ending.err
