"""Tests of the rules on a corpus of prompts; see ``CORPUS.md`` for what it is and whose."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from seedance_async import lint_prompt
from seedance_async.batch.manifest import entries_of, read
from seedance_async.prompts.batch_lint import BatchLint
from seedance_async.prompts.findings import Level
from seedance_async.prompts.table import CODES, RULES

if TYPE_CHECKING:
    from seedance_async import Request

CORPUS = Path(__file__).with_name("corpus.jsonl")
MOST_WARNED = 0.10
"""Of the jobs of a corpus; what fires on more is an opinion."""


def jobs() -> dict[str, Request]:
    """The requests of the corpus, by name; no line of it is refused."""
    lines = list(read(CORPUS, entries_of(CORPUS, CODES)))
    assert not [line.problems for line in lines if line.problems]
    return {str(line.name): line.job.request for line in lines if line.job is not None}


def test_the_corpus_is_large_and_of_many_languages() -> None:
    """Enough to tell a habit from an opinion."""
    found = jobs()

    assert len(found) >= 150
    languages = Counter(name.partition("-")[0] for name in found if not name.startswith("habit-"))
    assert len(languages) >= 10
    assert len({request.prompt for request in found.values()}) == len(found)


def test_a_habit_is_found_by_its_rule_and_every_rule_for_manifests_has_one() -> None:
    """Rules whose findings are notes are a matter of taste, and have their own tests."""
    habits = {name: request for name, request in jobs().items() if name.startswith("habit-")}

    for name, request in habits.items():
        assert name.split("-")[1] in {finding.code for finding in lint_prompt(request)}, name
    certain = {rule.code for rule in RULES if rule.level is not Level.NOTE}
    assert certain == {name.split("-")[1] for name in habits}


def test_nothing_else_is_warned_of() -> None:
    """Not one false alarm."""
    for name, request in jobs().items():
        if not name.startswith("habit-"):
            found = [finding for finding in lint_prompt(request) if finding.level is not Level.NOTE]
            assert [] == found, name


def test_no_warning_fires_on_a_tenth() -> None:
    """As the command tells it."""
    lint = BatchLint()
    for name, request in jobs().items():
        lint.add(name, request)
    summary = lint.summary()

    assert all(row.jobs < MOST_WARNED * summary.jobs for row in summary.at_least(Level.WARNING))


def test_the_corpus_says_how_many_it_has_and_whose_they_are() -> None:
    """A number that is told is the number."""
    text = CORPUS.with_name("CORPUS.md").read_text("utf-8")

    found = re.search(r"manifest of (\d+) jobs", text)
    assert found is not None
    assert len(jobs()) == int(found[1])
    assert "MIT" in text
