"""A gallery that enemies have written into, and a real browser to open it with."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from seedance_async import BatchRunner, SeedanceClient
from seedance_async.batch.report import write_gallery
from seedance_async.sandbox import Fault, Sandbox, virtual_time

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

MARKUP = "<script>window.ran = 'a prompt'</script>"
IMAGE = '"><img src=x onerror="window.ran=\'an image\'">'
ADDRESS = "javascript:window.ran='a link'"
DIRECTIONS = "\u202etxt.exe\u202c עברית \u2066mixed\u2069 \x1b[31mred\x1b[0m\x07"
STYLE = "</style></title><svg onload=\"window.ran='a style'\"><a href='https://evil.example/'>"
CLIP = "A paper boat on a pond"

HOSTILE = {"markup": MARKUP, "image": IMAGE, "address": ADDRESS, "directions": DIRECTIONS, "style": STYLE}


def jobs() -> list[dict[str, object]]:
    """A clip, pictures with hostile prompts and names, some of one prompt, and two that do not work."""
    pictures: list[dict[str, object]] = [
        {"model": "nano-banana-pro", "name": f"{name} {text}"[:60], "prompt": text, "output_format": "jpeg"}
        for name, text in HOSTILE.items()
    ]
    return [
        {"model": "seedance2", "name": "boat", "prompt": CLIP, "duration": 4},
        *pictures,
        {"model": "gpt-image-2", "name": "three", "prompt": "Three hats", "batch_count": 3},
        {"model": "seedance2", "name": "doomed", "prompt": f"Will fail [[sandbox:fail]] {IMAGE}"},
        {"model": "seedance2", "name": "refused", "prompt": "Will be refused"},
    ]


@pytest.fixture(scope="session")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a batch that was run, journal and all, with every text that a caller or server can give."""
    directory = tmp_path_factory.mktemp("browser") / "<b>batch"
    directory.mkdir()
    virtual_time.run(run_batch, directory)
    return directory / "gallery.html"


async def run_batch(directory: Path) -> None:
    """Run the batch into the directory."""
    manifest = directory.parent / "jobs.jsonl"
    manifest.write_text("".join(json.dumps(job) + "\n" for job in jobs()))
    refusal = json.dumps({"error": {"code": "invalid_request", "message": f"No: {MARKUP}{STYLE}"}})
    last = Fault(effect="status", on="submit", moment="before", nth=len(jobs()), status=400, body=refusal)
    async with (
        Sandbox(faults=[last]) as sandbox,
        SeedanceClient(sandbox.api_key, sandbox.base_url) as client,
        BatchRunner(client, directory, max_in_flight=1) as batch,
    ):
        async for _ in batch.run(manifest):
            pass
    await write_gallery(directory)


@pytest.fixture(scope="module")
def chromium(gallery: Path) -> Iterator[Browser]:
    """A headless browser. It keeps a loop running in this thread, so it comes after the gallery, and goes."""
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed (extra: dev)")
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("no chromium on the PATH: apt-get install chromium")
    api.expect.set_options(timeout=30_000)  # ms; a busy machine is no finding
    with api.sync_playwright() as playwright:
        hosts = "MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost"
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", f"--host-resolver-rules={hosts}"]
        )
        yield browser
        browser.close()


class Watched:
    """A page, and everything that happened in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.requests: list[str] = []
        self.refused: dict[str, str | None] = {}
        self.trouble: list[str] = []
        page.on("request", lambda request: self.requests.append(request.url))
        page.on("requestfailed", lambda request: self.refused.update({request.url: request.failure}))
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        page.on("console", lambda message: self.trouble.append(message.text))
        page.on("dialog", lambda dialog: self.trouble.append(dialog.message))

    def ran(self) -> Any:  # noqa: ANN401 - whatever an enemy left there
        """What hostile code has left behind."""
        return self.page.evaluate("window.ran")


@pytest.fixture
def opened(chromium: Browser, gallery: Path) -> Iterator[Watched]:
    """The gallery, open."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    watched = Watched(context.new_page())
    watched.page.goto(gallery.as_uri())
    yield watched
    context.close()
