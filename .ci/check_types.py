"""Every public name has a complete type, as ``basedpyright --verifytypes`` sees it; and it saw some."""

from __future__ import annotations

import json
import subprocess


def main() -> None:
    """Raise unless all exported symbols, more than none, have known types."""
    command = ["basedpyright", "--verifytypes", "seedance_async", "--ignoreexternal", "--outputjson"]
    report = json.loads(subprocess.run(command, capture_output=True, text=True, check=False).stdout)
    counts = report["typeCompleteness"]["exportedSymbolCounts"]
    print(f"public types: {counts}")
    for symbol in report["typeCompleteness"]["symbols"]:
        if symbol["isExported"] and not symbol["isTypeKnown"]:
            print(symbol["name"], [note["message"] for note in symbol["diagnostics"]])
    assert counts["withKnownType"] > 0, "no symbols were found: is the environment active?"
    assert counts["withAmbiguousType"] == counts["withUnknownType"] == 0


if __name__ == "__main__":
    main()
