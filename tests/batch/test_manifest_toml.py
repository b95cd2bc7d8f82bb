"""Tests of manifests with defaults, assets and matrices, in TOML and in JSON lines."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from seedance_async import wire
from seedance_async.batch.manifest import read

if TYPE_CHECKING:
    from pathlib import Path

FILM = """\
[defaults]
model = "seedance2"
duration = 4
resolution = "720p"

[defaults.nano-banana-pro]
resolution = "2K"

[assets]
mira = { job = "sheet", role = "the lead" }
logo = "https://example.com/logo.png"
last = { job = "opening", output = "last_frame" }

[[jobs]]
name = "sheet"
model = "nano-banana-pro"
prompt = "A sheet of Mira"

[[jobs]]
name = "opening"
prompt = "Mira wakes"
media_urls = ["$mira", "$logo"]

[[jobs]]
name = "next"
prompt = "She says {Go!} in {city}"
image_url = "$last"
duration = 8
matrix.city = ["Oslo", "Lima"]
"""


def requests(path: Path) -> dict[str, dict[str, object]]:
    """What each job of a manifest asks for."""
    jobs = [line.job for line in read(path) if line.job is not None]
    return {str(job.name): json.loads(wire.encode(job.request)) for job in jobs}


def problems(path: Path) -> list[tuple[int, str, str]]:
    """What is wrong, by line and field."""
    return [(line.number, *problem) for line in read(path) for problem in line.problems]


def test_a_film_is_read_with_all_that_holds_for_its_jobs(tmp_path: Path) -> None:
    """Defaults where a model has the field, assets where a URL is asked for, a job for each value."""
    path = tmp_path / "film.toml"
    path.write_text(FILM)

    assert not problems(path)
    asked = requests(path)
    assert ["sheet", "opening", "next-Oslo", "next-Lima"] == list(asked)
    assert "2K" == asked["sheet"]["resolution"]
    assert "duration" not in asked["sheet"]
    assert ("720p", "4") == (asked["opening"]["resolution"], asked["opening"]["duration"])
    assert ["$sheet.image", "https://example.com/logo.png"] == asked["opening"]["media_urls"]
    assert ("$opening.last_frame", "8") == (asked["next-Lima"]["image_url"], asked["next-Lima"]["duration"])
    assert "She says {Go!} in Lima" == asked["next-Lima"]["prompt"]


def test_defaults_and_assets_work_in_json_lines_for_the_lines_below(tmp_path: Path) -> None:
    """A line with nothing else."""
    path = tmp_path / "film.jsonl"
    lines = [
        {
            "defaults": {"model": "seedance2", "duration": 6},
            "assets": {"logo": "https://example.com/logo.png"},
        },
        {"name": "{n}", "prompt": "A boat", "image_url": "$logo", "matrix": {"n": [1, 2]}},
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))

    asked = requests(path)

    assert ["1", "2"] == list(asked)
    assert {"6"} == {body["duration"] for body in asked.values()}
    assert {"https://example.com/logo.png"} == {body["image_url"] for body in asked.values()}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[[jobs]\n", (1, "toml", "Expected")),
        (
            "\n[defaults]\nmodel = seedance2\n",
            (3, "toml", "Invalid value at column 9; text stands in quotes"),
        ),
        ("[default]\nmodel = 'seedance2'\n", (1, "toml", "did you mean 'defaults'?")),
        (f"a = {'[' * 9000}{']' * 9000}\n", (1, "toml", "nested too deeply")),
        ("\n[defaults]\nduraton = 3\n", (2, "defaults", "did you mean 'duration'?")),
        ("\n\n[defaults.seedance2]\nPrompt = 'A'\n", (3, "defaults.seedance2", "perhaps 'prompt' (other")),
        ("\n[assets]\na = {link = 'b'}\n", (2, "assets.a", "has 'link'")),
        ("\n[assets.a]\nURL = 'b'\n", (2, "assets.a", "perhaps 'url' (other letter case)")),
        ("[job]\nname='a'\n", (1, "toml", "[defaults], [assets], [[jobs]]")),
        ("jobs = 3\n", (1, "jobs", "write [[jobs]] above each")),
        ("[defaults]\nlength = 3\n", (1, "defaults", "'length' is not a field of any model")),
        ("[defaults.seedance2]\nimage_size = '1:1'\n", (1, "defaults.seedance2", "not a field of seedance2")),
        ("[assets]\na = 3\n", (1, "assets.a", "must be a URL, or a table")),
        (
            "[assets]\na = {url = 'https://a.example', file = 'b.png'}\n",
            (1, "assets.a", "one of url, file"),
        ),
        ("[assets]\na = {job = 'b', output = 'film'}\n", (1, "assets.a", "output must be one of")),
        ("\n\n[[jobs]]\nmodel = 'seedance2'\n", (3, "prompt", "is required")),
        (
            "[[jobs]]\nmodel='seedance2'\nprompt='Boat'\n[[jobs]]\nprompt='Boat'\n",
            (4, "model", "is required"),
        ),
    ],
)
def test_what_is_wrong_is_told_with_its_line_and_field(
    text: str, expected: tuple[int, str, str], tmp_path: Path
) -> None:
    """The parser tells no lines of what is sound TOML; that of ``[[jobs]]`` is a job's."""
    path = tmp_path / "film.toml"
    path.write_text(text)

    (found,) = problems(path)

    assert expected[:2] == found[:2]
    assert expected[2] in found[2]


def test_a_wrong_default_is_reported_once_and_where_it_stands(tmp_path: Path) -> None:
    """Not once more for each job that takes it; a job's own mistake stays its own."""
    path = tmp_path / "film.toml"
    path.write_text(
        "\n[defaults]\nmodel = 'seedance2'\naspect_ratio = '16.9'\n"
        "[defaults.nano-banana-pro]\nimage_size = '1x1'\n"
        "[[jobs]]\nprompt = 'A boat'\n[[jobs]]\nprompt = 'A tram'\nduration = 99\n"
        "[[jobs]]\nprompt = 'A tram'\naspect_ratio = '16.9'\n"
        "[[jobs]]\nmodel = 'nano-banana-pro'\nprompt = 'A fox'\n"
    )

    found = problems(path)

    assert [
        (2, "defaults.aspect_ratio"), (9, "duration"), (12, "aspect_ratio"),
        (5, "defaults.nano-banana-pro.image_size"),
    ] == [problem[:2] for problem in found]  # fmt: skip
    assert "did you mean '16:9'?" in found[0][2]
    assert "line 7" in found[0][2]


def test_a_wrong_default_of_json_is_reported_at_its_own_line(tmp_path: Path) -> None:
    """Of lines and of an array, whose element is named."""
    entries = [
        {"defaults": {"model": "seedance2", "seed": "7"}},
        *({"prompt": text} for text in ("Boat", "Tram")),
    ]
    (tmp_path / "film.jsonl").write_text("\n".join(map(json.dumps, entries)))
    (tmp_path / "film.json").write_text(json.dumps(entries))

    assert [(1, "defaults.seed")] == [each[:2] for each in problems(tmp_path / "film.jsonl")]
    assert [(1, "[0].defaults.seed")] == [each[:2] for each in problems(tmp_path / "film.json")]


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("$mria", ["did you mean '$mira'?", "declared assets are $mira, $boat"]),
        ("$Boat", ["perhaps '$boat' (other letter case)"]),
        ("$still", ["'still' is a job, so write $still.image"]),
        ("$stil", ["did you mean '$still'?"]),
        ("$tram", ["declared assets are $mira, $boat"]),
    ],
)
def test_a_name_that_stands_for_nothing_is_reported_with_those_that_do(
    written: str, words: list[str], tmp_path: Path
) -> None:
    """Assets first, and jobs that are known by then; in a list as well."""
    path = tmp_path / "film.toml"
    assets = "[assets]\nmira = 'https://a.example/m.png'\nboat = 'https://a.example/b.png'\n"
    still = "[[jobs]]\nname = 'still'\nmodel = 'nano-banana-pro'\nprompt = 'A boat'\n"
    clip = "[[jobs]]\nmodel = 'seedance2'\nprompt = 'A boat'\n"
    path.write_text(
        f"{assets}{still}{clip}image_url = '{written}'\n{clip}media_urls = ['$mira', '{written}']\n"
    )

    found = problems(path)

    assert [(8, "image_url"), (12, "media_urls")] == [problem[:2] for problem in found]
    assert all(word in problem[2] for word in words for problem in found)


def test_without_assets_that_is_said(tmp_path: Path) -> None:
    """In JSON lines they hold for the lines below only."""
    path = tmp_path / "film.jsonl"
    path.write_text(json.dumps({"model": "seedance2", "prompt": "A boat", "image_url": "$mira"}))

    assert "no assets are declared above it" in problems(path)[0][2]


def test_the_same_mistake_of_all_jobs_of_a_matrix_is_told_once(tmp_path: Path) -> None:
    """A thousand times the same line says no more."""
    path = tmp_path / "film.toml"
    path.write_text("[[jobs]]\nmodel = 'seedance2'\nprompt = '{n}'\nmatrix.n = ['ab', 'cd', 'ef']\n")

    assert 1 == len(problems(path))
