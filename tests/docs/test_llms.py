"""Tests of ``examples/llms.txt``, the page for coding agents: its names exist, and all guides are in it."""

from __future__ import annotations

import re

import seedance_async
from seedance_async.exit_codes import ExitCode
from tests.docs.copying import GUIDES
from tests.docs.pages import ROOT, text

PAGE = text("examples/llms.txt")


def test_every_guide_is_listed_and_every_link_leads_somewhere() -> None:
    """Relative to the page, which stands beside the guides."""
    links = set(re.findall(r"\]\(([^)]+)\)", PAGE))

    assert {page.removeprefix("examples/") for page in GUIDES} <= links
    assert all((ROOT / "examples" / link).exists() for link in links)


def test_every_name_in_it_is_at_the_door() -> None:
    """Classes are written as code."""
    named = set(re.findall(r"`([A-Z][a-z]\w+)`", PAGE))

    assert len(named) > 5
    assert named <= set(seedance_async.__all__)


def test_the_exit_codes_are_those_of_the_code() -> None:
    """All of them."""
    (sentence,) = re.findall(r"Exit codes of commands: ([^.]+)\.", PAGE)

    assert [code.value for code in ExitCode] == [int(number) for number in re.findall(r"\d+", sentence)]
