"""Downloads of result files: without credentials, verified, saved complete or not at all.

    task_files    all files of a task, a few at a time, with expired URLs renewed
    fetch         one file: attempts, each of which resumes the previous one
    session       the HTTP session without credentials, and the hosts it may connect to
    part          the incomplete file under its temporary name
    placement     the complete file under its final name
    measuring     size, length, frame rate and sound of saved files
    metadata      prompt and origin in the metadata of MP4, PNG and JPEG files  (pure)
    codings       the decoding of content codings (``Content-Encoding``)        (pure)
    resume        which bytes of an answer continue an incomplete file          (pure)
    wholeness     whether a file is complete according to its format            (pure)
    naming        outputs of a task and their file names                        (pure)

Files come from other hosts than the API, so downloads do not use the request budget.
"""

from __future__ import annotations

from seedance_async.downloads.session import PublicResolver
from seedance_async.downloads.task_files import Downloads

__all__ = ["Downloads", "PublicResolver"]
