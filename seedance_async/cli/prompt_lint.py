"""``seedance prompt lint``: a prompt, or every prompt of a manifest, compared with the prompt guide."""

from __future__ import annotations

import asyncio
import io
import json
import re
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TextIO

from attrs import define, evolve, field
from cyclopts import Parameter

from seedance_async import wire
from seedance_async.batch import manifest as manifests
from seedance_async.batch.finals import parse_changes
from seedance_async.batch.manifest_source import SUFFIXES, opened
from seedance_async.batch.plain_jobs import plain_line
from seedance_async.cli.output import write_data, write_message
from seedance_async.cli.prompt_findings import Ignore, codes, rule_count
from seedance_async.daemon_thread import DaemonThread
from seedance_async.errors import ConfigurationError, ManifestError
from seedance_async.exit_codes import ExitCode
from seedance_async.models import Seedance2Video
from seedance_async.prompts import Level, lint_prompt
from seedance_async.prompts.batch_lint import ABOUT, LEVELS, BatchLint
from seedance_async.prompts.fixes import fixed_request, fixed_text
from seedance_async.prompts.table import CODES

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator

    from seedance_async.batch.entries import Line
    from seedance_async.prompts import Finding
    from seedance_async.prompts.batch_lint import LintSummary

LINES: Final = (".jsonl", ".ndjson")

_JSON_JOBS: Final = re.compile(rb"\A\s*\[?\s*\{[^{}\[\]]*\"(?:model|defaults|assets)\"\s*:")
_TOML_JOBS: Final = re.compile(
    rb"^\s*\[(?:\[\s*jobs\s*\]|\s*(?:defaults|assets)\b)[^\n]*\]\s*$", re.MULTILINE
)
_CELLS: Final = re.compile(rb"[,;\t]")


async def lint(
    subject: Annotated[str, Parameter(name="TEXT|-|MANIFEST", help="A prompt, or a manifest; - is stdin.")],
    /,
    *,
    model: Annotated[str | None, Parameter(help="The model that a TEXT is for; default seedance2.")] = None,
    set_fields: Annotated[
        tuple[str, ...],
        Parameter(
            name="--set",
            negative=(),
            show_default=False,
            help="FIELD=VALUE of the request that goes with a TEXT, such as duration=5; may be repeated.",
        ),
    ] = (),
    ignore: Ignore = (),
    fix: Annotated[
        Path | None,
        Parameter(help="Write the fixed prompts to this new file; for a manifest, a manifest in JSON lines."),
    ] = None,
    details: Annotated[
        bool,
        Parameter(negative=(), show_default=False, help="Print every finding, not one line for each rule."),
    ] = False,
    table: Annotated[
        bool,
        Parameter(
            negative=(), show_default=False, help="Print each rule with the share of jobs it applies to."
        ),
    ] = False,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), show_default=False, help="Print one JSON object.")
    ] = False,
) -> int:
    """Compare a prompt, or all prompts of a manifest, with the prompt guide.

    In a manifest each prompt is compared with its request as well: media,
    duration, aspect ratio, fixed lens and sound. The field "lint": "-P15" of a
    line switches a rule off for it. A batch refuses a line with an error; a dry
    run shows warnings.

    Exit codes: 0 no errors; 1 errors; 2 the manifest cannot be read.

    Example: seedance prompt lint "@Image1 turns around"
    """
    ignored = codes(ignore)
    data = await _data(subject)
    if isinstance(data, str):
        return _lint_text(data, model, set_fields, ignored, fix=fix, as_json=as_json)
    if model is not None or set_fields:
        raise ConfigurationError("--model and --set are for a TEXT; the lines of a manifest have their own")
    _check_target(fix)
    found = _Manifest(subject, data, ignored, keeps=details)
    found.check()
    found.write(as_json=as_json, table=table)
    return found.fix(fix) if fix is not None else found.code


async def _data(subject: str) -> str | bytes | None:
    """Return a prompt as text, or a manifest as bytes; None for a manifest that is read from its file."""
    if Path(subject).suffix.lower() in SUFFIXES and len(subject.split()) == 1:
        return None
    if subject != manifests.STDIN and not _is_there(subject):
        return subject
    data = await asyncio.get_running_loop().run_in_executor(DaemonThread(), _bytes, subject)
    if _is_manifest(data):
        return data
    try:
        return data.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ConfigurationError(f"{subject} is neither a manifest nor text in UTF-8") from None


def _is_there(subject: str) -> bool:
    try:
        return Path(subject).exists()
    except (OSError, ValueError):  # a long prompt is not a valid path
        return False


def _bytes(subject: str) -> bytes:
    with opened(subject) as file:
        return file.read()


def _is_manifest(data: bytes) -> bool:
    """Whether data without a file name is a manifest rather than a prompt."""
    if _JSON_JOBS.match(data) or _TOML_JOBS.search(data):
        return True
    header = [cell.strip() for cell in _CELLS.split(data.lstrip(b"\xef\xbb\xbf").partition(b"\n")[0])]
    return b"model" in header and all(re.fullmatch(rb"\w+", cell) for cell in header)


def _lint_text(
    text: str,
    model: str | None,
    set_fields: Iterable[str],
    ignored: frozenset[str],
    *,
    fix: Path | None,
    as_json: bool,
) -> int:
    word = model or Seedance2Video.model
    changes = parse_changes(set_fields)
    request = wire.build(word, {"prompt": text, **changes}) if changes else text
    found = lint_prompt(request, ignore=ignored, model=word)
    fixed = fixed_text(text, found)
    if as_json:
        document = {
            "findings": [finding.to_dict() for finding in found],
            "fixed": None if fixed == text else fixed,
        }
        write_data(json.dumps(document, ensure_ascii=False))
    else:
        for finding in found:
            write_data(f"{finding}{_way_out(finding)}")
        if not found:
            write_message("no findings")
    if fix is not None:
        with _new_file(fix) as file:
            file.write(f"{fixed}\n")
        again = fixed if isinstance(request, str) else fixed_request(request, found)
        return _code(lint_prompt(again, ignore=ignored, model=word))
    return _code(found)


def _way_out(finding: Finding) -> str:
    if finding.fix is None:
        return ""
    return f" (fix: {finding.fix!r:.100})" if finding.fix else " (fix: delete it)"


def _code(found: Iterable[Finding]) -> ExitCode:
    return ExitCode.FAILED if any(each.level is Level.ERROR for each in found) else ExitCode.OK


@define
class _Manifest:
    """A manifest and its findings.

    Attributes:
        source: its path.
        data: its bytes, if they can be read only once; else None.
        ignored: the codes of the rules that are switched off.
        keeps: whether every finding is kept for the output, not only a count for each rule.
        code: the exit code.
    """

    source: str
    data: bytes | None
    ignored: frozenset[str]
    keeps: bool
    code: ExitCode = field(default=ExitCode.OK, init=False)
    _lint: BatchLint = field(init=False)
    _details: list[Mapping[str, object]] = field(factory=list, init=False)

    def check(self) -> None:
        """Check the prompt of every job.

        Raises:
            ManifestError: the manifest has an error other than a finding.
        """
        self._lint = BatchLint(self.ignored)
        problems = []
        for line in self._lines():
            problems += [(line.number, name, reason) for name, reason in line.problems]
            if line.job is not None:
                found = self._lint.add(line.called, line.job.request, line.ignored)
                self.code = max(self.code, _code(found))
                self._details += [_detail(line, finding) for finding in found if self.keeps]
        if problems:
            raise ManifestError(problems, source=self.source)

    def _lines(self) -> Iterator[Line]:
        """Return its lines; the reader itself applies no prompt rules."""
        entries = manifests.entries_of(self.source, CODES)
        if self.data is None:
            return manifests.read(self.source, entries)
        return manifests.read_file(io.BufferedReader(io.BytesIO(self.data)), self.source, entries)

    def write(self, *, as_json: bool, table: bool) -> None:
        """Write the findings: one line for each rule, or every finding, or the share of each rule."""
        summary = self._lint.summary()
        if as_json:
            rules = [rule_count(each, summary.jobs) for each in summary.counts]
            document = {"jobs": summary.jobs, "rules": rules, "shares": _shares(summary)}
            each = {"findings": self._details} if self.keeps else {}
            write_data(json.dumps({**document, **each}, ensure_ascii=False))
        elif table:
            for code, share in _shares(summary).items():
                write_data(f"{code}  {LEVELS[code]:<8} {100 * share:5.1f} %  {ABOUT[code]}")
        elif self.keeps:
            for found in self._details:
                write_data(f"line {found['line']}, {found['name']}: {found['text']}")
        else:
            for count in summary.counts:
                write_data(count.words(summary.jobs))
        if not summary.counts:
            write_message(f"no findings in {summary.jobs:,} jobs")

    def fix(self, target: Path) -> ExitCode:
        """Write the manifest with its prompts fixed, and return the exit code for the remaining findings."""
        jobs, changed, code = 0, 0, ExitCode.OK
        with _new_file(target) as file:
            for line in self._lines():
                if line.job is None:
                    continue
                left_out = self.ignored | line.ignored
                request = fixed_request(line.job.request, lint_prompt(line.job.request, ignore=left_out))
                jobs, changed = jobs + 1, changed + (request != line.job.request)
                code = max(code, _code(lint_prompt(request, ignore=left_out)))
                file.write(f"{plain_line(evolve(line.job, request=request), line.ignored)}\n")
        write_message(f"{target}: {changed:,} of {jobs:,} prompts fixed")
        return code


def _detail(line: Line, finding: Finding) -> Mapping[str, object]:
    about = {"line": line.number, "name": line.called}
    return {**about, **finding.to_dict(), "text": f"{finding}{_way_out(finding)}"}


def _shares(summary: LintSummary) -> dict[str, float]:
    """Return the share of jobs that each rule applies to."""
    fired = {each.code: each.jobs for each in summary.counts}
    return {code: round(fired.get(code, 0) / max(1, summary.jobs), 4) for code in ABOUT}


def _check_target(fix: Path | None) -> None:
    if fix is not None and fix.suffix.lower() not in LINES:
        raise ConfigurationError(
            f"--fix {fix}: JSON lines are written; name it {fix.with_suffix('.jsonl').name}"
        )
    if fix is not None and fix.exists():
        raise ConfigurationError(f"--fix {fix}: the file exists; name a new one")


@contextmanager
def _new_file(target: Path) -> Generator[TextIO]:
    """Open a new file for writing.

    Raises:
        ConfigurationError: it exists, or cannot be written.
    """
    try:
        with target.open("x", encoding="utf-8") as file:
            yield file
    except OSError as problem:
        raise ConfigurationError(f"--fix {target}: {problem.strerror}") from None
