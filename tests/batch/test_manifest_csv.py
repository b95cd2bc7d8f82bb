"""Tables as people write them: nothing that could not be read is guessed into a paid job."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_async.batch.manifest import read
from seedance_async.batch.manifest_csv import Rows
from tests.batch.test_manifest import reported

if TYPE_CHECKING:
    from pathlib import Path

A, B = "https://example.com/a.png", "https://example.com/b.png"


def table(directory: Path, text: str, name: str = "jobs.csv") -> Path:
    """A manifest with this text."""
    path = directory / name
    path.write_text(text, newline="", encoding="utf-8")
    return path


def prompts(path: Path) -> list[str]:
    """What is asked for."""
    return [line.job.request.prompt for line in read(path) if line.job]


STRAY: list[tuple[str, int, str]] = [
    ('model,prompt\nseedance2,"A boat\nseedance2,A tram\ngpt-image-2,A fox\n', 2, "never closed"),
    ("model,prompt\nseedance2,“A boat\nseedance2,A tram\n", 2, "“, which is no quote in CSV"),
    ('model,prompt\nseedance2,"A boat”\nseedance2,A tram\n', 2, "” is no quote in CSV"),
    ('model,prompt\nseedance2,“A boat"\nseedance2,A tram\n', 2, "does not begin with one"),
    ('model,prompt\nseedance2,"A boat”\nseedance2,"A tram"\n', 2, "” is no quote in CSV"),
    ('model,prompt\nseedance2,"24" wheels roll\nseedance2,A tram\n', 2, "after the"),
    ('model,prompt\nseedance2,A 24" wheel\nseedance2,A tram\n', 2, "does not begin with one"),
    ('model,prompt\nseedance2,A sign: "open"\nseedance2,A tram\n', 2, "does not begin with one"),
    ('model,prompt\nseedance2,A tram\nseedance2,A boat"\n', 3, "does not begin with one"),
    ('model,prompt\nseedance2,"A boat\nseedance2,A tram"\nseedance2,A fox\n', 2, "separate rows"),
    ('prompt,model\n"A boat,seedance2\nA tram",seedance2\n', 2, "separate rows"),
    ('model,prompt\nseedance2,"A boat\nSeedance2,A ""red"" tram\nseedance2,A fox"\n', 2, "separate rows"),
    ("model,prompt,project\nseedance2,“A boat, at dusk”\n", 2, "“, which is no quote in CSV"),
    ("model,prompt,project\nseedance2,'A boat, at dusk'\n".replace("project", "name"), 2, "', which is no"),
    ('model,"prompt\nseedance2,A boat\n', 1, "never closed"),
]


@pytest.mark.parametrize(("text", "number", "reason"), STRAY)
def test_a_stray_quote_is_refused_with_its_line(text: str, number: int, reason: str, tmp_path: Path) -> None:
    """Else rows melt into one paid prompt, or a prompt is paid for with half a quote in it."""
    text = text.replace(",project\n", ",name\n")
    found = reported(table(tmp_path, text))

    assert number == found[0][0]
    assert reason in found[0][2]
    assert not any("\n" in prompt for prompt in prompts(tmp_path / "jobs.csv"))


def test_rows_below_a_stray_quote_are_read_all_the_same(tmp_path: Path) -> None:
    """Whatever else is wrong is told in the same breath, with its own line."""
    text = 'model,prompt,seed\nseedance2,"A boat\nseedance2,A tram,many\nseedance2,A "fox",1\nx,A cat,1\n'

    assert [(2, "prompt"), (3, "seed"), (4, "prompt"), (5, "model")] == [
        problem[:2] for problem in reported(table(tmp_path, text))
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('model, prompt\nseedance2, "A boat, at dusk"\n', ["A boat, at dusk"]),
        ("model,prompt,duration\nseedance2 , A boat , 5 \n", ["A boat"]),
        ("\n\n,,\nmodel,prompt\n\nseedance2,A boat\n , \nseedance2,A fox\n\n", ["A boat", "A fox"]),
        ('model,prompt\r\nseedance2,"A boat,\r\nat dusk"\r\n', ["A boat,\r\nat dusk"]),
        ('model\tprompt\nseedance2\t"A boat\tat dusk"\t\n', ["A boat\tat dusk"]),
        ('\nsep=;\nmodel;prompt\nseedance2;"A boat; at dusk"\n', ["A boat; at dusk"]),
        ('model,prompt\nseedance2,"She says ""hats"", and goes"\n', ['She says "hats", and goes']),
        ("model,prompt\nseedance2,She says “hats” and goes\n", ["She says “hats” and goes"]),
        ("model,prompt,name\nseedance2,'Twas a dog's night,x\n", ["'Twas a dog's night"]),
        ('model,prompt\nseedance2,"  A boat"', ["  A boat"]),
    ],
)
def test_what_can_be_read_in_one_way_only_is_read(text: str, expected: list[str], tmp_path: Path) -> None:
    """Blanks after commas, blank rows, lines inside a cell, quotes that are text."""
    assert [] == reported(path := table(tmp_path, text))
    assert expected == prompts(path)


@pytest.mark.parametrize(
    "cell",
    [
        f'"{A}, {B}"', f'"{A},{B}"', f"{A};{B}", f"{A}; {B}", f'"{A}\n{B}"', f'" {A} ,\n{B},"', f"{A} {B}",
        f'"[""{A}"", ""{B}""]"',
    ],
)  # fmt: skip
def test_a_list_of_urls_is_parted_as_people_part_it(cell: str, tmp_path: Path) -> None:
    """Two URLs, and never one that is broken."""
    path = table(tmp_path, f"model,prompt,image_urls\nnano-banana-pro,Mix these,{cell}\n")

    assert [(A, B)] == [getattr(line.job.request, "image_urls", None) for line in read(path) if line.job]


def test_a_url_keeps_the_commas_and_semicolons_of_its_own(tmp_path: Path) -> None:
    """Servers of pictures write their wishes into the path so."""
    url = "https://example.com/w_100,h_100;c_fill/a.png"
    path = table(tmp_path, f'model,prompt,image_urls\nnano-banana-pro,Mix these,"{url},{B}"\n')

    assert [(url, B)] == [getattr(line.job.request, "image_urls", None) for line in read(path) if line.job]


@pytest.mark.parametrize("separator", ["|", " and ", "+", "", "&", " / "])
def test_a_list_that_cannot_be_parted_for_sure_is_refused(separator: str, tmp_path: Path) -> None:
    """A URL that nobody can fetch is a job paid for nothing."""
    path = table(tmp_path, f'model,prompt,image_urls\nnano-banana-pro,Mix these,"{A}{separator}{B}"\n')

    assert [(2, "image_urls")] == [problem[:2] for problem in reported(path)]


@pytest.mark.parametrize("separator", [", ", ",", ";", " ", "|"])
@pytest.mark.parametrize("form", ['"image_url": "{}"', '"media_urls": ["{}"]', '"media_urls": "{}"'])
def test_one_url_that_is_two_is_refused_in_json_as_well(form: str, separator: str, tmp_path: Path) -> None:
    """The rule is the request's, not the table's."""
    fields = form.format(f"{A}{separator}{B}")
    path = table(tmp_path, f'{{"model": "seedance2", "prompt": "A boat", {fields}}}\n', "jobs.jsonl")

    assert [form.split('"')[1]] == [problem[1] for problem in reported(path)]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("prompts.txt", "A boat on a pond\nA fox in snow\n", ["read as CSV", "A boat on a pond", "model"]),
        ("jobs.yaml", "- model: seedance2\n  prompt: A boat\n", ["is YAML, which is not read", "TOML"]),
        ("jobs.yml", "jobs:\n  - {model: seedance2}\n", ["is YAML, which is not read", "JSON lines"]),
        ("jobs", "---\n- model: seedance2\n", ["is YAML, which is not read"]),
        ("notes", "# Prompts\n\nA boat, at dusk\n", ["read as CSV", "# Prompts"]),
        ("jobs.csv", "seedance2,A boat\nseedance2,A fox\n", ["read as CSV", "model,prompt"]),
        ("jobs.csv", "prompt,seed\nA boat,1\n", ["read as CSV", "'model' is missing"]),
        ("jobs.xlsx", "PK\x03\x04\x14", ["spreadsheet", "CSV UTF-8"]),
        ("jobs", "a\0b", ["no text", "JSON lines"]),
        ("jobs.json", '{\n  "model": "seedance2"\n}\n', ["on its own line", "array"]),
    ],
)
def test_another_format_is_told_what_it_was_read_as_and_what_to_do(
    name: str, text: str, words: list[str], tmp_path: Path
) -> None:
    """Once, and not a message for each word of a prompt."""
    (problem,) = reported(table(tmp_path, text, name))

    assert all(word in problem[2] for word in words)


@pytest.mark.parametrize(
    ("fields", "echo"),
    [
        ("model=seedance3", "got 'seedance3'"), ("duration=5s", "got '5s'"), ("seed=1.5", "got '1.5'"),
        ("generate_audio=yes", "got 'yes'"), ("repeat=two", "got 'two'"), ("channel=x", "got 'x'"),
    ],
)  # fmt: skip
def test_the_wrong_value_is_repeated(fields: str, echo: str, tmp_path: Path) -> None:
    """As it was written, so that it can be searched for."""
    row = {"model": "seedance2", "prompt": "A boat", **dict([fields.split("=")])}

    (problem,) = reported(table(tmp_path, f"{','.join(row)}\n{','.join(row.values())}\n"))

    assert (2, fields.split("=", maxsplit=1)[0]) == problem[:2]
    assert echo in problem[2]


CELLS = st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=8), min_size=1, max_size=4)


@given(rows=st.lists(CELLS, max_size=4), delimiter=st.sampled_from(",;\t"))
def test_it_reads_what_others_write(rows: list[list[str]], delimiter: str) -> None:
    """Whatever a proper writer makes, quotes and line ends inside, comes out again."""
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows(rows)
    found = Rows(io.StringIO(text.getvalue(), newline=""), longest=10_000).rows(delimiter)

    assert [_without_end(row) for row in rows] == [list(row.cells) for row in found]


def _without_end(row: list[str]) -> list[str]:
    while row and not row[-1].strip():
        row = row[:-1]
    return row


def test_a_quote_that_is_never_closed_costs_no_memory_and_no_time() -> None:
    """A hundred thousand of them in one file: each is told, and none reads the rest of it."""
    text = io.StringIO('a,"b\n' * 100_000, newline="")

    assert 100_000 == sum(row.fault is not None for row in Rows(text, longest=1000).rows(","))
