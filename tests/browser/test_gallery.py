"""The gallery in a real browser: clips play, the filter filters, and nothing an enemy wrote can act."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from playwright.sync_api import expect

from tests.browser.conftest import ADDRESS, CLIP, DIRECTIONS, HOSTILE, IMAGE, MARKUP, STYLE, Watched

if TYPE_CHECKING:
    from pathlib import Path

    from playwright.sync_api import Browser

EVERYTHING = 9
"""Jobs of the batch."""


def seen(watched: Watched) -> list[str]:
    """The names on the cards that can be seen."""
    return [name.split()[0] for name in watched.page.locator("figure:visible figcaption b").all_inner_texts()]


def test_nothing_that_an_enemy_wrote_runs_or_leaves_the_page(opened: Watched, gallery: Path) -> None:
    """Not on opening, not when every card is hovered, opened and copied."""
    page = opened.page
    for card in page.locator("figure").all():
        card.scroll_into_view_if_needed()
        card.hover()
        card.locator("summary").click()
        card.locator(".copy").click()
    page.wait_for_load_state("networkidle")

    assert opened.ran() is None
    assert [] == opened.trouble
    here = gallery.parent.as_uri()
    assert all(request.startswith(here) for request in opened.requests)
    assert 1 == page.locator("script").count()
    assert 0 == page.locator("svg [onload], [onerror], [onclick], [style], iframe, object, base").count()


def test_foreign_text_is_read_as_it_was_written(opened: Watched) -> None:
    """Prompts, names and errors, to the last quote; the title is the directory's name."""
    prompts = opened.page.locator("figcaption p").all_text_contents()

    assert set(HOSTILE.values()) < set(prompts)
    assert "<b>batch" == opened.page.title() == opened.page.locator("h1").inner_text()
    refusal = opened.page.locator("figure[data-state=refused] .missing p").text_content()
    assert f"400 invalid_request: No: {MARKUP}{STYLE}" == refusal


def test_every_link_leads_to_a_file_of_the_batch(opened: Watched, gallery: Path) -> None:
    """Whatever its name; no address of another kind."""
    links = opened.page.eval_on_selector_all("a, img, video", "all => all.map((one) => one.href || one.src)")

    assert 2 * (len(HOSTILE) + 1 + 3) <= len(links)
    assert all(link.startswith(f"{gallery.parent.as_uri()}/") for link in links)
    for link in links:
        below = unquote(link.removeprefix(f"{gallery.parent.as_uri()}/"))
        assert (gallery.parent / below).is_file()


def test_every_picture_shows(opened: Watched) -> None:
    """Also those whose names had to be quoted."""
    opened.page.evaluate("document.querySelectorAll('img').forEach((one) => one.loading = 'eager')")
    opened.page.wait_for_function("() => [...document.images].every((one) => one.complete)")

    widths = opened.page.eval_on_selector_all("img", "all => all.map((one) => one.naturalWidth)")
    assert len(HOSTILE) + 3 == len(widths)
    assert all(width > 256 for width in widths)


def test_a_row_has_one_height_and_fills_the_page(opened: Watched) -> None:
    """Whatever the shapes in it; the last one may end early."""
    page = opened.page
    shapes = "(all) => all.forEach((one, i) => one.style.setProperty('--ratio', [0.5625, 1, 2.3333][i % 3]))"
    page.eval_on_selector_all("figure", shapes)
    measure = """all => all.map((one) => [one, one.firstElementChild].flatMap((box) => {
        const {top, right, height} = box.getBoundingClientRect();
        return [top, right, height].map(Math.round);
    }))"""
    rows: dict[int, list[list[int]]] = {}
    for card in page.eval_on_selector_all("figure", measure):
        rows.setdefault(card[0], []).append(card)

    assert len(rows) > 2
    for cards in rows.values():
        assert max(card[5] for card in cards) - min(card[5] for card in cards) <= 2  # the pictures
    width = page.eval_on_selector("main", "one => Math.round(one.getBoundingClientRect().right)")
    *full, _ = (max(card[1] for card in cards) for cards in rows.values())
    assert all(abs(right - width) <= 2 for right in full)


def test_a_clip_plays_under_the_pointer_and_rests_when_it_leaves(opened: Watched) -> None:
    """It is not even loaded before, and goes back to its poster afterwards."""
    clip = opened.page.locator("video")
    assert "none" == clip.get_attribute("preload")
    assert not any(request.endswith(".mp4") for request in opened.requests)

    clip.hover()
    opened.page.wait_for_function("() => document.querySelector('video').currentTime > 0.2")
    assert clip.evaluate("one => !one.paused && one.muted && one.videoWidth > 0")

    opened.page.mouse.move(0, 0)
    opened.page.wait_for_function("() => document.querySelector('video').paused")
    assert 0 == clip.evaluate("one => one.currentTime")


def test_the_keyboard_plays_it_too(opened: Watched) -> None:
    """Focus is a pointer for those who have none."""
    opened.page.locator("a:has(video)").focus()
    opened.page.wait_for_function("() => document.querySelector('video').currentTime > 0")
    opened.page.keyboard.press("Tab")
    opened.page.wait_for_function("() => document.querySelector('video').paused")


def test_the_filter_shows_the_jobs_of_one_state(opened: Watched) -> None:
    """Its buttons tell how many there are; the address keeps it."""
    page = opened.page
    buttons = page.locator(".tools button").all_inner_texts()
    assert ["all 9", "saved 7", "failed 1", "refused 1"] == buttons
    assert EVERYTHING == len(seen(opened))

    page.get_by_role("button", name="failed 1").click()
    expect(page.locator("figure:visible")).to_have_count(1)
    assert ["doomed"] == seen(opened)
    assert page.url.endswith("#failed")
    assert ["failed 1"] == page.locator("[aria-pressed=true]").all_inner_texts()

    page.reload()
    expect(page.locator("figure:visible")).to_have_count(1)
    page.get_by_role("button", name="all 9").click()
    expect(page.locator("figure:visible")).to_have_count(EVERYTHING)


def test_words_are_found_in_prompts_and_names(opened: Watched) -> None:
    """In any letter case; and where there is nothing, the page says so."""
    opened.page.get_by_role("searchbox").fill("PAPER boat")
    assert ["boat"] == seen(opened)
    opened.page.get_by_role("searchbox").fill("<script>")
    assert {"markup", "refused"} == set(seen(opened))
    opened.page.get_by_role("searchbox").fill("a whale")
    assert [] == seen(opened)
    assert opened.page.get_by_text("Nothing like that on this page.").is_visible()


@pytest.mark.parametrize("prompt", [CLIP, MARKUP, IMAGE, ADDRESS, DIRECTIONS, STYLE])
def test_a_prompt_is_copied_as_it_was_sent(opened: Watched, prompt: str) -> None:
    """Control and direction characters too: what is pasted makes the same picture again."""
    opened.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    card = opened.page.locator("figure").nth(_place(opened, prompt))
    card.hover()

    card.locator(".copy").click()

    opened.page.wait_for_function(
        "() => [...document.querySelectorAll('.copy')].some((one) => one.textContent === 'copied')"
    )
    assert prompt == opened.page.evaluate("navigator.clipboard.readText()")


def test_a_failed_jobs_story_opens(opened: Watched) -> None:
    """The whole reason, the task, the key to ask support with, and what was asked for."""
    card = opened.page.locator("figure[data-state=failed]")
    card.get_by_text("what went wrong").click()

    reported = dict(
        zip(card.locator("dt").all_inner_texts(), card.locator("dd").all_inner_texts(), strict=True)
    )
    assert reported["error"].startswith("task failed: Generation failed upstream")
    assert reported["task"].startswith("sd2_")
    assert 36 == len(reported["idempotency key"])
    assert ("standard", "720p", "true") == (
        reported["quality_tier"],
        reported["resolution"],
        reported["generate_audio"],
    )


def test_pictures_of_one_job_stand_on_one_card(opened: Watched) -> None:
    """Each opens its own file."""
    assert 3 == opened.page.locator(".several a").count()


@pytest.mark.parametrize("hostile", [MARKUP, IMAGE.removeprefix('">'), STYLE])
def test_even_markup_that_got_in_could_not_act(
    chromium: Browser, gallery: Path, tmp_path: Path, hostile: str
) -> None:
    """The content policy is a wall of its own: here the page has been tampered with, and nothing runs."""
    source = gallery.read_text(encoding="utf-8")
    tampered = tmp_path / "tampered.html"
    tampered.write_text(source.replace("<main>", f"<main>{hostile}<img src='https://evil.example/x.png'>"))
    watched = Watched(chromium.new_page())

    watched.page.goto(tampered.as_uri())
    watched.page.wait_for_load_state("networkidle")

    assert watched.ran() is None
    assert any("Content Security Policy" in line for line in watched.trouble)
    assert {"csp"} == {why for request, why in watched.refused.items() if request.startswith("http")}
    watched.page.close()


def _place(watched: Watched, prompt: str) -> int:
    return watched.page.locator("figcaption p").all_text_contents().index(prompt)
