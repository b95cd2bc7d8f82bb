"""Downloads of result files: without credentials, verified, saved complete or not at all.

    task_files    all files of a task, a few at a time, with expired URLs renewed
    fetch         one file: attempts, each of which resumes the previous one
    session       the HTTP session without credentials, and the hosts it may connect to
    part          the incomplete file under its temporary name
    placement     the complete file under its final name
    metadata      prompt and origin inside of MP4, PNG and JPEG files           (pure)
    codings       which words of Content-Encoding change the bytes, undone   (pure)
    resume        which bytes of an answer continue an incomplete file          (pure)
    wholeness     whether a file ends where its format says                     (pure)
    naming        file types and file names                                     (pure)

Downloads go to other hosts than the API and spend nothing of the request budget.
"""

from __future__ import annotations

from seedance_async.downloads.session import PublicResolver
from seedance_async.downloads.task_files import Downloads

__all__ = ["Downloads", "PublicResolver"]
