"""Local files where a URL is asked for: uploaded once, known by their content, secret in their URLs."""

from __future__ import annotations

import json
import logging
from collections import Counter
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

import anyio
import pytest
from PIL import Image

from seedance_async import (
    BatchRunner,
    InputFile,
    Job,
    JobResult,
    ManifestError,
    MediaError,
    NanoBananaPro,
    Seedance2Video,
    SeedanceClient,
)
from seedance_async.batch.states import State
from seedance_async.cli.media import PlayStore
from seedance_async.exit_codes import ExitCode
from seedance_async.media.publisher import FAILURES_IN_A_ROW
from seedance_async.sandbox import Fault, Sandbox
from tests.batch.helpers import PATIENCE, charged, results_of, states, submits
from tests.canary import SIGNED, URL_SECRETS
from tests.rooms.s3 import Bucket, fetch

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from seedance_async import MediaStore
    from tests.batch.helpers import Jobs


def painted(path: Path, colour: str = "red") -> Path:
    """A picture of one colour; equal colours are equal files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 64), colour).save(path, format="png")
    return path


def manifest_of(directory: Path, *lines: Mapping[str, object]) -> Path:
    """A manifest of pictures unless they say otherwise."""
    path = directory / "jobs.jsonl"
    jobs = [{"model": "nano-banana-pro", "prompt": "A boat", **line} for line in lines]
    path.write_text("".join(json.dumps(job) + "\n" for job in jobs), "utf-8")
    return path


async def run(
    sandbox: Sandbox, directory: Path, jobs: Jobs, store: str | MediaStore | None, **options: object
) -> tuple[dict[str, JobResult], BatchRunner]:
    """Run a batch once, with a client of its own."""
    async with (
        SeedanceClient(sandbox.api_key, sandbox.base_url, retry=PATIENCE, media_store=store) as client,
        BatchRunner(client, directory, **options) as batch,  # type: ignore[arg-type]  # whatever it takes
    ):
        return await results_of(batch, jobs), batch


def bodies(sandbox: Sandbox) -> list[dict[str, object]]:
    """What was asked for, in order."""
    return [json.loads(body) for _, body in submits(sandbox)]


async def test_a_local_picture_is_uploaded_once_over_two_runs_and_its_url_stays_secret(
    tmp_path: Path, bucket: Bucket, caplog: pytest.LogCaptureFixture
) -> None:
    """By an S3 server: what the API gets is the file, signed for a week, and no report tells the URL."""
    caplog.set_level(logging.DEBUG)
    picture = painted(tmp_path / "shots" / "a b'ü.png")
    first = {"name": "one", "image_urls": ["shots/a b'ü.png"]}
    clip = {"name": "two", "model": "seedance2", "prompt": "It sails", "image_url": "./shots/a b'ü.png"}
    async with Sandbox() as sandbox:
        some, _ = await run(sandbox, tmp_path / "out", manifest_of(tmp_path, first), bucket.url)
        every, _ = await run(sandbox, tmp_path / "out", manifest_of(tmp_path, first, clip), bucket.url)

        assert [Counter(saved=1), Counter(saved=2)] == [states(some), states(every)]
        assert 1 == len(bucket.seen("PUT"))
        still, video = bodies(sandbox)
        assert isinstance(still["image_urls"], list)
        for url in map(str, (still["image_urls"][0], video["image_url"])):
            assert (200, picture.read_bytes()) == fetch(url)
            assert (206, picture.read_bytes()[1:4]) == fetch(url, Range="bytes=1-3")
            assert ["604800"] == parse_qs(urlsplit(url).query)["X-Amz-Expires"]

    reports = [path for path in (tmp_path / "out").iterdir() if not path.name.startswith("journal.sqlite")]
    assert {"results.jsonl", "one.png.json"} <= {path.name for path in reports}
    texts = [caplog.text, repr(every), *(path.read_bytes().decode("latin-1") for path in reports)]
    assert not [secret for secret in URL_SECRETS for text in texts if secret in text]
    lines = (tmp_path / "out" / "results.jsonl").read_text("utf-8").splitlines()
    assert str(picture) == json.loads(lines[1])["image_url"]


async def test_a_post_without_an_answer_is_sent_again_with_the_very_url_that_went(
    tmp_path: Path, bucket: Bucket
) -> None:
    """A fresh signature would be another body under the same key."""
    painted(tmp_path / "a.png")
    manifest = manifest_of(tmp_path, {"name": "one", "image_urls": ["a.png"]})
    async with Sandbox(faults=[Fault(effect="drop", on="submit", count=None)]) as sandbox:
        lost, _ = await run(sandbox, tmp_path / "out", manifest, bucket.url)
        sandbox.faults.clear()
        found, _ = await run(sandbox, tmp_path / "out", manifest, bucket.url)

        assert [Counter(uncertain=1), Counter(saved=1)] == [states(lost), states(found)]
        assert 1 == len(set(submits(sandbox)))
        assert 1 == len(sandbox.paid_tasks)


async def test_a_job_is_known_by_the_content_of_its_file(tmp_path: Path) -> None:
    """Moved and renamed it is the same job; with another content it is an edited one."""
    picture = painted(tmp_path / "a.png")
    async with Sandbox() as sandbox:
        manifest = manifest_of(tmp_path, {"name": "one", "image_urls": ["a.png"]})
        await run(sandbox, tmp_path / "out", manifest, PlayStore())
        picture.rename(tmp_path / "moved.png")
        manifest = manifest_of(tmp_path, {"name": "one", "image_urls": ["moved.png"]})
        moved, _ = await run(sandbox, tmp_path / "out", manifest, PlayStore())
        posts_before_edit = len(submits(sandbox))
        painted(tmp_path / "moved.png", "blue")  # the manifest's own bytes stay as they are
        edited, batch = await run(sandbox, tmp_path / "out", manifest, PlayStore())

        assert 1 == posts_before_edit
        assert moved["one"].earlier
        assert 2 == len(submits(sandbox))
        assert 1 == batch.summary.changes.edited
        assert edited["one"].task_ids != moved["one"].task_ids


async def test_a_finished_batch_does_not_miss_its_files_nor_a_store(tmp_path: Path) -> None:
    """What is sent is sent; a job that is still to be sent needs both."""
    painted(tmp_path / "a.png")
    painted(tmp_path / "b.png", "blue")
    one: dict[str, object] = {"name": "one", "image_urls": ["a.png"]}
    async with Sandbox() as sandbox:
        await run(sandbox, tmp_path / "out", manifest_of(tmp_path, one), PlayStore())
        (tmp_path / "a.png").unlink()
        again, _ = await run(sandbox, tmp_path / "out", manifest_of(tmp_path, one), None)
        more = manifest_of(tmp_path, one, {**one, "name": "two"}, {"name": "three", "image_urls": ["b.png"]})
        with pytest.raises(ManifestError) as refused:
            await run(sandbox, tmp_path / "out", more, None)

        assert Counter(saved=1) == states(again)
        assert 1 == len(submits(sandbox))
    assert [2, 2] == [line for line, *_ in refused.value.problems]
    assert "a.png" in str(refused.value)
    assert "1 more local files" in str(refused.value)


BAD = {
    "none": "cannot be read: No such file",
    "page": "is no picture and no clip but a page",
    "text": "is no picture and no clip",
    "empty": "is empty",
    "directory": "is not a file",
    "pipe": "is not a file",
    "large": "has 30.1 MB; a image/png may have 30 MB",
    "clip": "must be a picture; by its content it is a clip",
}


async def test_every_file_that_cannot_be_used_is_told_at_once_by_line_and_field(tmp_path: Path) -> None:
    """By what is in it, not by its name; also in a line in which something else is wrong."""
    import os

    (tmp_path / "page.png").write_text("<!DOCTYPE html><html></html>")
    (tmp_path / "text.png").write_text("secret words")
    (tmp_path / "empty.png").touch()
    (tmp_path / "directory.png").mkdir()
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "large.png").write_bytes(painted(tmp_path / "a.png").read_bytes() + bytes(30_100_000))
    (tmp_path / "clip.png").write_bytes(b"\0\0\0\x18ftypmp42" + bytes(100))
    lines: list[dict[str, object]] = [{"name": name, "image_urls": [f"{name}.png"]} for name in BAD]
    manifest = manifest_of(tmp_path, *lines, {"name": "x", "prompt": "a", "image_urls": ["none.png"]})
    async with Sandbox() as sandbox:
        with pytest.raises(ManifestError) as refused:
            await run(sandbox, tmp_path / "out", manifest, PlayStore())

        assert not submits(sandbox)
    told = {line: reason for line, field, reason in refused.value.problems if field == "image_urls"}
    assert all(words in told[line] for line, words in enumerate(BAD.values(), start=1))
    assert "cannot be read" in told[len(BAD) + 1]
    assert "secret" not in str(refused.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["manifest", "program"])
async def test_without_a_store_the_error_says_both_ways(tmp_path: Path, form: str) -> None:
    """Once, however many lines there are; nothing is sent."""
    picture = painted(tmp_path / "a.png")
    job = Job(NanoBananaPro(prompt="A boat", image_urls=[picture]))
    manifest = manifest_of(tmp_path, {"name": "free"}, {"image_urls": ["a.png"]}, {"image_urls": ["a.png"]})
    async with Sandbox() as sandbox:
        with pytest.raises(ManifestError, match=r"--media-store.*--publish-with") as refused:
            await run(sandbox, tmp_path / "out", manifest if form == "manifest" else [job], None)

        assert not submits(sandbox)
    assert [("image_urls")] == [field for _, field, _ in refused.value.problems]


async def test_a_bucket_that_is_not_there_fails_its_jobs_before_money_and_the_next_run_goes_on(
    tmp_path: Path, bucket: Bucket
) -> None:
    """Jobs without files are made all the same, and what waits for the failed one is told."""
    painted(tmp_path / "a.png")
    manifest = manifest_of(
        tmp_path,
        {"name": "one", "image_urls": ["a.png"]},
        {"name": "free"},
        {"name": "after", "image_urls": ["$one.image"]},
    )
    async with Sandbox() as sandbox:
        first, batch = await run(sandbox, tmp_path / "out", manifest, "s3://nobody-s-bucket", max_credits=100)
        spent = charged(sandbox)
        last, _ = await run(sandbox, tmp_path / "out", manifest, bucket.url)

    assert (State.PLANNED, State.SAVED, State.BLOCKED) == tuple(
        first[name].state for name in ("one", "free", "after")
    )
    assert isinstance(first["one"].error, MediaError)
    assert "NoSuchBucket" in str(first["one"].error)
    assert 12 == spent
    assert ExitCode.FAILED == batch.summary.exit_code
    assert 0 == batch.summary.credits_reserved
    assert Counter(saved=3) == states(last)


class Own:
    """A store of the user's, which does what the test says with each file's name."""

    def __init__(self, **does: object) -> None:
        self._does = does
        self.asked: list[str] = []

    async def publish(self, file: InputFile) -> str:
        """A signed URL, or something else."""
        self.asked.append(file.path.stem)
        what = self._does.get(file.path.stem)
        if callable(what):
            return str(await what())
        return f"https://files.example.com/{file.key}?signature={SIGNED}" if what is None else what  # type: ignore[return-value]


async def broken() -> str:
    """Fail, with a secret in the words."""
    raise RuntimeError(f"https://files.example.com/a?signature={SIGNED}")


async def hanging() -> str:
    """Never end."""
    await anyio.sleep_forever()
    return ""


async def cancelled() -> str:
    """Raise a cancellation that nobody asked for."""
    import asyncio

    raise asyncio.CancelledError


@pytest.mark.parametrize(
    "what", [broken, hanging, cancelled, 7, "", "ftp://a.example/x", "http://a.example/x"]
)
async def test_a_store_of_one_s_own_fails_only_what_it_serves(
    tmp_path: Path, what: object, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it does; its words are not repeated."""
    jobs = [
        Job(NanoBananaPro(prompt="A boat", image_urls=[painted(tmp_path / f"{name}.png", name)]), name=name)
        for name in ("red", "blue")
    ]
    async with Sandbox() as sandbox:
        results, _ = await run(sandbox, tmp_path / "out", jobs, Own(red=what))

        assert 1 == len(submits(sandbox))
        assert SIGNED in str(bodies(sandbox)[0]["image_urls"])
    assert (State.PLANNED, State.SAVED) == (results["red"].state, results["blue"].state)
    error = results["red"].error
    assert isinstance(error, MediaError)
    assert SIGNED not in f"{error}{error.__cause__}{error.__context__}{caplog.text}"


async def test_a_file_that_changes_after_the_survey_fails_its_job(tmp_path: Path) -> None:
    """Nothing else is sent than what was surveyed."""
    jobs = manifest_of(
        tmp_path, {"name": "first", "image_urls": ["red.png"]}, {"name": "second", "image_urls": ["blue.png"]}
    )
    painted(tmp_path / "red.png")
    painted(tmp_path / "blue.png", "blue")

    async def change() -> str:
        painted(tmp_path / "blue.png", "green")
        return "https://files.example.com/red.png"

    async with Sandbox() as sandbox:
        results, _ = await run(sandbox, tmp_path / "out", jobs, Own(red=change), max_in_flight=1)
        posts = len(submits(sandbox))
        again, batch = await run(sandbox, tmp_path / "out", jobs, Own())

    assert (State.SAVED, State.PLANNED) == (results["first"].state, results["second"].state)
    assert "has changed" in str(results["second"].error)
    assert 1 == posts
    assert Counter(saved=2) == states(again)
    assert 1 == batch.summary.changes.edited


async def test_a_store_that_fails_again_and_again_is_left_alone(tmp_path: Path) -> None:
    """A thousand jobs do not each wait for it; and equal files are asked for once."""
    colours = [f"#{number:02x}0000" for number in range(FAILURES_IN_A_ROW + 5)]
    pictures = {colour: painted(tmp_path / f"{colour[1:]}.png", colour) for colour in colours}
    store = Own(**{path.stem: broken for path in pictures.values()})
    jobs = [Job(NanoBananaPro(prompt="A boat", image_urls=[path])) for path in pictures.values()]
    async with Sandbox() as sandbox:
        results, _ = await run(sandbox, tmp_path / "out", jobs, store, max_in_flight=1)

        assert not submits(sandbox)
    assert FAILURES_IN_A_ROW == len(store.asked)
    assert Counter(planned=len(jobs)) == states(results)


async def test_what_the_api_says_of_a_signed_url_is_told_without_the_signature(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A refusal may repeat it: it comes into results, reports and logs."""
    caplog.set_level(logging.DEBUG)
    painted(tmp_path / "a.png")
    message = f"image_url https://files.example.com/a.png?X-Amz-Signature={SIGNED} cannot be fetched"
    body = json.dumps({"error": {"code": "invalid_request", "message": message}})
    refusal = Fault(effect="status", moment="before", on="submit", status=400, body=body)
    manifest = manifest_of(tmp_path, {"name": "one", "image_urls": ["a.png"]})
    async with Sandbox(faults=[refusal]) as sandbox:
        results, _ = await run(sandbox, tmp_path / "out", manifest, Own())

    assert State.REFUSED == results["one"].state
    said = str(results["one"].error)
    assert "https://files.example.com/a.png?… cannot be fetched" in said
    assert SIGNED not in said + caplog.text + (tmp_path / "out" / "results.jsonl").read_text()


async def test_a_link_and_files_stand_side_by_side(tmp_path: Path) -> None:
    """A clip from a still of the batch to a file of the disk; takes of it share the upload."""
    painted(tmp_path / "end.png")
    manifest = manifest_of(
        tmp_path,
        {"name": "still"},
        {
            "name": "clip", "model": "seedance2", "image_url": "$still.image", "end_image_url": "end.png",
            "repeat": 2,
        },
    )  # fmt: skip
    store = Own()
    async with Sandbox() as sandbox:
        results, _ = await run(sandbox, tmp_path / "out", manifest, store)

        sent = [body for body in bodies(sandbox) if "end_image_url" in body]
    assert Counter(saved=3) == states(results)
    assert [results["still"].urls[0]] * 2 == [body["image_url"] for body in sent]
    assert ["end"] == store.asked


async def test_no_text_from_elsewhere_names_a_local_file() -> None:
    """A web application's callers send requests as JSON."""
    from seedance_async import ValidationError

    for text in ("/etc/passwd", "file:///etc/passwd", "a.png", "sha256:0.png"):
        with pytest.raises(ValidationError, match="must be a public https URL"):
            Seedance2Video.from_dict({"prompt": "A boat", "image_url": text})
