"""Tests of the reference: its tables are those of the code, and its modules can be run."""

from __future__ import annotations

import re
import tomllib
from importlib.util import find_spec

import seedance_async
from seedance_async import RateLimit, RetryPolicy, Timeouts
from seedance_async.cli.app import build
from seedance_async.client import BASE_URL
from seedance_async.downloads.fetch import ATTEMPTS
from seedance_async.errors import BY_CODE
from seedance_async.exit_codes import ExitCode
from seedance_async.retry import KEY_TRUSTED
from tests.docs.pages import README, ROOT, guide, rows, text

REFERENCE, ERRORS, HOW = map(guide, ("reference", "errors", "how-it-works"))
OF_THE_TESTS = {"SEEDANCE_FAULT_POINT"}


def test_every_verb_is_in_the_table_and_every_row_is_a_verb() -> None:
    """In the order in which help lists them."""
    app = build()
    verbs = sorted((name for name in app if not name.startswith("-")), key=lambda name: app[name].sort_key)

    assert verbs == [row[0].strip("`").split()[1] for row in rows(REFERENCE, "Commands")]


def test_every_exit_code_is_in_the_table() -> None:
    """By its number."""
    assert [code.value for code in ExitCode] == [int(row[0]) for row in rows(REFERENCE, "Exit codes")]


def test_every_code_of_the_api_has_its_class_in_the_table() -> None:
    """As `errors.BY_CODE` has it."""
    lines = [line.split("|") for line in text(ERRORS).splitlines() if line.startswith("| ")]
    table = {line[1].strip().strip("`"): line[2].strip().strip("`") for line in lines}

    assert {code: error.__name__ for code, error in BY_CODE.items()}.items() <= table.items()


def test_every_error_is_on_the_page_of_errors() -> None:
    """With its class, for whoever searches for it."""
    names = {name for name in seedance_async.__all__ if name.endswith("Error")}

    assert len(names) > 20
    assert [] == sorted(name for name in names if f"`{name}`" not in text(ERRORS))


def test_the_defaults_are_those_of_the_code() -> None:
    """Row by row, in the units that are written beside them."""
    settings = {"RateLimit": RateLimit(), "Timeouts": Timeouts(), "RetryPolicy": RetryPolicy()}

    for row in rows(REFERENCE, "Limits and defaults"):
        named = re.search(r"(RateLimit|Timeouts|RetryPolicy)\((\w+)=", row[2])
        assert named, row
        default = None if row[1] == "as above" else float(row[1])
        assert default == getattr(settings[named[1]], named[2]), row


def test_every_environment_variable_is_in_the_table() -> None:
    """All that the code reads, and no other."""
    sources = [path.read_text(encoding="utf-8") for path in ROOT.glob("seedance_async/**/*.py")]
    read = {name for source in sources for name in re.findall(r"\bSEEDANCE_[A-Z_]*[A-Z]\b", source)}

    assert read - OF_THE_TESTS == {row[0].strip("`") for row in rows(REFERENCE, "Environment variables")}


def test_every_extra_is_in_the_table() -> None:
    """With what it is for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    table = {row[0].strip("`"): row[1] for row in rows(REFERENCE, "Extras")}

    assert set(project["optional-dependencies"]) == set(table)
    assert all(table.values())


def test_the_words_of_the_readme_mean_the_same_here() -> None:
    """Its glossary is an extract."""
    words = {row[0]: row[1] for row in rows(REFERENCE, "Glossary")}
    words["sandbox"] = words["sandbox, fault"].split(", ")[0]

    assert {row[0]: row[1] for row in rows(README, "Glossary")}.items() <= words.items()


def test_numbers_in_the_text_are_those_of_the_code() -> None:
    """What is said in words beside the tables."""
    assert f"`{BASE_URL}`" in text(REFERENCE)
    assert f"longer than {KEY_TRUSTED / 3600:.0f} hours" in text(HOW)
    assert {4: "tried four times"}[ATTEMPTS] in text(ERRORS)
    assert f"for {({600.0: 'ten'})[RetryPolicy().max_elapsed]} minutes" in text(ERRORS)


def test_every_module_of_the_tests_that_is_named_can_be_run() -> None:
    """As `python -m`."""
    named = set(re.findall(r"`python -m (tests[\w.]*)", text(REFERENCE)))

    assert {
        "tests.fuzz", "tests.faults.soak", "tests.faults.processes", "tests.faults.catalogue"
    } == named  # fmt: skip
    assert all(find_spec(name) for name in named)
