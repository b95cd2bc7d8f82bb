"""The fuzzing of one target by atheris: ``python -m tests.fuzz.one NAME [libFuzzer's flags]``."""

from __future__ import annotations

import sys

import atheris  # type: ignore[import-untyped,import-not-found,unused-ignore]  # whoever fuzzes has it

with atheris.instrument_imports(include=["seedance_async", "tests.fuzz", "email", "json", "csv"]):
    from tests.fuzz.targets import TARGETS

if __name__ == "__main__":
    name = sys.argv.pop(1)
    atheris.Setup(sys.argv, TARGETS[name])
    atheris.Fuzz()
