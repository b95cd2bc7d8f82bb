"""The check that a batch goes on under the account that it was begun with.

A journal knows the account of its last run. Another one may be the same by another key or another address,
which a few of the batch's tasks show: an account finds its own. A sandbox may have been started anew since,
without a memory of what it accepted; its polls would be answered 404 until nobody waits any more.
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
"""Tasks that are asked for to see whether another key belongs to the same account."""


async def check_account(
    client: SeedanceClient, journal: Journal, directory: Path, *, pay_twice: bool = False
) -> str:
    """Whose key the client has, once it is sure that the batch is of the same account.

    Args:
        client: open.
        journal: of the batch.
        directory: of the batch.
        pay_twice: whether jobs that may be paid under another key may be paid again.

    Raises:
        JournalError: it is another one, or may be, and there is something to lose.
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
        if probes:  # one 404 may be a replica's lag, or an answer's mistake: it may know others
            probes += await journal.do(store.accepted_ids, limit=PROBES)
    is_same = known == account  # then a poll that fails otherwise is the run's to deal with
    if probes and not await finds_one(client, probes, unless_known=is_same):
        message = f"{here} does not know the tasks of the batch in {directory}"
        raise JournalError(f"{message}: {advice(known, account)}")
    doubts = 0 if known == account else await journal.do(store.doubts, account)
    if doubts and not probes and not pay_twice:
        raise JournalError(
            f"{doubts} jobs of the batch in {directory} may be paid under another API key or at another "
            f"address, and nothing shows that {here} is of the same account: {advice(known, account)}"
        )
    return account


def advice(begun: str, now: str) -> str:
    """What to do about a batch that was begun with one account and meets another. Pure.

    Args:
        begun: the account as the journal has it, ``ORIGIN DIGITS``.
        now: the client's, in the same form.
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
    """What the client talks to, beside what the batch was begun with."""
    origin, key = now.rsplit(" ", 1)
    same_key = key == begun.rsplit(" ", 1)[1]
    return f"the sandbox at {origin}" if same_key and is_of_sandbox(now) else f"this API key, at {origin},"


def is_of_sandbox(account: str) -> bool:
    """Whether an account, as a journal has it, is a sandbox's. Pure."""
    origin = urlsplit(account.rsplit(" ", 1)[0])
    return is_sandbox(origin.scheme, origin.hostname or "")


async def finds_one(client: SeedanceClient, task_ids: Sequence[str], *, unless_known: bool) -> bool:
    """Whether the account has one of these tasks; ``unless_known``: also where no answer says that not."""
    for task_id in task_ids:
        if await _finds(client, task_id, unless_known=unless_known):
            return True
    return False


async def _finds(client: SeedanceClient, task_id: str, *, unless_known: bool) -> bool:
    """Whether the account has a task; ``unless_known``: also where no answer says that it has not."""
    try:
        await client.get_task(task_id)
    except NotFoundError:
        return False
    except SeedanceError:
        if not unless_known:
            raise
    return True
