"""Tests of matrices: which jobs an entry stands for, what they are called, and what is left alone."""

from __future__ import annotations

from typing import Any

import pytest

from seedance_async.batch.matrix import MOST_JOBS, MatrixError, expand

KNOWN = ["prompt", "seed", "image_url", "media_urls"]


def jobs(**fields: object) -> list[dict[str, Any]]:
    """What an entry stands for."""
    return list(expand(fields, KNOWN))


def names(**fields: object) -> list[str]:
    """Of the jobs that an entry stands for."""
    return [job["name"] for job in jobs(**fields)]


def test_an_entry_without_a_matrix_is_itself() -> None:
    """Braces and all."""
    assert [{"prompt": "{city}", "seed": 1}] == jobs(prompt="{city}", seed=1)


def test_every_combination_is_there_once_in_the_order_of_the_declaration() -> None:
    """The last name changes fastest."""
    made = jobs(prompt="{city} in {look}", matrix={"city": ["Oslo", "Lima"], "look": ["rain", "sun"]})

    assert ["Oslo in rain", "Oslo in sun", "Lima in rain", "Lima in sun"] == [job["prompt"] for job in made]


def test_names_that_are_zipped_move_together_beside_the_matrix() -> None:
    """As many jobs as there are rows, for each combination."""
    made = jobs(
        prompt="{who} {does} in {city}",
        matrix={"city": ["Oslo", "Lima"]},
        zip={"who": ["A cat", "A dog"], "does": ["sleeps", "runs"]},
    )

    assert ["A cat sleeps in Oslo", "A dog runs in Oslo", "A cat sleeps in Lima", "A dog runs in Lima"] == [
        job["prompt"] for job in made
    ]


def test_only_declared_names_are_replaced() -> None:
    """Braces mark dialogue in prompts."""
    (job,) = jobs(prompt="She says {Go to {city}!} {x} {}", matrix={"city": ["Oslo"]})

    assert "She says {Go to Oslo!} {x} {}" == job["prompt"]


def test_a_value_in_braces_is_not_replaced_again() -> None:
    """Whatever a value has in it, it is put in once."""
    (job,) = jobs(prompt="{a} {b}", matrix={"a": ["{b}"], "b": ["{a}"]})

    assert "{b} {a}" == job["prompt"]


def test_a_number_stays_one_and_a_name_that_is_a_field_fills_it() -> None:
    """Where the entry has no value of its own."""
    assert [1, 2] == [job["seed"] for job in jobs(prompt="Go", matrix={"seed": [1, 2]})]
    assert [3, 4] == [job["seed"] for job in jobs(prompt="Go", seed="{n}", matrix={"n": [3, 4]})]
    assert [7, 7] == [job["seed"] for job in jobs(prompt="Go", seed=7, matrix={"seed": [1, 2]})]


def test_lists_are_filled_too() -> None:
    """Each of their texts."""
    (job,) = jobs(media_urls=["$still-{city}.image", "https://example.com/a.png"], matrix={"city": ["Oslo"]})

    assert ["$still-Oslo.image", "https://example.com/a.png"] == job["media_urls"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("{city}-{look}", ["Oslo-noir", "Lima-noir"]),
        ("shot-{city}", ["shot-Oslo-noir", "shot-Lima-noir"]),
        ("shot", ["shot-Oslo-noir", "shot-Lima-noir"]),
        (None, ["Oslo-noir", "Lima-noir"]),
    ],
)
def test_a_job_is_named_after_its_values(name: str | None, expected: list[str]) -> None:
    """Each of them, so that no two have the same name; a word that stands for a long text is its name."""
    matrix = {"city": ["Oslo", "Lima"], "look": {"noir": "hard key, wet asphalt"}}
    given = {} if name is None else {"name": name}

    assert expected == names(prompt="{city}, {look}", matrix=matrix, **given)


def test_another_value_renames_nothing() -> None:
    """Names follow from values, not from places."""
    before = names(matrix={"city": ["Oslo", "Lima"]})
    after = names(matrix={"city": ["Pune", "Oslo", "Lima"]})

    assert set(before) < set(after)


def test_a_sentence_becomes_a_short_part_of_a_name() -> None:
    """That every file system can have."""
    (name,) = names(matrix={"what": ['A cat / a dog: who is "right"? ' * 5]})

    assert "A-cat-a-dog-who-is-right-A-cat-a-dog-who" == name


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"matrix": []}, "matrix", "must be a table"),
        ({"matrix": {}}, "matrix", "must be a table"),
        ({"matrix": {"city": "Oslo"}}, "matrix", "must be a list of values"),
        ({"matrix": {"city": "Oslo, Lima"}}, "matrix", "write ['Oslo', 'Lima']"),
        ({"matrix": {"city": []}}, "matrix", "'city' has no values"),
        ({"zip": {"city": {}}}, "zip", "'city' has no values"),
        ({"matrix": {}}, "matrix", "it is empty: leave it out"),
        ({"matrix": {"city": [["Oslo"]]}}, "matrix", "must have texts and numbers"),
        ({"matrix": {"the city": ["Oslo"]}}, "matrix", "is no name"),
        ({"matrix": {"a": [1]}, "zip": {"a": [1]}}, "zip", "is in the matrix, too"),
        ({"zip": {"a": [1, 2], "b": [1]}}, "zip", "a has 2, b has 1"),
        ({"matrix": {"a": list(range(101)), "b": list(range(101))}}, "matrix", "makes 10,201 jobs"),
    ],
)
def test_what_is_wrong_with_a_matrix_is_told(fields: dict[str, object], field: str, reason: str) -> None:
    """Before the first job is made."""
    with pytest.raises(MatrixError) as refused:
        expand(fields, KNOWN)

    ((where, why),) = refused.value.problems
    assert field == where
    assert reason in why


def test_the_largest_matrix_is_made() -> None:
    """The ceiling itself is allowed."""
    assert MOST_JOBS == len(jobs(matrix={"a": list(range(100)), "b": list(range(100))}))
