"""Prompts in saved files: asked for one by one, in batches by themselves, and never at the picture's cost."""

from __future__ import annotations

from typing import TYPE_CHECKING

import av
from PIL import Image

from seedance_async import BatchRunner, GptImage2, Job, NanoBananaPro, Seedance2Video, SeedanceClient
from seedance_async.downloads.metadata import Origin, read_origin
from seedance_async.sandbox import Sandbox
from tests.rooms.file_store import Store, finished, picture, save
from tests.rooms.raw_server import raw_server

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.models import Request

PROMPT = "Ein roter Drachen über dem Meer, 赤い凧"
REQUESTS: tuple[Request, ...] = (
    Seedance2Video(prompt=PROMPT, duration=4),
    GptImage2(prompt=PROMPT),
    NanoBananaPro(prompt=PROMPT, output_format="jpeg"),
)


def client_for(sandbox: Sandbox) -> SeedanceClient:
    """A client of this sandbox's account."""
    return SeedanceClient(sandbox.api_key, sandbox.base_url)


def comment(path: Path) -> str:
    """What a player or viewer tells about a file."""
    if path.suffix == ".mp4":
        with av.open(path, "r") as container:
            return container.metadata["comment"]
    with Image.open(path) as image:
        reported = image.info.get("Comment") or image.info["comment"]
        return reported if isinstance(reported, str) else reported.decode()


def shown(path: Path) -> list[bytes]:
    """What is seen of a file, frame by frame."""
    if path.suffix == ".mp4":
        with av.open(path, "r") as container:
            return [bytes(plane) for frame in container.decode(video=0) for plane in frame.planes]
    with Image.open(path) as image:
        return [image.tobytes()]


async def test_files_carry_the_prompt_they_are_given_and_look_the_same(tmp_path: Path) -> None:
    """A clip, its last frame, a PNG and a JPEG; without a prompt they are the server's own bytes."""
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        for request in REQUESTS:
            task = await client.generate(request)
            plain = await client.download(task, tmp_path / "plain")
            reported = await client.download(task, tmp_path / "reported", prompt=f"{PROMPT}!")

            assert [f"{PROMPT}!"] * len(reported) == [comment(path) for path in reported]
            assert [shown(path) for path in plain] == [shown(path) for path in reported]
            assert [path.name for path in plain] == [path.name for path in reported]
            for place, (path, source) in enumerate(zip(reported, plain, strict=True), start=1):
                origin = Origin(task_id=task.id, output=place, source_bytes=source.stat().st_size)
                with path.open("rb") as file:
                    assert origin == read_origin(file, path.suffix[1:])


async def test_a_batch_puts_prompts_into_its_files_unless_told_not_to(tmp_path: Path) -> None:
    """A file that left its batch still says what it was made from."""
    jobs = [Job(request, name=f"kite-{number}") for number, request in enumerate(REQUESTS)]
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        for embed in (True, False):
            async with BatchRunner(client, tmp_path / str(embed), embed=embed) as batch:
                results = [result async for result in batch.run(jobs)]
            paths = [tmp_path / str(embed) / file for result in results for file in result.files]

            assert 4 == len(paths)
            assert embed == all(b'"source_bytes"' in path.read_bytes() for path in paths)
            assert not embed or [PROMPT] * 4 == [comment(path) for path in paths]


async def test_a_file_that_cannot_carry_a_prompt_is_saved_without(tmp_path: Path) -> None:
    """A change would break the signature of a signed one, and it is paid."""
    body = picture(100_000)
    async with raw_server(Store(body)) as server:
        (path,) = await save(finished(server.url), tmp_path, prompt=PROMPT)

    assert body == path.read_bytes()
    assert [path] == list(tmp_path.iterdir())


async def test_a_file_is_kept_whether_it_was_saved_with_its_prompt_or_without(tmp_path: Path) -> None:
    """Asking for it the other way is no reason to have it twice."""
    async with Sandbox() as sandbox, client_for(sandbox) as client:
        task = await client.generate(REQUESTS[0])
        for folder, (first, second) in {"a": (PROMPT, None), "b": (None, PROMPT)}.items():
            saved = await client.download(task, tmp_path / folder, prompt=first)
            contents = [path.read_bytes() for path in saved]

            assert saved == await client.download(task, tmp_path / folder, prompt=second)
            assert contents == [path.read_bytes() for path in saved]
            assert 2 == len(list((tmp_path / folder).iterdir()))
