"""The media room and the client: commands, the store's own rules, and single requests with local files."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from yarl import URL

from seedance_async import (
    ConfigurationError,
    InputFile,
    MediaError,
    NanoBananaPro,
    Seedance2Video,
    SeedanceClient,
    ValidationError,
)
from seedance_async.cli.media import PlayStore
from seedance_async.media import inspect, read_media_store
from seedance_async.media.command import PublishCommand
from seedance_async.media.object_store import ObjectStore
from seedance_async.media.written import as_written
from seedance_async.models import LocalFile
from seedance_async.sandbox import Fault, Sandbox
from tests.batch.helpers import PATIENCE, submits
from tests.canary import SIGNED
from tests.rooms.s3 import Bucket, fetch

if TYPE_CHECKING:
    from seedance_async import MediaStore


def picture(path: Path, colour: str = "red") -> Path:
    """A picture of one colour."""
    Image.new("RGB", (16, 16), colour).save(path, format="png")
    return path


def client_of(sandbox: Sandbox, store: str | MediaStore | None) -> SeedanceClient:
    """A client with a media store."""
    return SeedanceClient(sandbox.api_key, sandbox.base_url, retry=PATIENCE, media_store=store)


# --- single requests


async def test_generate_takes_a_path(tmp_path: Path, bucket: Bucket) -> None:
    """As start frame, by an S3 server that the sandbox fetches from."""
    request = Seedance2Video(prompt="A boat", image_url=picture(tmp_path / "a.png"))
    async with Sandbox() as sandbox, client_of(sandbox, bucket.url) as client:
        task = await client.generate(request)

        url = json.loads(submits(sandbox)[0][1])["image_url"]
    assert task.is_completed
    assert (200, (tmp_path / "a.png").read_bytes()) == fetch(url)


async def test_without_a_store_or_with_a_wrong_file_nothing_is_sent(tmp_path: Path) -> None:
    """Told by field, with both ways to go on."""
    request = NanoBananaPro(prompt="A boat", image_urls=[picture(tmp_path / "a.png"), tmp_path / "none.png"])
    async with Sandbox() as sandbox:
        async with client_of(sandbox, None) as client:
            with pytest.raises(ValidationError, match=r"--media-store.*--publish-with"):
                await client.submit(request)
        async with client_of(sandbox, PlayStore()) as client:
            with pytest.raises(ValidationError, match=r"image_urls: .*none\.png.* cannot be read"):
                await client.submit(request)

        assert not submits(sandbox)


class Counting:
    """A store that gives another URL each time."""

    fresh_for = 0.0

    def __init__(self) -> None:
        self.asked = 0

    async def publish(self, file: InputFile) -> str:
        """A new signature."""
        self.asked += 1
        return f"https://files.example.com/{file.key}?signature={SIGNED}{self.asked}"


async def test_under_a_key_used_before_the_very_same_bytes_go_also_from_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what the state directory kept, for the owner's eyes only; else the server sees another request."""
    monkeypatch.setenv("SEEDANCE_STATE_DIR", str(tmp_path / "state"))
    request = NanoBananaPro(prompt="A boat", image_urls=[picture(tmp_path / "a.png")])
    store = Counting()
    async with Sandbox() as sandbox:
        ids = []
        for _ in range(2):
            async with client_of(sandbox, store) as client:
                ids += [(await client.submit(request, idempotency_key="my-order-17")).id for _ in range(2)]

        assert 1 == len(set(ids))
        assert 1 == len(sandbox.paid_tasks)
        assert 1 == len({body for _, body in submits(sandbox)})
    (kept,) = [path for path in tmp_path.rglob("*.json") if path.parent.name == "sent-urls"]
    assert 0o600 == kept.stat().st_mode & 0o777


async def test_as_completed_takes_paths_and_a_file_that_fails_is_one_error(tmp_path: Path) -> None:
    """The others are made, and the POST whose answer is lost goes again as it was."""
    requests = [
        NanoBananaPro(prompt="A boat", image_urls=[picture(tmp_path / "a.png")]),
        NanoBananaPro(prompt="A boat", image_urls=[tmp_path / "none.png"]),
        NanoBananaPro(prompt="A boat"),
    ]
    lost = Fault(effect="drop", moment="after", on="submit", nth=1)
    async with Sandbox(faults=[lost]) as sandbox, client_of(sandbox, Counting()) as client:
        ends = {end.index: end.error async for end in client.as_completed(requests)}

        assert 2 == len(sandbox.paid_tasks)
    assert [None, ValidationError, None] == [ends[index] and type(ends[index]) for index in range(3)]


# --- commands

SCRIPT = """
import os, sys
words, path = sys.argv[1:-1], sys.argv[-1]
{body}
"""


def command(directory: Path, body: str, *words: str, patience: float = 60.0) -> PublishCommand:
    """A command in Python."""
    script = directory / "publish it.py"
    script.write_text(SCRIPT.format(body=body))
    return PublishCommand(" ".join([f"'{sys.executable}'", f"'{script}'", *words]), patience=patience)


async def test_a_command_gets_the_path_as_one_word_and_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No shell reads it; progress before the URL is no harm."""
    monkeypatch.setenv("SEEDANCE_API_KEY", "sk_live_" + "canary")
    body = "print('uploading', *words, end='\\n\\n'); assert 'SEEDANCE_API_KEY' not in os.environ; "
    body += "print('https://a.example/' + os.path.basename(path).encode().hex())"
    name = "a b'\"$(touch x);é.png"

    url = await command(tmp_path, body, "'two words'", "--flag").publish(inspect(picture(tmp_path / name)))

    assert f"https://a.example/{name.encode().hex()}" == url


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (
            f"sys.exit('no: https://a.example/x?signature={SIGNED[:6]}' + '{SIGNED[6:]}')",
            "code 1: no: https://a.example/x?…",
        ),
        ("pass", "printed no https URL; it must print"),
        ("print('done')", "printed no https URL: done"),
        ("import time; os.system('sleep 600')", "did not end in 1 s, and was killed"),
    ],
)
async def test_a_command_that_fails_says_so(tmp_path: Path, body: str, told: str) -> None:
    """With what it said last, but for signatures; what it started ends with it."""
    with pytest.raises(MediaError) as failed:
        await command(tmp_path, body, patience=1.0 if "sleep" in body else 60.0).publish(
            inspect(picture(tmp_path / "a.png"))
        )

    assert told in str(failed.value)
    assert SIGNED not in str(failed.value)


async def test_a_command_that_is_not_there_says_so(tmp_path: Path) -> None:
    """Before money."""
    with pytest.raises(MediaError, match="cannot be started: No such file"):
        await PublishCommand(str(tmp_path / "none")).publish(inspect(picture(tmp_path / "a.png")))


# --- stores


async def test_what_is_there_is_not_uploaded_and_what_was_cut_never_appears(
    tmp_path: Path, bucket: Bucket
) -> None:
    """An object has the content that its name says, or there is none."""
    file = inspect(picture(tmp_path / "a.png"))
    picture(tmp_path / "a.png", "blue")
    store = ObjectStore(bucket.url)
    with pytest.raises(MediaError, match="has changed while it was uploaded"):
        await store.publish(file)
    assert [] == [path for path in bucket.seen("PUT") if path]

    again = inspect(tmp_path / "a.png")
    await store.publish(again)
    url = await ObjectStore(bucket.url).publish(again)
    assert [f"a prefix/{again.key}"] == [path for path in bucket.seen("PUT") if path]
    assert (tmp_path / "a.png").read_bytes() == fetch(url)[1]


@pytest.mark.parametrize(
    "url",
    [
        "https://user:password@a.example/x",
        "file:///tmp",
        "bucket",
        "s3://",
        "s3://key:word@bucket/x",
        "s3://b?x=1",
    ],
)
def test_what_is_no_store_is_refused_without_its_password(url: str) -> None:
    """Before the client opens."""
    with pytest.raises(ConfigurationError, match="a media store") as refused:
        read_media_store(url)

    assert "word" not in str(refused.value).replace("password", "")


def test_without_the_extra_the_error_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only where a store is named."""
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'seedance-async\[store\]'"):
        read_media_store("s3://bucket")
    assert read_media_store(None) is None
    monkeypatch.setenv("SEEDANCE_MEDIA_STORE", "s3://bucket")
    with pytest.raises(ConfigurationError, match="pip install"):
        read_media_store(None)


def test_an_address_that_is_not_https_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API could not fetch from it."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://minio.example.com:9000")
    with pytest.raises(ConfigurationError, match="is not https"):
        read_media_store("s3://bucket")


@pytest.mark.parametrize("store", [7, PlayStore, object(), URL("s3://me:hunter2@bucket")])
def test_what_cannot_publish_is_no_store(store: object) -> None:
    """Such as a class in the place of an object."""
    with pytest.raises(ConfigurationError, match="an object with an async publish") as refused:
        read_media_store(store)

    assert "hunter2" not in repr(refused.value)


# --- what is a path

WRITTEN = {
    "a.png": "/base/a.png",
    "shots/é ü": "/base/shots/é ü",
    "/abs/a": "/abs/a",
    "./take:1.png": "/base/take:1.png",
    "https://a.example/a.png": None,
    "$still.image": None,
    "asset://a.png": None,
    "data:image/png;base64,AA==": None,
    "mira": None,
    "/": None,
}


@pytest.mark.parametrize("text", WRITTEN)
def test_a_path_is_told_from_a_url(text: str) -> None:
    """A mere word is a mistake, and no path."""
    value = as_written([text], Path("/base"))

    assert [WRITTEN[text] or text] == value
    assert isinstance(value, list)
    assert (WRITTEN[text] is not None) == isinstance(value[0], LocalFile)


def test_a_request_with_a_path_is_immutable_and_equal_to_its_like() -> None:
    """It crosses processes, too."""
    import pickle

    one = Seedance2Video(prompt="A boat", media_urls=[Path("a.png"), "https://a.example/b.png"])
    assert one == pickle.loads(pickle.dumps(one))
    assert [True, False] == [
        isinstance(each, LocalFile) for each in pickle.loads(pickle.dumps(one)).media_urls
    ]
    assert os.fspath(Path("a.png")) == one.to_dict()["media_urls"][0]  # type: ignore[index]
