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
from seedance_async.batch.finish import parse_changes
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
    model: Annotated[str | None, Parameter(help="What a TEXT is for; else a clip.")] = None,
    set_fields: Annotated[
        tuple[str, ...],
        Parameter(
            name="--set",
            negative=(),
            show_default=False,
            help="FIELD=VALUE of the request that a TEXT is sent with, such as duration=5; may be repeated.",
        ),
    ] = (),
    ignore: Ignore = (),
    fix: Annotated[
        Path | None,
        Parameter(help="Write what can be fixed into a new manifest, as JSON lines; not over a file."),
    ] = None,
    details: Annotated[
        bool,
        Parameter(negative=(), show_default=False, help="Every finding of a manifest, not one line a rule."),
    ] = False,
    table: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Each rule with the share of jobs it fires on.")
    ] = False,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), show_default=False, help="One JSON object.")
    ] = False,
) -> int:
    """Compare a prompt with the guide, or all prompts of a manifest.

    Of a manifest each prompt is compared with its request as well: its media,
    duration, shape, lens and sound. A line's field "lint": "-P15" leaves a rule
    out. An error refuses the line in a batch; warnings are shown by a dry run.

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
    found.look()
    found.write(as_json=as_json, table=table)
    return found.fix(fix) if fix is not None else found.code


async def _data(subject: str) -> str | bytes | None:
    """A prompt as text, or a manifest as bytes; None for one that is read from its file."""
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
    except (OSError, ValueError):  # a long prompt is no path
        return False


def _bytes(subject: str) -> bytes:
    with opened(subject) as file:
        return file.read()


def _is_manifest(data: bytes) -> bool:
    """Whether a text without a name is a manifest, and no prompt."""
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
            write_message("nothing found")
    if fix is not None:
        with _new_file(fix) as file:
            file.write(f"{fixed}\n")
        again = fixed if isinstance(request, str) else fixed_request(request, found)
        return _code(lint_prompt(again, ignore=ignored, model=word))
    return _code(found)


def _way_out(finding: Finding) -> str:
    if finding.fix is None:
        return ""
    return f" (fix: {finding.fix!r:.100})" if finding.fix else " (fix: take it out)"


def _code(found: Iterable[Finding]) -> ExitCode:
    return ExitCode.FAILED if any(each.level is Level.ERROR for each in found) else ExitCode.OK


@define
class _Manifest:
    """A manifest, and what was found in it.

    Attributes:
        source: its path.
        data: its bytes, where they can be read only once; else None.
        ignored: the codes of rules that are left out.
        keeps: whether each finding is reported, not only one line a rule.
    """

    source: str
    data: bytes | None
    ignored: frozenset[str]
    keeps: bool
    code: ExitCode = field(default=ExitCode.OK, init=False)
    _lint: BatchLint = field(init=False)
    _details: list[Mapping[str, object]] = field(factory=list, init=False)

    def look(self) -> None:
        """Look at every job.

        Raises:
            ManifestError: something is wrong that is no matter of a prompt.
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
        """Its lines; no prompt is held to a rule by the reader."""
        entries = manifests.entries_of(self.source, CODES)
        if self.data is None:
            return manifests.read(self.source, entries)
        return manifests.read_file(io.BufferedReader(io.BytesIO(self.data)), self.source, entries)

    def write(self, *, as_json: bool, table: bool) -> None:
        """Write what was found: a line a rule, or each finding, or the share of each rule."""
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
            write_message(f"nothing found in {summary.jobs:,} jobs")

    def fix(self, target: Path) -> ExitCode:
        """Write a new manifest, with what can be fixed; return the exit code by what is left."""
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
    """The share of jobs that each rule fires on."""
    fired = {each.code: each.jobs for each in summary.counts}
    return {code: round(fired.get(code, 0) / max(1, summary.jobs), 4) for code in ABOUT}


def _check_target(fix: Path | None) -> None:
    if fix is not None and fix.suffix.lower() not in LINES:
        raise ConfigurationError(
            f"--fix {fix}: JSON lines are written; name it {fix.with_suffix('.jsonl').name}"
        )
    if fix is not None and fix.exists():
        raise ConfigurationError(f"--fix {fix}: it is there; name a new file")


@contextmanager
def _new_file(target: Path) -> Generator[TextIO]:
    """A new file to write to.

    Raises:
        ConfigurationError: it is there, or cannot be written.
    """
    try:
        with target.open("x", encoding="utf-8") as file:
            yield file
    except OSError as problem:
        raise ConfigurationError(f"--fix {target}: {problem.strerror}") from None
