"""The account record: the durable record of every POST that this machine sent for one account.

It holds the POSTs of all scripts, commands, batches and servers: the intent before the POST is sent, the task
ids and the credits after it, and how each task ended, once a poll has seen it. With it, the tasks of a script
that died can be found (``seedance tasks``), spending can be summed (``seedance spend``), and standing limits
apply to all programs together.

It holds no URLs and no API key, and prompts only on request. A POST takes about 400 bytes;
``seedance tasks --forget-before`` deletes old ones.

It is less durable than a batch's journal, and cheaper: a commit survives any death of the process, but not
always a power cut. If the file cannot be written, one warning is logged, and POSTs are still sent. Only a
limit that cannot be checked stops them: otherwise a full disk would switch the limit off.
"""

from seedance_async.record.account import AccountRecord, Entry
from seedance_async.record.asked import Asked
from seedance_async.record.place import record_path
from seedance_async.record.reading import Reader, total
from seedance_async.record.recording import Recording, account_record
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
