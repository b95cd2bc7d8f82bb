#!/usr/bin/env python3
"""A desktop note when a batch has ended or stops.

    seedance batch jobs.jsonl -o boats --on-event examples/hooks/desktop.py --on-event-for ended,stopping

Only numbers and the batch's own words go into the note: arguments can be seen by every user of a machine, and
messages of the API stay out of them.
"""

from __future__ import annotations

import json
import subprocess
import sys

APPLE = 'on run argv\ndisplay notification (item 1 of argv) with title "seedance"\nend run'


def note(event: dict[str, object]) -> str:
    """What to say of an event."""
    if event["event"] != "ended":
        return "stopping: nothing more is sent"
    counts = event.get("counts")
    jobs = (
        ", ".join(f"{count} {state}" for state, count in counts.items()) if isinstance(counts, dict) else ""
    )
    return (
        f"ended with exit code {event['exit_code']}: {jobs}"
        if jobs
        else f"ended with exit code {event['exit_code']}"
    )


def main() -> int:
    """Show the event that is on standard input."""
    text = note(json.load(sys.stdin))
    if sys.platform == "darwin":
        command = ["osascript", "-e", APPLE, text]
    else:
        command = ["notify-send", "--app-name=seedance", "seedance", text]
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
