"""The account record: the durable record of all that this machine asked of an account.

Every POST is in it, whoever sends it, a script, a command, a batch or a server: its intent before it leaves,
the task ids and the credits after, and how each task ended when a poll has seen it. So what a script asked
for that died is found again (``seedance tasks``), what was spent is added up (``seedance spend``), and
standing limits hold over all of them.

It has no prompts, unless that is asked for, no URLs and no API key. Its size is about 400 bytes a POST, and
``seedance tasks --forget-before`` trims it.

It is looser than a batch's journal, and costs less: a commit survives the process, whatever ends it, but not
always a power cut. Where the file cannot be written, a warning says so once, and POSTs leave all the same;
only a limit that cannot be checked stops them, because one that a full disk lifts would be none.
"""

from seedance_async.record.account import AccountRecord, Entry
from seedance_async.record.asked import Asked
from seedance_async.record.place import record_path
from seedance_async.record.reading import Reader, total
from seedance_async.record.settings import Recording, account_record
from seedance_async.record.values import By, PostRecord, Spending, TaskRecord

__all__ = [
    "AccountRecord",
    "Asked",
    "By",
    "Entry",
    "PostRecord",
    "Reader",
    "Recording",
    "Spending",
    "TaskRecord",
    "account_record",
    "record_path",
    "total",
]
