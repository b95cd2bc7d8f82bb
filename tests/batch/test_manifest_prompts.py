"""Tests of what a manifest says about prompts beside ``prompt``: roles, shots, a style, ``lint``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from seedance_async import BatchRunner, ManifestError, Seedance2Video
from seedance_async.batch.manifest import read

if TYPE_CHECKING:
    from pathlib import Path

    from seedance_async import SeedanceClient
    from seedance_async.batch.entries import Line
    from seedance_async.sandbox import Sandbox

FILM = """\
[defaults]
model = "seedance2"

[assets]
mira = { url = "https://cdn.example/mira.png", role = "the courier" }
town = { url = "https://cdn.example/town.png", role = "style: wet slate, low sun" }
walk = { url = "https://cdn.example/walk.mp4", role = "source video: replace the car with a horse" }
plain = "https://cdn.example/plain.png"

"""


def lines(folder: Path, text: str, name: str = "film.toml") -> list[Line]:
    """The lines of a manifest."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return list(read(path))


def prompts(folder: Path, jobs: str) -> list[str]:
    """The prompts of the film's jobs."""
    found = lines(folder, FILM + jobs)
    assert not [line.problems for line in found if line.problems]
    return [line.job.request.prompt for line in found if line.job is not None]


@pytest.mark.parametrize(
    ("fields", "prompt"),
    [
        ('media_urls = ["$mira"]', "Use the supplied picture as the courier. She rides home."),
        ('image_url = "$mira"', "Use the supplied opening frame as the courier. She rides home."),
        ('media_urls = ["$plain"]', "She rides home"),
        (
            'media_urls = ["$plain", "$mira"]',
            "Use the second supplied picture as the courier. She rides home.",
        ),
        (
            'media_urls = ["$town"]',
            "Use the supplied style reference throughout: wet slate, low sun. She rides home.",
        ),
        (
            'media_urls = ["$walk"]',
            "Strictly edit the supplied source video; replace the car with a horse. She rides home.",
        ),
    ],
)
def test_a_role_is_said_in_the_prompt_by_the_guides_form(fields: str, prompt: str, tmp_path: Path) -> None:
    """A job without a role has its prompt as it is written, to the byte."""
    assert [prompt] == prompts(tmp_path, f'[[jobs]]\nprompt = "She rides home"\n{fields}\n')


def test_a_picture_takes_roles_too(tmp_path: Path) -> None:
    """Under its own field."""
    job = '[[jobs]]\nmodel = "nano-banana-pro"\nprompt = "A bridge"\nimage_urls = ["$mira", "$plain"]\n'

    assert ["Use the first supplied picture as the courier. A bridge."] == prompts(tmp_path, job)


def test_shots_make_three_parts(tmp_path: Path) -> None:
    """Setup and roles, the shots in order, the style."""
    job = """\
[[jobs]]
prompt = "A harbour at dawn"
media_urls = ["$mira"]
shots = ["she rides in", "She stops."]
style = "low sun, long shadows"
"""
    parts = [
        "Use the supplied picture as the courier. A harbour at dawn.",
        "Shot 1: She rides in.\nShot 2: She stops.",
        "Low sun, long shadows.",
    ]
    assert ["\n\n".join(parts)] == prompts(tmp_path, job)


def test_a_matrix_fills_roles_shots_and_style_and_chooses_assets(tmp_path: Path) -> None:
    """They are composed once its values are in their places."""
    job = """\
[[jobs]]
prompt = "{who} rides home"
style = "{light}"
matrix.who = ["Mira", "Ann"]
matrix.light = ["low sun"]
matrix.image_url = ["$mira", "$plain"]
"""
    assert [
        "Use the supplied opening frame as the courier. Mira rides home. Low sun.",
        "Mira rides home. Low sun.",
        "Use the supplied opening frame as the courier. Ann rides home. Low sun.",
        "Ann rides home. Low sun.",
    ] == prompts(tmp_path, job)


def test_a_matrix_fills_what_an_asset_stands_for(tmp_path: Path) -> None:
    """Its URL and its role, and each role stays with its own medium."""
    text = """\
[assets]
who = { url = "https://cdn.example/{name}.png", role = "{name} in the {coat} coat" }
plain = "https://cdn.example/plain.png"

[[jobs]]
model = "seedance2"
prompt = "A walk"
media_urls = ["$plain", "$who"]
matrix.name = ["Mira"]
matrix.coat = ["red", "blue"]
"""
    requests = [line.job.request for line in lines(tmp_path, text) if line.job]
    found = [request for request in requests if isinstance(request, Seedance2Video)]

    assert [
        f"Use the second supplied picture as Mira in the {coat} coat. A walk." for coat in ("red", "blue")
    ] == [request.prompt for request in found]
    assert {"https://cdn.example/Mira.png"} == {request.media_urls[1] for request in found}


def test_a_style_may_be_a_default_of_every_model(tmp_path: Path) -> None:
    """One look for stills and clips."""
    text = """\
[defaults]
model = "seedance2"
style = "2D cel animation throughout"

[[jobs]]
prompt = "A girl runs"

[[jobs]]
model = "nano-banana-pro"
prompt = "A girl"
"""
    assert ["A girl runs. 2D cel animation throughout.", "A girl. 2D cel animation throughout."] == [
        line.job.request.prompt for line in lines(tmp_path, text) if line.job
    ]


def test_the_same_in_json_lines_and_csv(tmp_path: Path) -> None:
    """Whatever a manifest is written in."""
    fields = {"model": "seedance2", "prompt": "A harbour", "shots": ["dawn", "noon"], "style": "low sun"}
    shots = json.dumps(fields["shots"]).replace('"', '""')
    (of_json,) = lines(tmp_path, json.dumps(fields), "jobs.jsonl")
    (of_csv,) = lines(
        tmp_path, f'model,prompt,shots,style\nseedance2,A harbour,"{shots}",low sun\n', "jobs.csv"
    )

    assert of_json.job is not None
    assert of_json.job == of_csv.job
    assert "Shot 2: Noon." in of_json.job.request.prompt


@pytest.mark.parametrize(
    ("jobs", "field", "said"),
    [
        ('[[jobs]]\nprompt = "A boat"\nshots = "dawn"', "shots", "list of texts"),
        ('[[jobs]]\nprompt = "A boat"\nshots = []', "shots", "list of texts"),
        ('[[jobs]]\nprompt = "A boat"\nshots = ["a", " "]', "shots", "list of texts"),
        ('[[jobs]]\nmodel = "gpt-image-2"\nprompt = "A boat"\nshots = ["a"]', "shots", "seedance2 only"),
        ('[[jobs]]\nprompt = "A boat"\nstyle = " "', "style", "not blank"),
        ('[[jobs]]\nstyle = "low sun"', "prompt", "is required"),
        ('[[jobs]]\nprompt = "A boat"\nlint = "P99"', "lint", "not a rule"),
        ('[[jobs]]\nprompt = "A boat"\nlint = 5', "lint", "codes of rules"),
        ('[[jobs]]\nprompt = "@Image1 waves"', "prompt", "P02: '@Image1'"),
        ('[[jobs]]\nprompt = "A {colour} boat"\nmatrix.color = ["red"]', "prompt", "P03: '{colour}'"),
    ],
)
def test_what_is_wrong_is_told_by_its_field(jobs: str, field: str, said: str, tmp_path: Path) -> None:
    """Before anything is sent."""
    found = [problem for line in lines(tmp_path, FILM + jobs + "\n") for problem in line.problems]

    assert field in [name for name, _ in found], found
    assert said in " ".join(reason for _, reason in found)


def test_a_role_is_text(tmp_path: Path) -> None:
    """And told where the asset stands."""
    found = lines(tmp_path, '[assets]\nmira = { url = "https://cdn.example/m.png", role = 5 }\n\n[[jobs]]\n')

    assert "role must be text" in str([line.problems for line in found])


@pytest.mark.parametrize("lint", ["-P02", "P02 P15", ["P02"]])
def test_a_line_leaves_rules_out(lint: object, tmp_path: Path) -> None:
    """Its own words are its own business; what is sent is the same."""
    line = {"model": "seedance2", "prompt": "@Image1 waves", "lint": lint}
    (found,) = lines(tmp_path, json.dumps(line), "jobs.jsonl")

    assert found.job is not None
    assert "@Image1 waves" == found.job.request.prompt
    assert "P02" in found.ignored


def test_what_a_run_has_sent_is_not_held_to_rules_again(tmp_path: Path) -> None:
    """A `results.jsonl` is a manifest, of jobs whose lines may have left rules out."""
    line = {"model": "seedance2", "prompt": "@Image1 waves", "state": "saved", "task_ids": ["sd2_a"]}
    (found,) = lines(tmp_path, json.dumps(line), "results.jsonl")

    assert found.job is not None


async def test_an_edited_role_is_an_edit_and_what_it_says_is_sent(
    seedance_client: SeedanceClient, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """The role is part of the bytes: another one is another job, and the same one is paid once."""
    film, out = tmp_path / "film.toml", tmp_path / "out"
    job = '[[jobs]]\nname = "ride"\nprompt = "She rides home"\nmedia_urls = ["$mira"]\n'

    async def run(text: str) -> int:
        film.write_text(text)
        async with BatchRunner(seedance_client, out) as batch:
            results = [result async for result in batch.run(film)]
        assert {"saved"} == {result.state for result in results}
        return len(seedance_sandbox.paid_tasks)

    first = await run(FILM + job)
    again = await run(f"# a comment\n{FILM}{job}")
    edited = await run((FILM + job).replace("the courier", "the clerk"))

    bodies = [json.loads(record.body) for record in seedance_sandbox.requests if record.endpoint == "submit"]
    assert (1, 1, 2) == (first, again, edited)
    assert ["Use the supplied picture as the courier.", "Use the supplied picture as the clerk."] == [
        body["prompt"].partition(" She")[0] for body in bodies
    ]
    assert all("role" not in body and "lint" not in body for body in bodies)


async def test_an_error_refuses_the_line_unless_it_is_left_out(
    seedance_client: SeedanceClient, seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """By the runner as by the command."""
    manifest = tmp_path / "jobs.jsonl"
    manifest.write_text('{"model": "seedance2", "prompt": "12-15 s: she waves", "name": "late"}\n')

    async with BatchRunner(seedance_client, tmp_path / "out") as batch:
        with pytest.raises(ManifestError, match="P06: '12-15'"):
            _ = [result async for result in batch.run(manifest)]
    assert [] == seedance_sandbox.paid_tasks

    async with BatchRunner(seedance_client, tmp_path / "out", ignore=["P06"]) as batch:
        results = [result async for result in batch.run(manifest)]
    assert ["saved"] == [result.state for result in results]
