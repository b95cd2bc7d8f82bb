"""Tests of the figures: every row of their tables is made from the benchmarks' ``results.json``."""

from __future__ import annotations

import json

import pytest

from tests.docs.pages import README, ROOT, guide, section, text

RESULTS = {
    table["name"]: table for table in json.loads((ROOT / "benchmarks" / "results.json").read_text("utf-8"))
}
PAGE = text(guide("how-it-works"))

POLICIES = {
    "ours, cold": "**this package, nothing learned yet**",
    "ours, warm": "**this package, warm**",
    "gather, AsyncLimiter(30, 60), every 5 s": "`gather` behind `AsyncLimiter(30, 60)`, polling every 5 s",
    "50 in flight, every 5 s": "50 in flight, polling every 5 s",
    "10 in flight, every 10 s": "10 in flight, polling every 10 s",
    "openai: every 1 s": "polling every 1 s, as openai's client does",
    "backoff 1 s to 30 s": "backing off from 1 s to 30 s",
}


@pytest.mark.parametrize("policy", POLICIES)
def test_the_page_quotes_the_benchmark_of_the_schedule(policy: str) -> None:
    """300 mixed jobs, sigma 0.4, medians over 5 seeds."""
    rows = RESULTS["schedule: side by side"]["rows"]
    (row,) = [row for row in rows if row[:4] == [300, "mixed", "sigma 0.4", policy]]
    makespan, in_hand, _p95, requests, _lag, refused = row[4:]

    quoted = f"| {POLICIES[policy]} | {makespan:.2f} | {in_hand:.2f} | {requests:.2f} | {refused:.0f} |"
    assert quoted in PAGE, quoted


def test_the_page_quotes_the_benchmark_of_the_budget() -> None:
    """Full load, 0-300 ms of jitter: sustained, and refused by each kind of server."""
    rows = RESULTS["Requests refused, by how the server counts (jitter 0-0.3 s each way)"]["rows"]
    for row in rows[:4]:
        client, _first, sustained, _worst, fixed, log, bucket, *_counters = row
        name = f"`{client}`" if "(" in client else client
        quoted = f"| {name} | {sustained:.1f} | {fixed} | {log} | {bucket} |"
        assert quoted in PAGE, quoted


def test_the_readme_rounds_the_same_benchmark() -> None:
    """Of 300 mixed jobs with nothing learned yet."""
    rows = RESULTS["schedule: side by side"]["rows"]
    (row,) = [row for row in rows if row[:4] == [300, "mixed", "sigma 0.4", "ours, cold"]]

    assert f"[{row[7]:.1f} requests a job]" in section(README, "The problem")
