"""``seedance fields``: what each field of a request accepts, as tables made from the classes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from seedance_async.cli.output import write_data
from seedance_async.errors import ConfigurationError
from seedance_async.exit_codes import ExitCode
from seedance_async.models.reference import CONFLICTS, fields_of
from seedance_async.models.requests import REQUEST_TYPES, meant_or_known

if TYPE_CHECKING:
    from collections.abc import Iterator

COLUMNS: Final = ("field", "default", "accepts")


def fields(
    model: Annotated[
        str | None, Parameter(help="seedance2, gpt-image-2 or nano-banana-pro; default: all.")
    ] = None,
    /,
    *,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), show_default=False, help="A JSON object for each field.")
    ] = False,
) -> int:
    """Print what each field of a model's request accepts, with its default.

    The tables are generated from the request classes, as the checks are.

    Example: seedance fields seedance2
    """
    if model is not None and model not in REQUEST_TYPES:
        raise ConfigurationError(f"{model!r:.60} is not a model{meant_or_known(model, REQUEST_TYPES)}")
    for each in REQUEST_TYPES if model is None else [model]:
        for line in _json_lines(each) if as_json else _table(each):
            write_data(line)
    return ExitCode.OK


def _json_lines(model: str) -> Iterator[str]:
    for field in fields_of(model):
        yield json.dumps({"model": model, **field.to_dict()}, ensure_ascii=False)


def _table(model: str) -> Iterator[str]:
    rows = [
        (field.name, "required" if field.required else field.default or "-", field.accepts)
        for field in fields_of(model)
    ]
    widths = [max(len(row[column]) for row in [COLUMNS, *rows]) for column in (0, 1)]
    yield model
    for name, default, accepts in [COLUMNS, *rows]:
        yield f"  {name:{widths[0]}}  {default:{widths[1]}}  {accepts}"
    for rule in CONFLICTS[model]:
        yield f"  · {rule}"
    yield ""
