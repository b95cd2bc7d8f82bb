"""The comparison of prompts with the prompt guide and their requests, before a plan is made. Blocking."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from seedance_async.batch import manifest as manifests
from seedance_async.errors import ManifestError
from seedance_async.integrations.mcp.answers import fitted, name_of, text_of
from seedance_async.integrations.mcp.planning import MOST_JOBS, MOST_PROBLEMS, Asked, drop, given_source
from seedance_async.prompts import lint_prompt
from seedance_async.prompts.batch_lint import BatchLint
from seedance_async.prompts.table import CERTAIN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from seedance_async.integrations.mcp.workspace import Workspace
    from seedance_async.prompts import Finding


def lint_text(prompt: str, model: str) -> str:
    """What the rules say about the text of a prompt.

    Raises:
        ValidationError: the model is not known.
    """
    return _answer(1, [("", finding) for finding in lint_prompt(prompt, model=model)])


def lint_jobs(workspace: Workspace, asked: Asked) -> str:
    """What the rules say about jobs, each with its request, and with the others.

    Raises:
        RefusedError: they are neither jobs nor a manifest of the workspace, or too many.
        ManifestError: with everything that is wrong in it except the prompts.
    """
    certain = frozenset(rule.code for rule in CERTAIN)  # reported as findings, not as broken lines
    folder = Path(tempfile.mkdtemp(prefix="seedance-lint-"))
    problems: list[tuple[int, str, str]] = []
    found: list[tuple[str, Finding]] = []
    lint, jobs = BatchLint(), 0
    try:
        source, base = given_source(folder, workspace, asked)
        for line in manifests.read(source, manifests.entries_of(source, certain, base=base)):
            problems += [(line.number, name, reason) for name, reason in line.problems]
            if jobs >= MOST_JOBS or len(problems) >= MOST_PROBLEMS:
                break
            if line.job is not None:
                jobs += 1
                of_line = lint.add(line.called, line.job.request, line.ignored - certain)
                found += [(line.called, finding) for finding in of_line]
    finally:
        drop(folder)
    if problems:
        raise ManifestError(problems, source="plan")
    return _answer(jobs, found)


def _answer(jobs: int, found: Sequence[tuple[str, Finding]]) -> str:
    levels = [finding.level.value for _, finding in found]
    rows = [
        {
            **({"job": name_of(name)} if name else {}),
            "code": finding.code,
            "level": finding.level.value,
            "what": text_of(finding.words, 200),
            **({} if finding.fix is None else {"fix": text_of(finding.fix, 80)}),
        }
        for name, finding in found
    ]
    return fitted(
        {
            "jobs": jobs,
            "errors": levels.count("error"),
            "warnings": levels.count("warning"),
            "findings": rows,
            "money_moved": "no",
            "next": "correct the errors: plan refuses them" if "error" in levels else "plan(…)",
        },
        lists=["findings"],
    )
