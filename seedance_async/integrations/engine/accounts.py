"""The check that the jobs of a database are this account's: under another one they would be paid again.

Another key may belong to the same account, which a few of its tasks show: an account finds its own.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from anyio import to_thread

from seedance_async.batch.account_check import advice, finds_one
from seedance_async.errors import ClientStateError, ConfigurationError, SeedanceError
from seedance_async.integrations.engine.database import patiently

if TYPE_CHECKING:
    from seedance_async.client import SeedanceClient
    from seedance_async.integrations.engine.tables import Tables

PROBES: Final = 3
"""Tasks that are asked for to see whether another key belongs to the same account."""


async def check_account(client: SeedanceClient, tables: Tables, shown: str) -> None:
    """See that the jobs of a database may be sent with this client, before any is taken.

    Args:
        client: open.
        tables: of the database.
        shown: where it is, for messages.

    Raises:
        ConfigurationError: they may not.
    """
    account = client.running_engine().account
    known = await to_thread.run_sync(tables.fact, "account")
    if known is not None and known != account:
        ids = await to_thread.run_sync(partial(tables.accepted_ids, limit=PROBES))
        is_foreign = not await finds_one(client, ids, unless_known=False) if ids else False
        if is_foreign or (not ids and await to_thread.run_sync(tables.has_doubts)):
            message = f"the jobs in {shown} were sent with another account"
            raise ConfigurationError(f"{message}: {advice(known, account)}")
    await to_thread.run_sync(tables.remember, "account", account)


async def foreign(client: SeedanceClient, tables: Tables, account: str) -> ConfigurationError | None:
    """Why a job that a worker with this account may have sent must not be sent again with this client.

    Two workers of different accounts may begin at a database in which there was nothing to see yet.

    Args:
        client: open.
        tables: of the database.
        account: of the worker that may have sent it.

    Raises:
        SeedanceError: the tasks that would show it could not be asked for.
    """
    own = client.running_engine().account
    if account == own:
        return None
    ids = await patiently(partial(tables.accepted_ids, limit=PROBES, account=account))
    try:
        if ids and await finds_one(client, ids, unless_known=False):
            return None
    except ClientStateError:
        raise
    except SeedanceError as error:  # of the class that proves nothing: this one is not about the POST
        raise SeedanceError(f"the account of the job could not be checked: {error.message}") from error
    return ConfigurationError(
        f"a job was sent with another account, or nothing shows that it is the same: {advice(account, own)}"
    )
