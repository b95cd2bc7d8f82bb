"""A batch over hosts: jobs in one PostgreSQL database, taken by any number of workers on any hosts.

    async with BatchEngine("postgresql://studio@db/seedance") as engine:
        await engine.enqueue("jobs.jsonl")
        async for result in engine.results():
            print(result.name, result.state, result.files)

    seedance worker --engine postgresql://studio@db/seedance -o /shared/clips   # on each host

The states, the errors and the rules of paying are those of the one-host batch. From the bottom up:
``intents`` and ``outcomes`` are what a job's workflow is given and returns (pure); ``tables`` is what several
jobs share; ``dbos_records`` is DBOS, ``lives`` says which workers are alive; ``worker`` does the steps,
``accounts`` says whose jobs they are, ``planning`` and ``following`` are the two ends; ``batch_engine`` is
the door. Needs the extra ``dbos``.
"""

from __future__ import annotations

from importlib.util import find_spec

from seedance_async.errors import ConfigurationError

if find_spec("dbos") is None:
    raise ConfigurationError(
        "the distributed engine needs the extra 'dbos': pip install 'seedance-async[dbos]'"
    )

from seedance_async.integrations.engine.batch_engine import BatchEngine
from seedance_async.integrations.engine.following import Follower

__all__ = ["BatchEngine", "Follower"]
