"""The review page in a real browser, served by the command: picks, notes, keys, commands, and its enemies."""

from __future__ import annotations

import json
import shlex
import shutil
import signal
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from attrs import frozen
from playwright.sync_api import expect

from seedance_async.batch import picks, results_reading
from tests.browser.conftest import HOSTILE, MARKUP, STYLE, Watched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import Browser, Locator

SAVED = "is written down"


@frozen
class Served:
    """A batch's directory, and the URL at which its page is."""

    directory: Path
    url: str

    @property
    def picture(self) -> str:
        """The path of one of its pictures, below the URL."""
        (three,) = [each for each in results_of(self) if each.name == "three"]
        return f"files/{three.files[0]}"

    def picks(self) -> dict[str, tuple[str | None, str]]:
        """What stands on disk: picks and notes by the first words of the names."""
        return {each.name.split()[0]: (each.pick, each.note) for each in picks.load(self.directory).values()}


@pytest.fixture(scope="module")
def serving(gallery: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The command, at work on a copy of the batch."""
    directory = tmp_path_factory.mktemp("review") / "it's <b>batch"
    shutil.copytree(gallery.parent, directory)
    command = [sys.executable, "-m", "seedance_async", "review", str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield Served(directory, process.stdout.readline().strip())
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert 0 == process.returncode, err
    assert err.endswith("review: ended\n")


@pytest.fixture
def served(serving: Served) -> Iterator[Served]:
    """The same, with nothing picked, and the results as they were."""
    results = (serving.directory / "results.jsonl").read_bytes()
    yield serving
    (serving.directory / "picks.jsonl").unlink(missing_ok=True)
    (serving.directory / "results.jsonl").write_bytes(results)


@pytest.fixture
def opened(chromium: Browser, served: Served) -> Iterator[Watched]:
    """The page, open."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    watched = Watched(context.new_page())
    watched.page.goto(served.url)
    expect(watched.page.locator("article")).to_have_count(9)
    yield watched
    context.close()


def card(watched: Watched, name: str) -> Locator:
    """The card of a job, by the first word of its name."""
    return watched.page.locator("article", has=watched.page.locator("bdi", has_text=name)).first


def says(watched: Watched, text: str) -> None:
    """Wait until the page says so."""
    expect(watched.page.locator("#status")).to_contain_text(text)


def pick(watched: Watched, name: str, choice: str) -> None:
    """Press a button of a card, and see that it is pressed."""
    button = card(watched, name).locator(f"[data-pick={choice}]")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "true")


def counts(watched: Watched) -> list[str]:
    """What the filters say."""
    return watched.page.locator("nav [data-filter]").all_inner_texts()


def test_takes_are_kept_rejected_and_noted_by_mouse_and_it_lasts(opened: Watched, served: Served) -> None:
    """On disk at once, and on the page when it is opened anew."""
    pick(opened, "boat", "keep")
    pick(opened, "three", "reject")
    card(opened, "boat").locator("textarea").fill(f"the wake is right {MARKUP}")
    says(opened, SAVED)

    written = {"boat": ("keep", f"the wake is right {MARKUP}"), "three": ("reject", "")}
    assert written == served.picks()
    opened.page.reload()
    expect(card(opened, "boat").locator("textarea")).to_have_value(f"the wake is right {MARKUP}")
    expect(card(opened, "boat").locator("[data-pick=keep]")).to_have_attribute("aria-pressed", "true")
    expect(card(opened, "three").locator("[data-pick=reject]")).to_have_attribute("aria-pressed", "true")
    assert ["all 9", "undecided 7", "kept 1", "rejected 1"] == counts(opened)
    assert opened.ran() is None


def test_a_second_press_takes_a_pick_back(opened: Watched, served: Served) -> None:
    """And the note stays."""
    pick(opened, "boat", "keep")
    card(opened, "boat").locator("textarea").fill("why")
    card(opened, "boat").locator("[data-pick=keep]").click()
    says(opened, "undecided")

    expect(card(opened, "boat").locator("[data-pick=keep]")).to_have_attribute("aria-pressed", "false")
    assert {"boat": (None, "why")} == served.picks()


def test_everything_is_done_by_keys(opened: Watched, served: Served) -> None:
    """Digits and letters, each of them; letters that are typed into a note pick nothing."""
    names = [name.split()[0] for name in opened.page.locator("bdi").all_inner_texts()]
    for key in ("1", "ArrowRight", "k", "j", "2", "ArrowRight", "R", "ArrowRight", "1", "3"):
        opened.page.keyboard.press(key)
    says(opened, "undecided")
    for key in ("ArrowLeft", "n"):
        opened.page.keyboard.press(key)
    opened.page.keyboard.type("kkr 12 kept")
    opened.page.keyboard.press("Escape")
    says(opened, SAVED)
    opened.page.keyboard.press("u")
    says(opened, "undecided")

    chosen = [served.picks()[name] for name in names[:5]]
    assert [("keep", ""), ("keep", ""), ("reject", ""), (None, "kkr 12 kept"), (None, "")] == chosen


def test_keys_with_a_modifier_are_the_browsers(opened: Watched, served: Served) -> None:
    """Ctrl+R loads the page anew, and rejects nothing."""
    for key in ("Control+r", "Alt+1", "Meta+k"):
        opened.page.keyboard.press(key)
    pick(opened, "boat", "keep")

    assert {"boat"} == set(served.picks())


def test_a_note_is_written_when_the_page_is_left_in_the_middle_of_it(opened: Watched, served: Served) -> None:
    """Nobody has to press anything."""
    card(opened, "boat").locator("textarea").fill("half a th")
    opened.page.reload()

    expect(card(opened, "boat").locator("textarea")).to_have_value("half a th")
    assert {"boat": (None, "half a th")} == served.picks()


def test_a_page_that_is_loaded_again_shows_what_was_not_yet_written(opened: Watched, served: Served) -> None:
    """Also what waits for another write, and if that one never arrives."""
    opened.page.route("**/picks", lambda _: None, times=1)
    card(opened, "boat").locator("[data-pick=keep]").click()
    card(opened, "three").locator("[data-pick=reject]").click()
    card(opened, "boat").locator("textarea").fill("half a th")
    opened.page.reload()

    expect(card(opened, "boat").locator("textarea")).to_have_value("half a th")
    assert {"boat": ("keep", "half a th"), "three": ("reject", "")} == served.picks()


def test_a_note_that_cannot_be_written_stays_as_it_was_typed(opened: Watched, served: Served) -> None:
    """It is written with the next change of it."""
    opened.page.route("**/picks", lambda route: route.abort())
    note = card(opened, "boat").locator("textarea")
    note.fill("the wake is")
    note.blur()
    says(opened, "does not answer")
    expect(note).to_have_value("the wake is")
    opened.page.unroute_all()
    opened.trouble.clear()
    pick(opened, "boat", "keep")
    expect(note).to_have_value("the wake is")
    note.fill("the wake is right")
    says(opened, SAVED)

    assert {"boat": ("keep", "the wake is right")} == served.picks()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("reroll", ["--reroll", "rejected", "--takes", "1"]),
        ("finish", ["--finish", "kept", "--set", "FIELD=VALUE"]),
    ],
)
def test_the_commands_are_shown_and_copied_and_the_page_sends_nothing(
    name: str, words: list[str], opened: Watched, served: Served
) -> None:
    """As a shell reads them, whatever the directory is called; the page asks its own server only."""
    opened.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    pick(opened, "boat", "reject")
    section = opened.page.locator(f"[data-command={name}]")
    section.locator(".copy").click()
    says(opened, "the command is copied")

    command = opened.page.evaluate("navigator.clipboard.readText()")
    assert command == section.locator("> code").inner_text()
    assert ["seedance", "batch", "MANIFEST", "-o", str(served.directory), *words] == shlex.split(command)
    expect(opened.page.locator("[data-command=reroll] h3")).to_contain_text("(1 rejected)")
    asked = {url.removeprefix(served.url).split("/")[0] for url in opened.requests}
    assert asked <= {"", "takes", "picks", "icon", "files"}


def test_a_page_that_may_not_use_the_clipboard_copies_too(opened: Watched) -> None:
    """The old way, where the browser has no other."""
    opened.page.evaluate(
        "Object.defineProperty(navigator.clipboard, 'writeText', {value: () => Promise.reject()})"
    )
    opened.page.locator("[data-command=reroll] .copy").click()
    says(opened, "the command is copied")


def test_nothing_that_an_enemy_wrote_runs_or_leaves_the_page(opened: Watched, served: Served) -> None:
    """Not on opening, not when every card was picked, noted and played."""
    picks_before = len(opened.requests)
    for each in opened.page.locator("article").all():
        each.scroll_into_view_if_needed()
        each.hover()
        if each.locator(".choices").is_visible():
            each.locator("[data-pick=keep]").click()
            each.locator("textarea").fill(STYLE)
    opened.page.locator("#reload").click()
    says(opened, "read again")
    opened.page.wait_for_load_state("networkidle")

    prompts = opened.page.locator(".prompt").all_text_contents()
    assert set(HOSTILE.values()) < set(prompts)
    assert opened.ran() is None
    assert [] == opened.trouble
    assert picks_before < len(opened.requests)
    assert all(url.startswith(served.url) for url in opened.requests)
    assert 1 == opened.page.locator("script").count()
    assert 0 == opened.page.locator("[onload], [onerror], [onclick], [style], iframe, object, base").count()
    assert {STYLE} == {note for _, note in served.picks().values()}


def test_even_markup_that_got_in_could_not_act(opened: Watched) -> None:
    """The content policy is a wall of its own: here the page is tampered with, and nothing runs."""
    evil = "<img src='https://evil.example/x.png'><img src=x onerror='window.ran=1'>"
    opened.page.locator("main").evaluate("(main, evil) => main.insertAdjacentHTML('beforeend', evil)", evil)
    opened.page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'window.ran = 2'}))"
    )
    opened.page.wait_for_function("() => [...document.images].slice(-1)[0].complete")

    assert opened.ran() is None
    assert any("Content Security Policy" in line for line in opened.trouble)
    assert "csp" == opened.refused["https://evil.example/x.png"]


def test_pictures_show_and_a_clip_plays(opened: Watched) -> None:
    """Under the pointer, and by a key; it is not loaded before."""
    expect(opened.page.locator("img")).to_have_count(len(HOSTILE) + 3)
    opened.page.evaluate("document.querySelectorAll('img').forEach((one) => one.loading = 'eager')")
    opened.page.wait_for_function("() => [...document.images].every((one) => one.naturalWidth > 256)")
    assert not any(url.endswith(".mp4") for url in opened.requests)

    clip = card(opened, "boat").locator("video")
    clip.hover()
    opened.page.wait_for_function("() => document.querySelector('video').currentTime > 0.2")
    opened.page.mouse.move(0, 0)
    opened.page.wait_for_function("() => document.querySelector('video').paused")

    card(opened, "boat").locator("h2").click()
    for key, is_paused in (("p", False), ("5", True)):
        opened.page.keyboard.press(key)
        opened.page.wait_for_function(
            f"() => document.querySelector('video').paused === {json.dumps(is_paused)}"
        )


def test_the_filters_show_what_is_left_to_decide(opened: Watched) -> None:
    """A take stays under the hand that has just picked it, until the filter is pressed again."""
    pick(opened, "boat", "keep")
    opened.page.locator("[data-filter=undecided]").click()
    expect(opened.page.locator("article")).to_have_count(8)
    pick(opened, "three", "reject")
    expect(opened.page.locator("article")).to_have_count(8)

    opened.page.locator("[data-filter=undecided]").click()
    expect(opened.page.locator("article")).to_have_count(7)
    opened.page.locator("[data-filter=reject]").click()
    expect(opened.page.locator("bdi")).to_have_text(["three"])


def test_what_another_page_picked_is_there_after_reload(opened: Watched, served: Served) -> None:
    """And what it noted is not undone by what is picked here."""
    boat = next(each for each in results_of(served) if each.name == "boat")
    picks.write(served.directory, "boat", boat.task_ids, note="from elsewhere")
    pick(opened, "boat", "keep")
    assert {"boat": ("keep", "from elsewhere")} == served.picks()

    picks.write(served.directory, "boat", boat.task_ids, pick="reject")
    opened.page.locator("#reload").click()
    expect(card(opened, "boat").locator("[data-pick=reject]")).to_have_attribute("aria-pressed", "true")


def test_a_take_that_was_made_anew_meanwhile_is_not_picked(opened: Watched, served: Served) -> None:
    """The page says so; what it shows after reload is what can be picked."""
    path = served.directory / "results.jsonl"
    (boat,) = [line for line in path.read_text().splitlines() if json.loads(line)["name"] == "boat"]
    with path.open("a") as file:
        file.write(json.dumps({**json.loads(boat), "task_ids": ["sd2_anew"]}) + "\n")
    card(opened, "boat").locator("[data-pick=keep]").click()
    says(opened, "reload the page")
    assert {} == served.picks()

    opened.page.locator("#reload").click()
    says(opened, "read again")
    pick(opened, "boat", "keep")
    assert [("sd2_anew",)] == list(picks.load(served.directory))


def test_a_server_that_is_gone_is_told(opened: Watched, served: Served) -> None:
    """And the pick does not look as if it were written."""
    opened.page.route("**/picks", lambda route: route.abort())
    button = card(opened, "boat").locator("[data-pick=keep]")
    button.click()
    says(opened, "is `seedance review` still running?")

    expect(button).to_have_attribute("aria-pressed", "false")
    assert {} == served.picks()


def test_what_has_no_task_cannot_be_picked(opened: Watched) -> None:
    """Nothing was made; its reason is there to read."""
    refused = card(opened, "refused")
    expect(refused.locator(".choices")).to_be_hidden()
    expect(refused.locator(".error")).to_contain_text(f"No: {MARKUP}{STYLE}")
    refused.locator("h2").click()
    opened.page.keyboard.press("k")
    says(opened, "no take that could be picked")


FOREIGN = """<!doctype html><title>loading</title><body><script>
const url = %s, picture = %s, body = %s;
const json = {"Content-Type": "application/json"};
const ways = [
  () => fetch(url + "picks", {method: "POST", body, headers: json}),
  () => fetch(url + "picks", {method: "POST", body, headers: {...json, "X-Review-Token": url.split("/")[3]}}),
  () => fetch(url + "picks", {method: "POST", body, mode: "no-cors"}),
  () => fetch(url + "picks", {method: "POST", body, mode: "no-cors", credentials: "include"}),
  () => navigator.sendBeacon(url + "picks", body),
  () => fetch(url + "takes").then((answer) => answer.text()).then((text) => { window.read = text; }),
  () => new Promise((done) => {
    const image = Object.assign(new Image(), {src: url + picture});
    image.onload = () => { window.read = "a picture"; done(); };
    image.onerror = done;
  }),
  () => new Promise((done) => {
    const frame = Object.assign(document.createElement("iframe"), {src: url, name: "frame", onload: done});
    document.body.append(frame);
  }),
  () => new Promise((done) => {
    const form = Object.assign(document.createElement("form"), {method: "post", action: url + "picks"});
    Object.assign(form, {enctype: "text/plain", target: "frame"});
    const begin = body.slice(0, -1) + ',"x":"';
    form.append(Object.assign(document.createElement("input"), {name: begin, value: '"}'}));
    document.body.append(form);
    document.querySelector("iframe").onload = done;
    form.submit();
  }),
];
(async () => {
  for (const way of ways) await Promise.resolve(way()).catch(() => {});
  document.title = "tried " + ways.length;
})();
</script>"""


@pytest.fixture
def foreign(served: Served) -> Iterator[Callable[[str], str]]:
    """A page of another origin that knows all, the token too; its URL by the name of its host."""
    boat = next(each for each in results_of(served) if each.name == "boat")
    change = json.dumps({"name": "boat", "task_ids": boat.task_ids, "pick": "keep"})
    page = (FOREIGN % tuple(map(json.dumps, (served.url, served.picture, change)))).encode()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page)

        def log_message(self, *_: Any) -> None:  # noqa: ANN401 - as inherited
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield lambda host: f"http://{host}:{server.server_port}/"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_foreign_page_can_neither_post_nor_read(
    host: str, chromium: Browser, served: Served, foreign: Callable[[str], str]
) -> None:
    """Though it is of this machine and knows the token; the same from the page itself is written down."""
    context = chromium.new_context()
    watched = Watched(context.new_page())
    watched.page.goto(foreign(host))
    watched.page.wait_for_function("() => document.title === 'tried 9'")

    asked = {url.removeprefix(served.url) for url in watched.requests}
    assert {"", "takes", "picks", served.picture} < asked
    assert watched.page.evaluate("window.read") is None
    assert {} == served.picks()
    context.close()


def results_of(served: Served) -> list[results_reading.Result]:
    """The results on disk."""
    return list(results_reading.read(served.directory).values())
