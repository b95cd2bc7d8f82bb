"""What the tests share that run ``seedance`` as a process: the command, and a manifest for it."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

SEEDANCE = [sys.executable, "-m", "seedance_async"]


def manifest(directory: Path, count: int = 2, prompt: str = "A boat") -> Path:
    """A manifest of so many pictures."""
    path = directory / "jobs.jsonl"
    job = {"model": "nano-banana-pro", "prompt": prompt, "output_format": "jpeg"}
    path.write_text("".join(json.dumps({**job, "name": f"boat-{n}"}) + "\n" for n in range(count)))
    return path
