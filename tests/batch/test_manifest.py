"""Manifests: three formats, one meaning; problems with line and field; never more than a job in memory."""

from __future__ import annotations

import csv
import io
import json
import tracemalloc
from typing import TYPE_CHECKING, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_async import GptImage2, ManifestError, NanoBananaPro, Seedance2Video
from seedance_async.batch import cells
from seedance_async.batch.manifest import Line, fingerprint, read
from seedance_async.models import REQUEST_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

JOBS: list[dict[str, object]] = [
    {"model": "seedance2", "prompt": "A boat, and\na bridge", "duration": "7", "generate_audio": False},
    {"model": "gpt-image-2", "prompt": 'She says "hats"', "batch_count": 3, "name": "hats"},
    {
        "model": "nano-banana-pro",
        "prompt": "été 雪",
        "image_urls": ["https://example.com/a.png"],
        "repeat": 2,
    },
]


def as_lines(jobs: list[dict[str, object]]) -> str:
    """The jobs as JSON lines."""
    return "".join(json.dumps(job) + "\n" for job in jobs)


def as_csv(jobs: list[dict[str, object]], *, delimiter: str = ",") -> str:
    """The jobs as a spreadsheet would save them."""
    columns = sorted({column for job in jobs for column in job})
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, delimiter=delimiter)
    writer.writeheader()
    for job in jobs:
        writer.writerow(
            {name: " ".join(value) if isinstance(value, list) else str(value) for name, value in job.items()}
        )
    return text.getvalue()


def reported(path: Path) -> list[tuple[int, str, str]]:
    """All problems of a manifest."""
    return [(line.number, *problem) for line in read(path) for problem in line.problems]


WRITTEN = {
    "jobs.jsonl": as_lines(JOBS),
    "jobs.ndjson": "\n\n".join(json.dumps(job) for job in JOBS),
    "jobs.json": json.dumps(JOBS),
    "pretty.json": json.dumps(JOBS, indent=4),
    "lines-in.json": as_lines(JOBS),
    "bom.jsonl": "\ufeff" + as_lines(JOBS),
    "bom.json": "\ufeff" + json.dumps(JOBS),
    "bom.csv": "\ufeff" + as_csv(JOBS),
    "jobs.csv": as_csv(JOBS),
    "semicolon.csv": as_csv(JOBS, delimiter=";"),
    "reported.csv": "sep=;\r\n" + as_csv(JOBS, delimiter=";"),
    "wide.csv": as_csv(JOBS).replace("\r\n", ",,\r\n"),
    "jobs.tsv": as_csv(JOBS, delimiter="\t"),
    "no-suffix": as_lines(JOBS),
    "no-suffix-csv": as_csv(JOBS),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_every_format_says_the_same(name: str, tmp_path: Path) -> None:
    """Which one a team writes by hand or exports is a matter of taste."""
    path = tmp_path / name
    path.write_text(WRITTEN[name], encoding="utf-8", newline="")

    lines = list(read(path))

    assert [] == [line.problems for line in lines if line.problems]
    jobs = [line.job for line in lines if line.job]
    assert [None, "hats", None] == [job.name for job in jobs]
    assert [1, 1, 2] == [job.repeat for job in jobs]
    assert [
        Seedance2Video(prompt="A boat, and\na bridge", duration=7, generate_audio=False),
        GptImage2(prompt='She says "hats"', batch_count=3),
        NanoBananaPro(prompt="été 雪", image_urls=("https://example.com/a.png",)),
    ] == [job.request for job in jobs]


def test_a_job_without_a_name_is_named_after_its_line(tmp_path: Path) -> None:
    """Its line in JSON lines, its place in a table or an array, where lines say nothing."""
    lines, array, table = (tmp_path / name for name in ("jobs.jsonl", "jobs.json", "jobs.csv"))
    lines.write_text(f"\n{as_lines(JOBS[:2])}")
    array.write_text(json.dumps(JOBS[:2]))
    table.write_text(as_csv(JOBS[:2]), newline="")

    assert [2, 3] == [line.place for line in read(lines)]
    assert [1, 2] == [line.place for line in read(array)]
    assert [1, 2] == [line.place for line in read(table)]


def test_every_problem_of_every_line_is_told_with_its_field(tmp_path: Path) -> None:
    """A night's batch must not fail three times in a row for three typing errors."""
    path = tmp_path / "jobs.jsonl"
    path.write_text(
        as_lines([{"model": "seedance2", "prompt": "x", "duration": 99, "promt": "y", "name": " "}])
        + "{not json}\n"
        + as_lines([{"prompt": "A boat", "repeat": 0}, {"model": "sedance2", "prompt": "A boat"}])
        + '{"model": "seedance2", "model": "seedance2"}\n["a list"]\n'
    )

    problems = reported(path)

    assert [
        (1, "name"), (1, "promt"), (1, "prompt"), (1, "duration"), (2, "json"), (3, "repeat"), (3, "model"),
        (4, "model"), (5, "json"), (6, "json"),
    ] == [problem[:2] for problem in problems]  # fmt: skip
    assert "did you mean 'prompt'" in {name: why for _, name, why in problems}["promt"]
    assert "did you mean 'seedance2'" in problems[7][2]


def test_a_fault_of_json_is_told_with_one_line_number(tmp_path: Path) -> None:
    """That of the manifest; the decoder sees one line and calls it the first."""
    path = tmp_path / "jobs.jsonl"
    path.write_text(as_lines(JOBS[:1]) + '{"model": "seedance2" "prompt": "A boat"}\n')

    ((line, _, reason),) = reported(path)
    assert 2 == line
    assert reason.endswith("at column 23")
    assert "line 1" not in reason


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ("// my jobs", "JSON has no comments"),
        ('{"model": "seedance2", # a clip', "JSON has no comments"),
        ("{'model': 'seedance2'}", 'straight " around names and texts'),
        ("{\u201cmodel\u201d: \u201cseedance2\u201d}", 'straight " around names and texts'),
        ('{model: "seedance2"}', 'write " around names'),
        ('{"fixed_lens": True}', "write true, false or null"),
        ('{"seed": None}', "write true, false or null"),
        ('{"prompt": "C:\\pond"}', r"write a backslash as \\"),
        ('{"prompt": "A\tboat"}', r"and a tab as \t"),
        ('{"prompt": "A boat",}', "leave out the comma in front"),
        ('{"prompt": "A boat"},', "leave out the comma at the end of the line"),
        ('{"prompt": "A boat"} {"prompt": "A cat"}', "write each job on its own line"),
        ('{"jobs": [{"prompt": "A boat"}]}', "write each job on a line, or one array"),
    ],
)
def test_a_usual_mistake_in_json_is_told_with_the_way_out(text: str, advice: str, tmp_path: Path) -> None:
    """The parser's own words name a position, and not what a person has to write."""
    path = tmp_path / "jobs.jsonl"
    path.write_text(as_lines(JOBS[:1]) + f"{text}\n")

    ((line, _, reason),) = reported(path)
    assert 2 == line
    assert advice in reason


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        ('[{"model": "seedance2", "prompt": "A boat"},\n]', "leave out the comma in front of it"),
        ('[ // my jobs\n{"model": "seedance2", "prompt": "A boat"}]', "JSON has no comments"),
        ("[" * 100_000, "nested too deeply"),
    ],
    ids=["comma", "comment", "nested"],
)
def test_a_usual_mistake_in_an_array_is_told_with_the_way_out(text: str, advice: str, tmp_path: Path) -> None:
    """As in a line."""
    path = tmp_path / "jobs.json"
    path.write_text(text)

    assert advice in reported(path)[-1][2]


def test_a_job_that_goes_over_several_lines_is_told_once(tmp_path: Path) -> None:
    """Not once for each of its lines, however it is laid out."""
    path = tmp_path / "jobs.jsonl"
    path.write_text('{ "model": "seedance2",\n  "prompt": "A boat"\n}\n')

    ((line, _, reason),) = reported(path)
    assert 1 == line
    assert "write each job complete on its own line" in reason


def test_several_urls_in_one_text_are_advised_as_a_list(tmp_path: Path) -> None:
    """Split as the cell of a table is; a comma inside a URL stays there."""
    path = tmp_path / "jobs.jsonl"
    urls = "https://a.example/1,2.png,https://a.example/3.png https://a.example/4.png"
    path.write_text(as_lines([{"model": "seedance2", "prompt": "A boat", "media_urls": urls}]))

    expected = "['https://a.example/1,2.png', 'https://a.example/3.png', 'https://a.example/4.png']"
    assert f"write {expected}" in reported(path)[0][2]


def test_a_problem_in_an_array_names_the_element_and_its_line(tmp_path: Path) -> None:
    """Many arrays are one line long."""
    path = tmp_path / "jobs.json"
    path.write_text('[\n {"model": "seedance2", "prompt": "A boat"},\n\n {"model": "seedance2"}\n]')

    assert [(4, "[1].prompt")] == [problem[:2] for problem in reported(path)]


def test_a_problem_in_a_table_names_the_line_where_its_row_begins(tmp_path: Path) -> None:
    """Cells may hold line breaks; editors count lines all the same."""
    path = tmp_path / "jobs.csv"
    path.write_text(
        'model,prompt,seed\nseedance2,"two\nlines",1\nseedance2,A boat,many\na,b,c,d\n', newline=""
    )

    assert [(4, "seed"), (5, "csv")] == [problem[:2] for problem in reported(path)]


@pytest.mark.parametrize(
    ("table", "said"),
    [
        (b"Model,Prompt\nseedance2,A boat\n", "perhaps 'model' (other letter case)"),
        ("“model”,“prompt”\nseedance2,A boat\n".encode(), "“ is no quote in CSV; write 'model' without"),
        ("model,\u2018prompt\u2019\nseedance2,A boat\n".encode(), "\u2018 is no quote in CSV"),
        (b"model,`prompt`\nseedance2,A boat\n", "` is no quote in CSV"),
        (b"model,promt\nseedance2,A boat\n", "did you mean 'prompt'?"),
        (b"model,prompt\nseedance2,caf\xe9s\n", "save the file as 'CSV UTF-8'"),
        (b"sep=;\nmodel;prompt;seed\nseedance2;A boat;many\n", "line 3, seed"),
    ],
)
def test_what_a_spreadsheet_makes_of_a_table_is_told_with_the_way_out(
    table: bytes, said: str, tmp_path: Path
) -> None:
    """Headers as people write them, the encoding that Excel calls CSV, its line about the delimiter."""
    path = tmp_path / "jobs.csv"
    path.write_bytes(table)

    assert any(said in f"line {number}, {name}: {why}" for number, name, why in reported(path))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("jobs.csv", b"modell,prompt\nseedance2,A boat\n", (1, "column")),
        ("jobs.csv", b"model,prompt,prompt\nseedance2,A boat,A bridge\n", (1, "column")),
        ("jobs.csv", b"", (1, "manifest")),
        ("jobs.csv", "model,prompt\nseedance2,A boat\n".encode("utf-16"), (1, "manifest")),
        ("jobs.csv", b"model,prompt\nseedance2,caf\xe9s\n", (2, "prompt")),
        ("jobs.jsonl", b'{"model":"seedance2","prompt":"caf\xe9s"}', (1, "json")),
        ("jobs.jsonl", b'{"model":"seedance2","prompt":"' + b"x" * (4 * 2**20) + b'"}\n', (1, "json")),
        ("jobs.jsonl", b'{"model":"seedance2","prompt":"\\ud800 boat"}', (1, "prompt")),
        ("jobs.jsonl", b'{"model":"seedance2","prompt":"A boat","seed":NaN}', (1, "json")),
        ("jobs.jsonl", b"[" * 100_000, (1, "json")),
        ("jobs.json", b'[{"model":"seedance2","prompt":"caf\xe9s"}]', (1, "json")),
        ("jobs.json", b'[{"model":"seedance2","prompt":"A boat"}', (1, "json")),
        ("jobs.json", b'[{"model":"seedance2","prompt":"A boat"},]', (1, "json")),
        ("jobs.json", b'[{"model":"seedance2","prompt":"A boat"}] and', (1, "json")),
        ("jobs.json", b'[1 2]', (1, "[0].json")),
    ],
)  # fmt: skip
def test_a_file_that_is_none_is_refused_with_a_reason(
    name: str, content: bytes, problem: tuple[int, str], tmp_path: Path
) -> None:
    """Foreign bytes end in a problem, never in a traceback."""
    path = tmp_path / name
    path.write_bytes(content)

    assert problem == reported(path)[0][:2]


def test_a_missing_file_is_a_manifest_error(tmp_path: Path) -> None:
    """The command line maps that to "usage or manifest, nothing sent"."""
    with pytest.raises(ManifestError, match="there is no such file"):
        list(read(tmp_path / "missing.jsonl"))


def test_a_url_in_the_place_of_a_manifest_is_told_as_such(tmp_path: Path) -> None:
    """Nothing is fetched; a message about a directory called ``https:`` helps nobody."""
    with pytest.raises(ManifestError, match="is a URL; download it first"):
        list(read("https://example.com/jobs.jsonl"))


def test_a_directory_in_the_place_of_a_manifest_names_one_in_it(tmp_path: Path) -> None:
    """Not what was written beside a picture, which is JSON as well."""
    for name in ("a.png.json", "jobs.csv"):
        (tmp_path / name).touch()

    with pytest.raises(ManifestError, match=r"such as .*jobs\.csv"):
        list(read(tmp_path))


def test_a_dash_reads_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs may come through a pipe; then there is nothing to recognise the file by."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(as_lines(JOBS).encode()))))

    assert 3 == sum(line.job is not None for line in read("-"))
    assert None is fingerprint("-")


def test_the_fields_of_a_result_are_left_alone(tmp_path: Path) -> None:
    """What a run wrote is a manifest: only what it added is passed over."""
    path = tmp_path / "results.jsonl"
    added = {"state": "failed", "task_ids": ["sd2_a"], "idempotency_key": "k", "credits_used": 30}
    more = {"credits_refunded": 30, "urls": ["https://example.com/a.mp4"], "files": ["a.mp4"], "error": "why"}
    path.write_text(as_lines([{**JOBS[0], **added, **more}]))

    assert [] == reported(path)


def test_cells_are_read_by_the_types_of_the_models() -> None:
    """CSV knows text only; the tables here and the models must not drift apart."""
    hints = {name: hint for kind in REQUEST_TYPES.values() for name, hint in get_type_hints(kind).items()}

    assert {name for name, hint in hints.items() if hint is bool} == cells.BOOLEANS
    assert {name for name, hint in hints.items() if "tuple" in str(hint)} == cells.LISTS
    integers = {name for name, hint in hints.items() if hint in (int, int | None)} - {"duration"}
    assert integers | {"repeat"} == cells.INTEGERS


@pytest.mark.case(125)
@pytest.mark.parametrize("name", ["jobs.jsonl", "jobs.json", "jobs.csv"])
def test_a_long_manifest_costs_no_memory(name: str, tmp_path: Path) -> None:
    """Promise 5: four thousand jobs, and not a tenth of them held at once."""
    path = tmp_path / name
    jobs: list[dict[str, object]] = [
        {"model": "seedance2", "prompt": f"A boat {n} " + "x" * 300} for n in range(4_000)
    ]
    write: dict[str, Callable[[list[dict[str, object]]], str]] = {
        "jobs.jsonl": as_lines, "jobs.json": json.dumps, "jobs.csv": as_csv
    }  # fmt: skip
    path.write_text(write[name](jobs), newline="")

    tracemalloc.start()
    count = sum(line.job is not None for line in read(path))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert 4_000 == count
    assert peak < 1_000_000


LINES = st.lists(
    st.binary(max_size=60)
    | st.sampled_from([b'{"model":"seedance2","prompt":"A boat"}', b"[", b"]", b",", b"\n"])
)


@given(parts=LINES, suffix=st.sampled_from([".jsonl", ".json", ".csv", ""]))
def test_any_bytes_end_in_jobs_or_problems(
    parts: list[bytes], suffix: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Foreign files: no exception of any kind, and each line has either a job or a problem."""
    path = tmp_path_factory.getbasetemp() / f"fuzz{suffix}"
    path.write_bytes(b"".join(parts))

    for line in lines_of(path):
        assert (line.job is None) == bool(line.problems)


def lines_of(path: Path) -> Iterator[Line]:
    """All lines of a manifest."""
    yield from read(path)
