#!/usr/bin/env python3
"""A message to a chat when a batch has ended or stops, through an incoming webhook (Slack, Mattermost).

    export CHAT_WEBHOOK_URL=https://hooks.slack.com/services/...
    seedance batch jobs.jsonl -o boats --on-event examples/hooks/webhook.py --on-event-for ended,stopping

The address is a secret, so it comes from the environment and stands in no argument and no message.
"""

from __future__ import annotations

import json
import os
import sys
import urllib.request


def message(event: dict[str, object]) -> str:
    """What to say of an event."""
    if event["event"] != "ended":
        return "The batch is stopping: nothing more is sent."
    counts = event.get("counts")
    jobs = (
        ", ".join(f"{count} {state}" for state, count in counts.items()) if isinstance(counts, dict) else ""
    )
    lines = [f"The batch has ended with exit code {event['exit_code']}. {jobs}".strip()]
    if "credits_used" in event:
        lines.append(f"{event['credits_used']} credits used, {event['credits_refunded']} refunded.")
    if event.get("reason"):
        lines.append(str(event["reason"]))
    return "\n".join(lines)


def main() -> int:
    """Send the event that is on standard input."""
    body = json.dumps({"text": message(json.load(sys.stdin))}).encode()
    request = urllib.request.Request(  # noqa: S310 - the user's own address
        os.environ["CHAT_WEBHOOK_URL"], data=body, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=8):  # noqa: S310 - as above
        return 0


if __name__ == "__main__":
    sys.exit(main())
