"""The check that a batch continues with the account with which it began.

A journal stores the API key's fingerprint and the origin of its last run. Another key or origin may belong to
the same account; polling a few of the batch's tasks shows it, because an account finds only its own tasks. A
sandbox may have been restarted without its state; then every poll would be answered with 404.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from seedance_async.errors import JournalError, NotFoundError, SeedanceError
from seedance_async.network import is_sandbox

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from seedance_async.batch.journal import Journal
    from seedance_async.client import SeedanceClient

PROBES: Final = 3
"""Number of tasks that are polled to find out whether another key belongs to the same account."""


async def check_account(
    client: SeedanceClient, journal: Journal, directory: Path, *, pay_twice: bool = False
) -> str:
    """Check that the batch belongs to the client's account.

    Args:
        client: an open client.
        journal: the batch's journal.
        directory: the batch directory.
        pay_twice: whether jobs that may be paid under another key may be paid again.

    Returns:
        The client's account: origin and fingerprint of the key.

    Raises:
        JournalError: it is or may be another account, and results could be lost or paid twice.
    """
    engine, store = client.running_engine(), journal.store
    account = engine.account
    known = await journal.fact("account")
    if known is None:
        return account
    here = _name(known, account)
    if known != account:
        probes = await journal.do(store.accepted_ids, limit=PROBES)
    else:
        probes = await journal.do(store.running_ids, limit=1) if is_of_sandbox(account) else []
        if probes:  # a single 404 may be due to a lagging replica: try others, too
            probes += await journal.do(store.accepted_ids, limit=PROBES)
    is_same = known == account  # then polls that fail in other ways are left to the run
    if probes and not await finds_one(client, probes, unless_known=is_same):
        message = f"{here} does not know the tasks of the batch in {directory}"
        raise JournalError(f"{message}: {advice(known, account)}")
    doubts = 0 if known == account else await journal.do(store.doubts, account)
    if doubts and not probes and not pay_twice:
        count = f"{doubts} job{'' if doubts == 1 else 's'}"
        raise JournalError(
            f"{count} of the batch in {directory} may be paid under another API key or at another "
            f"address, and nothing shows that {here} is of the same account: {advice(known, account)}"
        )
    return account


def advice(begun: str, now: str) -> str:
    """Return advice for a batch that began with one account and continues with another. Pure.

    Args:
        begun: the account in the journal, ``ORIGIN FINGERPRINT``.
        now: the client's account, in the same form.
    """
    (began_at, first_key), (_, key) = begun.rsplit(" ", 1), now.rsplit(" ", 1)
    if is_of_sandbox(begun) != is_of_sandbox(now):
        return f"it was begun at {began_at}; use that address and its key, or another directory"
    key_advice = "use the key that it was begun with, or another directory"
    if not is_of_sandbox(now):
        return key_advice
    memory = "a sandbox remembers what it did only if it is started with the same --state FILE again"
    if key == first_key:
        return f"it was started without a memory of them; {memory}. Do that, or use another directory"
    return f"{key_advice}; {memory}"


def _name(begun: str, now: str) -> str:
    """Return the name of the client's account or sandbox for a message."""
    origin, key = now.rsplit(" ", 1)
    same_key = key == begun.rsplit(" ", 1)[1]
    return f"the sandbox at {origin}" if same_key and is_of_sandbox(now) else f"this API key, at {origin},"


def is_of_sandbox(account: str) -> bool:
    """Whether an account, in the form of the journal, belongs to a sandbox. Pure."""
    origin = urlsplit(account.rsplit(" ", 1)[0])
    return is_sandbox(origin.scheme, origin.hostname or "")


async def finds_one(client: SeedanceClient, task_ids: Sequence[str], *, unless_known: bool) -> bool:
    """Whether the account has one of these tasks.

    With ``unless_known``, errors other than 404 count as found; otherwise they are raised.
    """
    for task_id in task_ids:
        if await _finds(client, task_id, unless_known=unless_known):
            return True
    return False


async def _finds(client: SeedanceClient, task_id: str, *, unless_known: bool) -> bool:
    """Whether the account has a task; see ``finds_one``."""
    try:
        await client.get_task(task_id)
    except NotFoundError:
        return False
    except SeedanceError:
        if not unless_known:
            raise
    return True
