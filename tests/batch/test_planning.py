"""A manifest into a journal that may know its jobs already."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_async.batch import keys
from seedance_async.batch.journal import Planner
from tests.batch.stores import draft, opened_store, plan

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async.batch.journal import Draft


def test_a_manifest_is_planned_in_its_order(tmp_path: Path) -> None:
    """What is sent first is what stands first."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("b"), draft(None, line=2), draft("a", line=3)])

        assert ["b", "job-000002", "a"] == [ticket.name for ticket in store.to_send(after=0, limit=9)]


@pytest.mark.case(144, 145)
@pytest.mark.parametrize("names", [("boat", "boat"), ("boat", "BOAT"), ("e\u0301", "é")])
@pytest.mark.parametrize("fresh", [True, False])
def test_a_name_that_comes_twice_is_told_with_both_lines(
    names: tuple[str, str], fresh: bool, tmp_path: Path
) -> None:
    """Catalogue 144, 145: on some file systems they would be one file."""
    with opened_store(tmp_path) as store:
        if not fresh:
            plan(store, [draft(names[0], line=7)])
        taken = plan(store, [draft(names[0], line=3), draft("other", line=4), draft(names[1], line=5)])

        assert [(5, "name")] == [problem[:2] for problem in taken.problems]
        assert "line 3" in taken.problems[0][2]


def test_an_edited_job_that_was_never_paid_is_replaced(tmp_path: Path) -> None:
    """Nothing is lost by forgetting a request that was refused or never sent."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat"), draft("swan", line=2)])
        store.intend(1, now=1.0)
        store.refuse(1, "bad prompt", now=2.0)
        plan(store, [draft("boat", "A better boat"), draft("swan", "A better swan", line=2)])

        assert [(1, "boat"), (2, "swan")] == [
            (ticket.number, ticket.name) for ticket in store.to_send(after=0, limit=9)
        ]
        assert b"better" in (store.intend(1, now=3.0).body or b"")


@pytest.mark.case(82)
def test_an_edited_job_that_was_sent_is_kept_under_another_name(tmp_path: Path) -> None:
    """Catalogue 82: it may be paid, so its key and ids stay on record and are collected."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat")])
        key = store.intend(1, now=1.0).idempotency_key
        plan(store, [draft("boat", "A better boat")])
        plan(store, [draft("boat", "The best boat")])

        assert [("boat-before-edit", key), ("boat", None)] == [
            (entry.name, entry.key) for entry in store.entries(after=0, limit=9)
        ]


@pytest.mark.case(139)
def test_what_the_manifest_no_longer_lists_is_forgotten_unless_it_was_sent(tmp_path: Path) -> None:
    """Catalogue 139."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("sent"), draft("unsent", line=2), draft("kept", line=3)])
        store.intend(1, now=1.0)
        planner = Planner(store, whole=True)
        planner.take([draft("kept"), draft("new", "A new boat", line=2)])
        changes = planner.finish(manifest="")

        assert (1, 2, 0) == (changes.added, changes.removed, changes.edited)
        assert ["sent", "kept", "new"] == [entry.name for entry in store.entries(after=0, limit=9)]
        assert ["kept", "new"] == [ticket.name for ticket in store.to_send(after=0, limit=9)]


@pytest.mark.parametrize("sent", [True, False])
def test_an_edit_that_is_taken_back_finds_the_paid_job_again(sent: bool, tmp_path: Path) -> None:
    """Whatever became of the edited one meanwhile; else the first would be paid once more."""
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat", "A boat")])
        store.intend(1, now=1.0)
        plan(store, [draft("boat", "A better boat")])
        if sent:
            store.intend(2, now=2.0)
        plan(store, [draft("boat", "A boat")])

        assert [] == store.to_send(after=0, limit=9)
        kept = {entry.number: entry.name for entry in store.entries(after=0, limit=9)}
        assert ({1: "boat", 2: "boat-before-edit-2"} if sent else {1: "boat"}) == kept


def boats(prompts: list[int]) -> list[Draft]:
    """A manifest of jobs without names."""
    return [draft(None, f"Boat {which}", line=line) for line, which in enumerate(prompts, start=1)]


@given(
    before=st.lists(st.integers(0, 3), max_size=8),
    after=st.lists(st.integers(0, 3), max_size=8),
)
def test_unnamed_jobs_are_matched_by_what_they_ask_for(
    before: list[int], after: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """However lines are moved, put in or taken out: as many stay matched as the two manifests share."""
    with opened_store(tmp_path_factory.mktemp("unnamed")) as store:
        plan(store, boats(before))
        planner = Planner(store, whole=True)
        planner.take(boats(after))

        shared = sum(min(before.count(which), after.count(which)) for which in range(4))
        assert len(after) - shared == planner.finish(manifest="").added
        assert len(after) == len(store.to_send(after=0, limit=99))


def test_a_request_written_otherwise_by_an_older_version_is_the_same(tmp_path: Path) -> None:
    """An update of the package must not turn every job into an edited one, and pay for all again."""
    old = b'{"prompt":"A boat","type":"text-to-image"}'
    with opened_store(tmp_path) as store:
        plan(store, [draft("boat"), draft(None, line=2)])
        for number in (1, 2):
            store.file.connection.execute(
                "UPDATE jobs SET body = ?, digest = ? WHERE number = ?",
                (old, keys.digest(draft("boat").path, old), number),
            )
            store.intend(number, now=1.0)
        plan(store, [draft("boat"), draft(None, line=2)])

        assert [old, old] == [entry.body for entry in store.entries(after=0, limit=9)]
