"""A batch over hosts: jobs in one PostgreSQL database, taken by any number of workers on any hosts.

    async with BatchEngine("postgresql://studio@db/seedance") as engine:
        await engine.enqueue("jobs.jsonl")
        async for result in engine.results():
            print(result.name, result.state, result.files)

    seedance worker --engine postgresql://studio@db/seedance -o /shared/clips   # on each host

The states, the errors and the rules of paying are those of the one-host batch. Needs the extra ``dbos``.

From the bottom up: ``intents`` and ``outcomes`` are the input and the output of a job's workflow (pure);
``addresses`` reads the URL; ``database``, ``link_tables`` and ``tables`` are what several jobs share;
``dbos_records`` is all use of DBOS; ``liveness`` says which workers are alive; ``ends`` releases the jobs
that wait for an output; ``places`` and ``files`` save results; ``accounts`` checks whose jobs they are;
``worker`` does the steps; ``enqueuing`` enqueues, ``following`` watches; ``batch_engine`` is what programs
import.
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
