"""Breaks of the public interface since the last tag, as griffe finds them. Without a tag nothing is compared.

    python .ci/check_breaks.py [TAG]

A break is allowed where the newest section of CHANGELOG.md has a heading "### Breaking", which explains
what griffe names.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def main(tags: list[str]) -> int:
    """Compare with a tag, else with the last one that this commit comes from."""
    tag = tags[0] if tags else last_tag()
    if tag is None:
        print("no tag yet: no earlier interface to compare with")
        return 0
    griffe = [Path(sys.executable).with_name("griffe"), "check", "seedance_async", "--against", tag]
    ending = subprocess.run([*griffe, "--format", "oneline", "--no-color"], cwd=ROOT, check=False)
    if ending.returncode == 0:
        print(f"no break since {tag}")
        return 0
    if ending.returncode != 1:
        raise RuntimeError("griffe did not compare; what it wrote says why")
    if is_announced((ROOT / "CHANGELOG.md").read_text(encoding="utf-8")):
        print('compare these with "### Breaking" in CHANGELOG.md')
        return 0
    print(f'the interface of {tag} breaks, and the newest section of CHANGELOG.md has no "### Breaking"')
    return 1


def last_tag() -> str | None:
    """The newest tag among the ancestors of this commit."""
    command = ["git", "describe", "--tags", "--abbrev=0"]
    ending = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return ending.stdout.strip() or None


def is_announced(changelog: str) -> bool:
    """Whether the newest section says that something breaks."""
    newest = changelog.split("\n## ")[1]
    return "\n### Breaking" in newest


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
