"""Tests of requests made of text, as rows of a table have it."""

from __future__ import annotations

import csv
import io

import pytest

from seedance_async import GptImage2, NanoBananaPro, Seedance2Video, ValidationError, read_request


def test_a_row_of_a_table_is_the_request_that_a_manifest_makes_of_it() -> None:
    """Numbers, truth values and lists of URLs are read by their fields; empty cells are left out."""
    table = (
        "model,prompt,duration,seed,generate_audio,media_urls,aspect_ratio\n"
        'seedance2,A kite,8,7,false,"https://a.example/1.png,https://a.example/2.png",\n'
        "gpt-image-2,A kite,,,,,9:16\n"
    )

    clip, picture = (read_request(row) for row in csv.DictReader(io.StringIO(table)))

    assert picture == GptImage2(prompt="A kite", aspect_ratio="9:16")
    assert clip == Seedance2Video(
        prompt="A kite",
        duration=8,
        seed=7,
        generate_audio=False,
        media_urls=("https://a.example/1.png", "https://a.example/2.png"),
    )


def test_values_of_other_types_are_taken_as_they_are() -> None:
    """A dict from JSON has numbers and lists already."""
    fields = {"model": "nano-banana-pro", "prompt": "A kite", "image_urls": ["https://a.example/1.png"]}

    assert read_request(fields) == NanoBananaPro(prompt="A kite", image_urls=("https://a.example/1.png",))


@pytest.mark.parametrize(
    ("fields", "problems"),
    [
        ({"prompt": "A kite"}, {"model": "is required"}),
        ({"model": "seedance", "prompt": "A kite"}, {"model": "did you mean 'seedance2'?"}),
        ({"model": "seedance2", "promt": "A kite"}, {"promt": "'prompt'", "prompt": "required"}),
        (
            {"model": "seedance2", "prompt": "A kite", "seed": "soon", "duration": "99"},
            {"seed": "soon", "duration": "99"},
        ),
    ],
)
def test_all_that_is_wrong_is_said_at_once(fields: dict[str, object], problems: dict[str, str]) -> None:
    """By field, with the word that was probably meant."""
    with pytest.raises(ValidationError) as caught:
        read_request(fields)

    reasons = dict(caught.value.problems)
    assert reasons.keys() == problems.keys()
    assert all(words in reasons[name] for name, words in problems.items()), reasons
