"""`--media-store` and `--publish-with`: local files on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from seedance_async.exit_codes import ExitCode
from tests.canary import URL_SECRETS

if TYPE_CHECKING:
    from seedance_async.sandbox import Sandbox
    from tests.cli.conftest import Type
    from tests.rooms.s3 import Bucket

FILM = """
[assets]
mira = { file = "a.png" }
[[jobs]]
name = "one"
model = "nano-banana-pro"
prompt = "Mira"
image_urls = ["$mira"]
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """A job with a local picture, in a directory that is not the current one."""
    Image.new("RGB", (16, 16), "red").save(tmp_path / "a.png")
    path = tmp_path / "film.toml"
    path.write_text(FILM)
    return path


async def test_a_batch_publishes_its_files_and_tells_no_url(
    seedance: Type, seedance_sandbox: Sandbox, bucket: Bucket, manifest: Path
) -> None:
    """In no event, page or result."""
    out = manifest.parent / "out"
    ending = await seedance("batch", manifest, "-o", out, "--media-store", bucket.url, "--json")

    assert ExitCode.OK == ending.code
    assert 1 == len(seedance_sandbox.paid_tasks)
    told = [ending.out, ending.err, *((out / name).read_text() for name in ("gallery.html", "results.jsonl"))]
    assert not [secret for secret in URL_SECRETS for text in told if secret in text]


async def test_without_a_place_only_what_sends_is_refused(
    seedance: Type, seedance_sandbox: Sandbox, manifest: Path
) -> None:
    """An estimate and the plain jobs need none; a trial says what the run would."""
    out = manifest.parent / "out"
    run = await seedance("batch", manifest, "-o", out)
    trial = await seedance("batch", manifest, "-o", out, "--dry-run")
    estimate = await seedance("estimate", manifest)
    expanded = await seedance("expand", manifest)
    single = await seedance("generate", "nano-banana-pro", "Mira", "--image-url", manifest.parent / "a.png")

    assert [2, 2, 0, 0, 2] == [each.code for each in (run, trial, estimate, expanded, single)]
    for refused in (run, trial, single):
        assert "--media-store" in refused.err
        assert "--publish-with" in refused.err
    assert [str(manifest.parent / "a.png")] == json.loads(expanded.out)["image_urls"]
    assert not seedance_sandbox.requests
    assert not out.exists()


async def test_a_command_that_fails_is_told_with_how_to_go_on(
    seedance: Type, seedance_sandbox: Sandbox, manifest: Path
) -> None:
    """The jobs stay planned, and nothing was sent."""
    ending = await seedance("batch", manifest, "-o", manifest.parent / "out", "--publish-with", "sh -c false")

    assert ExitCode.FAILED == ending.code
    assert "planned one: --publish-with 'sh' failed with code 1" in ending.err
    assert "--publish-with 'sh -c false'" in ending.err
    assert not seedance_sandbox.requests


async def test_two_places_are_one_too_many(seedance: Type, manifest: Path) -> None:
    """Nobody could say which."""
    ending = await seedance("batch", manifest, "-o", "x", "--media-store", "s3://b", "--publish-with", "x")

    assert ExitCode.USAGE == ending.code
    assert "give only one" in ending.err


async def test_generate_takes_a_local_file(
    seedance: Type, seedance_sandbox: Sandbox, bucket: Bucket, manifest: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative to where the command runs; the place may be the environment's."""
    monkeypatch.chdir(manifest.parent)
    monkeypatch.setenv("SEEDANCE_MEDIA_STORE", bucket.url)
    ending = await seedance("generate", "nano-banana-pro", "Mira", "--image-url", "a.png", "-o", "out")

    assert ExitCode.OK == ending.code
    assert 1 == len(bucket.seen("PUT"))
    assert 1 == len(seedance_sandbox.paid_tasks)


async def test_a_sandbox_needs_no_place(seedance: Type, manifest: Path) -> None:
    """It takes files on trust, and nothing is uploaded."""
    ending = await seedance("batch", manifest, "-o", manifest.parent / "out", "--sandbox")

    assert ExitCode.OK == ending.code
    assert Path(manifest.parent / "out" / "one.png").exists()
