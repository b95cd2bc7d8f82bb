"""The studio example in a real browser: submit, watch without reloading, play; enemies, a crash, a phone."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import IMAGE, MARKUP, STYLE, Watched

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Locator

pytestmark = pytest.mark.timeout(180)  # four processes and a browser are started for the first of them
STUDIO = Path(__file__).parents[2] / "examples" / "fastapi_studio" / "studio.py"
ASK = (
    "([url, headers, body]) => fetch(url, {method: 'POST', headers, body})"
    ".then((answer) => answer.status, () => 'refused')"
)
HOSTILE = f"{MARKUP}{IMAGE}{STYLE}"


class Studio:
    """The studio and the sandbox behind it, each a process of its own."""

    def __init__(self, directory: Path, sandbox: subprocess.Popen[str]) -> None:
        assert sandbox.stdout is not None
        exports = dict(
            re.findall(r"export (\w+)=(.*)\n", "".join(sandbox.stdout.readline() for _ in range(4)))
        )
        self.api: str = exports["SEEDANCE_BASE_URL"]
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port = listener.getsockname()[1]
        own = {"STUDIO_DIRECTORY": str(directory / "studio"), "PORT": str(port)}
        self._environment = {**os.environ, **exports, **own}
        self.url = f"http://127.0.0.1:{port}/"
        self.process: subprocess.Popen[bytes]

    def start(self) -> None:
        """Start it, and wait until it serves."""
        self.process = subprocess.Popen(
            [sys.executable, str(STUDIO)],
            env=self._environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.STDOUT,
        )
        with socket.socket() as visitor:
            port = int(self._environment["PORT"])
            while visitor.connect_ex(("127.0.0.1", port)):
                assert self.process.poll() is None
                time.sleep(0.05)

    def stop(self, number: signal.Signals) -> None:
        """End it by a signal."""
        self.process.send_signal(number)
        self.process.wait(20)

    def paid(self) -> list[Any]:
        """The tasks that the sandbox has charged."""
        with urllib.request.urlopen(self.api.replace("/api/v1", "/_sandbox/tasks"), timeout=10) as answer:
            tasks: list[Any] = json.load(answer)["tasks"]
        return tasks


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Studio]:
    """The studio, served."""
    command = [sys.executable, "-m", "seedance_async", "sandbox", "--speed", "40"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as sandbox:
        served = Studio(tmp_path_factory.mktemp("studio"), sandbox)
        served.start()
        yield served
        served.stop(signal.SIGTERM)
        sandbox.send_signal(signal.SIGINT)


@pytest.fixture
def opened(chromium: Browser, studio: Studio) -> Iterator[Watched]:
    """The page, open and connected."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    watched = Watched(context.new_page())
    watched.page.goto(studio.url)
    expect(watched.page.locator("#line")).to_have_text("live")
    yield watched
    context.close()


def compose(watched: Watched, scene: str, model: str = "seedance2") -> Locator:
    """Fill in the form and press the button; the card that appears."""
    watched.page.locator("#model").select_option(model)
    watched.page.locator("#scene").fill(scene)
    watched.page.locator("#submit").click()
    found = watched.page.locator("article", has=watched.page.locator(".prompt", has_text=scene[:20])).first
    expect(found).to_be_visible()
    return found


def test_a_clip_is_composed_submitted_shown_and_played(opened: Watched, studio: Studio) -> None:
    """Without a reload, and with nothing from elsewhere; the gauges move."""
    loads: list[str] = []
    opened.page.on("framenavigated", lambda frame: loads.append(frame.url))
    opened.page.locator("#camera").select_option("slow push in")
    card = compose(opened, "A paper boat crosses a moonlit pond.")

    expect(card).to_have_attribute("data-state", "done", timeout=30_000)
    video = card.locator("video")
    expect(video).to_be_visible()
    video.evaluate("(clip) => clip.play()")
    opened.page.wait_for_function("() => document.querySelector('video').currentTime > 0.2")
    expect(card.locator(".prompt")).to_have_text("A paper boat crosses a moonlit pond. slow push in")
    expect(opened.page.locator("#spent")).to_have_text(re.compile("[1-9]"))
    expect(opened.page.locator("#requests-text")).to_have_text(re.compile("[0-9]+ of 30"))
    assert [] == loads
    assert all(url.startswith((studio.url, "data:")) for url in opened.requests)
    assert [] == opened.trouble


def test_what_enemies_write_is_text(opened: Watched) -> None:
    """A prompt, and the reason of a failure."""
    card = compose(opened, f"[[sandbox:fail]] {HOSTILE}", "nano-banana-pro")
    expect(card).to_have_attribute("data-state", "failed", timeout=30_000)

    expect(card.locator(".prompt")).to_have_text(f"[[sandbox:fail]] {HOSTILE}")
    assert opened.ran() is None
    assert 1 == opened.page.locator("script").count()
    assert 0 == opened.page.locator("[onload], [onerror], iframe, object, base").count()
    assert [] == opened.trouble


def test_the_guide_helps_while_a_prompt_is_composed(opened: Watched, studio: Studio) -> None:
    """Text and fields together; what is corrected is gone, and nothing is sent or spent."""
    before = len(studio.paid())
    findings = opened.page.locator("#findings li")
    opened.page.locator("#scene").fill("A kite, vertical 9:16. 12-15 s: it lands.")
    late, shape = re.compile("^error: “12-15” ends at 15 s"), re.compile("^warning: “9:16”")
    expect(findings).to_have_text([late, shape])
    expect(opened.page.locator("#submit")).to_have_text("Make it anyway")

    opened.page.locator("#seconds").fill("15")
    expect(findings).to_have_text([shape])
    expect(opened.page.locator("#submit")).to_have_text("Make it")
    opened.page.locator("#shape").select_option("9:16")
    expect(findings).to_have_count(0)
    opened.page.locator("#scene").fill("@Image1 turns around")
    expect(findings).to_have_count(1)
    opened.page.locator("#scene").fill("")
    expect(findings).to_have_count(0)
    assert before == len(studio.paid())
    assert [] == opened.trouble


def test_what_the_guide_finds_in_a_hostile_prompt_is_text(opened: Watched) -> None:
    """The excerpt in a finding is what somebody has typed or pasted."""
    opened.page.locator("#scene").fill(f"A kite [insert <img src=x onerror=\"window.ran='it'\">] {HOSTILE}")

    expect(opened.page.locator("#findings li").first).to_contain_text("“[insert <img src=x onerror=")
    expect(opened.page.locator("#findings b").first).to_have_text("error: ")
    assert opened.ran() is None
    assert 0 == opened.page.locator("#findings :not(li, b)").count()
    assert [] == opened.trouble


def test_what_is_wrong_is_said_and_not_sent(opened: Watched, studio: Studio) -> None:
    """In the words of the rules."""
    before = len(studio.paid())
    opened.page.locator("#scene").fill("a")
    opened.page.locator("#submit").click()

    expect(opened.page.locator("#problems li")).to_have_text("prompt: must have 3 to 10000 characters; got 1")
    assert before == len(studio.paid())


def test_a_crash_in_the_middle_loses_nothing(opened: Watched, studio: Studio) -> None:
    """The page comes back by itself, the card fills in, and it is paid once."""
    before = len(studio.paid())
    card = compose(opened, "A heron in an empty tram")
    expect(card).to_have_attribute("data-state", "running")
    studio.stop(signal.SIGKILL)
    expect(opened.page.locator("#line")).to_contain_text("connection lost")
    studio.start()

    expect(opened.page.locator("#line")).to_have_text("live", timeout=20_000)
    expect(card).to_have_attribute("data-state", "done", timeout=30_000)
    assert 1 == len(studio.paid()) - before


def test_a_card_that_another_page_made_is_there_after_a_reload(opened: Watched) -> None:
    """And its media is served in ranges, as players ask for it."""
    opened.page.reload()
    expect(opened.page.locator("article[data-state=done] video").first).to_be_visible()
    source = opened.page.locator("video").first.get_attribute("src")
    status = opened.page.evaluate(
        "(url) => fetch(url, {headers: {Range: 'bytes=0-9'}}).then((answer) => answer.status)", source
    )

    assert 206 == status


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_right_on_a_phone_and_in_the_dark(
    scheme: Literal["light", "dark"],
    chromium: Browser,
    studio: Studio,
    tmp_path: Path,
) -> None:
    """Nothing is cut off, what is pressed is large enough, and text stands out from its ground."""
    context = chromium.new_context(
        viewport={"width": 390, "height": 844}, color_scheme=scheme, has_touch=True, device_scale_factor=2
    )
    page = context.new_page()
    page.goto(studio.url)
    expect(page.locator("article").first).to_be_visible()
    page.locator("#scene").fill("@Image1 waves, vertical 9:16, epic cinematic ultra-detailed masterpiece")
    expect(page.locator("#findings li").first).to_be_visible()
    page.screenshot(path=tmp_path / f"phone-{scheme}.png", full_page=True)

    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    heights = page.locator("button:visible, select:visible").evaluate_all(
        "(all) => all.map((one) => one.getBoundingClientRect().height)"
    )
    assert min(heights) >= 42
    ground, ink = page.evaluate(
        "[getComputedStyle(document.body).backgroundColor, getComputedStyle(document.body).color]"
    )
    assert contrast(ground, ink) > 7
    context.close()


def test_a_foreign_page_cannot_spend(chromium: Browser, studio: Studio) -> None:
    """Neither with the header, which the browser asks leave for, nor without it, nor under another name."""
    before = len(studio.paid())
    context = chromium.new_context()
    page = context.new_page()
    page.goto(studio.url.replace("127.0.0.1", "localhost") + "static/page.css")
    body = json.dumps({"model": "nano-banana-pro", "prompt": "a fox asleep"})
    for headers in (
        {"Idempotency-Key": "abcdefgh-1", "Content-Type": "application/json"},
        {"Content-Type": "text/plain"},
    ):
        assert "refused" == page.evaluate(ASK, [studio.url + "cards", headers, body])
    call = urllib.request.Request(studio.url, headers={"Host": "evil.example"})
    with pytest.raises(urllib.error.HTTPError, match="400"):
        urllib.request.urlopen(call, timeout=10)

    assert before == len(studio.paid())
    context.close()


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, as WCAG has it."""
    lights = sorted(map(_light, (one, other)))
    return (lights[1] + 0.05) / (lights[0] + 0.05)


def _light(colour: str) -> float:
    shares = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(weight * share for weight, share in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
