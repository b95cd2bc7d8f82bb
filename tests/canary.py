"""The secrets of this suite as canaries: no test may leave one in what it prints, logs or writes.

Nearly every test runs with the sandbox's own key, and those about secrets with one of ``sk_live_canary``. So
whatever a test leaves behind is searched for both: its captured output with every log at DEBUG, what its
commands said, and, at the end of the session, all files below the temporary directory. Nothing is exempt but
what a test reads from its children by itself: ``seedance sandbox`` tells its key to whoever starts it.

As secret are the signed URLs of local files: those of the S3 server have ``X-Amz-Signature``, those of
commands and stores of the tests' own ``SIGNED``. They stand in what is sent, and so in journals, in what a
sandbox remembers of it, and in the state directory's ``sent-urls``, and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

KEYS: Final = ("sk_test_sandbox", "sk_live_canary")

SIGNED: Final = "canary_of_a_signed_url"
URL_SECRETS: Final = ("X-Amz-Signature=", "X-Amz-Signature%3D", SIGNED)
SECRETS: Final = (*KEYS, *URL_SECRETS)

MAY_HAVE_URLS: Final = ("journal.sqlite", "sandbox.jsonl")
"""How files are called that have what was sent, byte for byte."""


def clean(said: str) -> str:
    """What a program said, if it gave no key away.

    Raises:
        AssertionError: it did. The message does not repeat what it said.
    """
    reported = [secret for secret in SECRETS if secret in said]
    assert not reported, f"the API key or signature {reported} is in the output"
    return said


def files_with_a_key(directory: Path) -> Iterator[Path]:
    """The files below a directory that hold a key, or a signed URL where none may be."""
    for path in directory.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            is_sent = path.name.startswith(MAY_HAVE_URLS) or path.parent.name == "sent-urls"
            if any(secret.encode() in content for secret in (KEYS if is_sent else SECRETS)):
                yield path
