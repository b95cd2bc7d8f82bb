"""Tests of the rules over a batch, and of fixes."""

from __future__ import annotations

import pytest

from seedance_async import GptImage2, Seedance2Video, lint_prompt
from seedance_async.prompts import batch_lint
from seedance_async.prompts.batch_lint import BatchLint
from seedance_async.prompts.findings import Level
from seedance_async.prompts.fixes import fixed_request, fixed_text

PNG = "https://cdn.example/mira.png"


def clip(prompt: str, **fields: object) -> Seedance2Video:
    """A clip of these fields."""
    return Seedance2Video.from_dict({"prompt": prompt, **fields})


def looked(*prompts: str) -> BatchLint:
    """A batch of clips, named by their places."""
    lint = BatchLint()
    for place, prompt in enumerate(prompts, start=1):
        lint.add(f"job-{place}", clip(prompt))
    return lint


def test_a_rule_is_told_once_with_its_jobs_and_the_first() -> None:
    """Three hundred lines about one habit are read by nobody."""
    lint = looked(
        "A boat", *[f"An epic, ultra-detailed, cinematic boat number {place}" for place in range(30)]
    )

    (row,) = lint.summary().counts
    assert (31, 30, "job-2") == (lint.summary().jobs, row.jobs, row.first)
    assert row.words(31).startswith(
        "P15 warning in 30 of 31, first job-2: 'epic, ultra-detailed, cinematic' is praise"
    )


def test_a_figure_that_is_described_differently_is_told() -> None:
    """The model makes two people of the two descriptions."""
    lint = looked(
        "Mira, a courier in a red parka, rides home",
        "Mira, a courier in a red parka, takes a letter",
        "Mira, the courier, sleeps",
        "Mira, a nurse in a blue coat, waves",
    )

    (row,) = lint.summary().counts
    assert ("P20", 1, "job-4") == (row.code, row.jobs, row.first)
    assert "job-1" in row.example.reason


@pytest.mark.parametrize(
    "prompts",
    [
        ("Mira, a courier in a red parka, rides home", "Anna, a nurse in a blue coat, waves"),
        ("Later, a courier rides home", "Later, a nurse in blue waves"),
        ("Oslo, una ciudad fría, de noche", "Oslo, a small town, at night with rain"),
    ],
)
def test_other_figures_and_other_words_are_no_contradiction(prompts: tuple[str, str]) -> None:
    """A name before a comma is not always a figure's."""
    assert () == looked(*prompts).summary().counts


def test_equal_requests_are_a_note() -> None:
    """They are often wanted; `repeat` says so."""
    (row,) = looked("A boat", "A tram", "A boat").summary().counts

    assert ("B01", Level.NOTE, 1, "job-3") == (row.code, row.level, row.jobs, row.first)
    assert "job-1" in row.example.reason
    assert () == looked("A boat", "A tram", "A boat").summary().at_least(Level.WARNING)


def test_a_prompt_near_the_limit_is_told_by_its_own_models_limit() -> None:
    """One public user's tool cuts there, silently."""
    lint = BatchLint()
    lint.add("clip", clip("a" * 9_501))
    lint.add("short", clip("a" * 9_500))
    lint.add("picture", GptImage2(prompt="a" * 9_501))
    lint.add("long-picture", GptImage2(prompt="b" * 19_001))

    (row,) = lint.summary().counts
    assert ("B02", 2, "clip") == (row.code, row.jobs, row.first)


def test_rules_are_left_out_for_a_batch_and_for_a_line() -> None:
    """Each by its code, those that compare jobs as well."""
    lint = BatchLint(frozenset({"P02"}))
    lint.add("first", clip("@Image1 waves at the sea"))
    lint.add("second", clip("@Image1 waves at the sea"), frozenset({"B01"}))

    assert () == lint.summary().counts


def test_so_much_is_remembered_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """A million lines cost no memory; what comes late is compared with what came first."""
    monkeypatch.setattr(batch_lint, "MOST_REMEMBERED", 1)
    lint = looked("A boat", "A tram", "A tram", "A boat")

    (row,) = lint.summary().counts
    assert ("B01", 1, "job-4") == (row.code, row.jobs, row.first)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Prompt: A kite --ar 16:9 over the beach", "A kite over the beach"),
        (
            "Shot 1: a street. Shot 3: a door. Shot 4: a room.",
            "Shot 1: a street. Shot 2: a door. Shot 3: a room.",
        ),
        (
            "The woman of @Image1 nods to @Image 2",
            "The woman of the first supplied picture nods to the second supplied picture",
        ),
        ('No text. The sign reads "OPEN"', 'No other text. The sign reads "OPEN"'),
        ("```\nA kite\n```", "A kite"),
    ],
)  # fmt: skip
def test_a_fix_leaves_a_prompt_that_is_clean(before: str, after: str) -> None:
    """Of what it fixed, at least."""
    fixed = fixed_text(before, lint_prompt(before))

    assert after == fixed
    assert not [finding for finding in lint_prompt(fixed) if finding.fix is not None]


def test_a_label_is_put_into_words_only_where_it_is_clear_which_one_it_means() -> None:
    """The second picture of one is nobody's."""
    one = clip("@Image1 nods to @Image2", media_urls=[PNG])
    frame = clip("@Image1 nods", image_url=PNG)
    none = clip("@Image1 nods")

    assert "the supplied picture nods to @Image2" == fixed_request(one, lint_prompt(one)).prompt
    assert "the supplied opening frame nods" == fixed_request(frame, lint_prompt(frame)).prompt
    assert none == fixed_request(none, lint_prompt(none))


def test_what_would_leave_no_prompt_is_not_fixed() -> None:
    """A request is always valid."""
    leftover = clip("Prompt: a")

    assert leftover == fixed_request(leftover, lint_prompt(leftover))


def test_shots_that_are_mentioned_are_not_renumbered() -> None:
    """What "as in shot 3" means would change."""
    text = "Shot 1: a street. Shot 3: a door. Shot 4: the light as in shot 3."

    assert text == fixed_text(text, lint_prompt(text))
