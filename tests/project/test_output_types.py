"""Tests of the types that a user's type checker sees: mypy and basedpyright check this file, too."""

from __future__ import annotations

from typing import assert_type

from seedance_async import (
    GptImage2,
    ImageOutput,
    Output,
    Request,
    Seedance2Video,
    SeedanceClient,
    Task,
    VideoOutput,
)
from seedance_async.sandbox import Sandbox


def any_request() -> Request:
    """A request of which only that is known."""
    return Seedance2Video(prompt="A kite")


async def test_a_task_has_the_output_of_its_request() -> None:
    """No cast and no isinstance is needed for the URL of a clip, and of pictures."""
    async with Sandbox() as sandbox, SeedanceClient(sandbox.api_key, sandbox.base_url) as client:
        clip = await client.generate(Seedance2Video(prompt="A kite"))
        pictures = await client.generate_all(GptImage2(prompt="A kite", batch_count=2))
        one = await client.generate(any_request())

    assert_type(clip, Task[VideoOutput])
    assert_type(pictures, list[Task[ImageOutput]])
    assert_type(one, Task[Output])
    assert clip.output is not None
    assert clip.output.video_url == clip.urls[0]
    assert [task.urls for task in pictures] == [task.output and task.output.urls for task in pictures]
    assert isinstance(one, Task)
