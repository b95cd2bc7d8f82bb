"""Result files: fetched without credentials, verified, and put in place whole or not at all.

    task_files    all files of a task, a few at a time, its URLs renewed when they have expired
    fetch         one file: attempts, each going on where the last one broke off
    web           the session that knows no credentials, and where it may go
    part          the file under its temporary name
    place         its way to the name it keeps
    resume        what still fits together                                      (pure)
    naming        what files are and what they are called                       (pure)

Downloads go to other hosts than the API and spend nothing of the request budget.
"""

from __future__ import annotations

from seedance_async.downloads.naming import kind_of
from seedance_async.downloads.task_files import Downloads
from seedance_async.downloads.web import PublicResolver

__all__ = ["Downloads", "PublicResolver", "kind_of"]
