"""A store in Redis or Valkey: one hash a name, read and replaced by one atomic script.

A hash that was not written for a day expires: no claim or pause lasts that long, and what refusals have
taught is soon learned again.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from seedance_async.budget.shared_store import MOST_CHARACTERS, Kept, StoreUnavailableError
from seedance_async.errors import ConfigurationError

PREFIX: Final = "seedance:budget:"
KEPT_FOR: Final = 24 * 3600
"""Seconds."""

_SCRIPT: Final = f"""
local wanted, version = tonumber(ARGV[1]), tonumber(redis.call('HGET', KEYS[1], 'version') or 0)
local now, info, written = redis.call('TIME'), redis.pcall('INFO', 'server'), 0
if wanted == version then
    version = version > 0 and version + 1 or now[1] * 1000000 + now[2]
    written = 1
    redis.call('HSET', KEYS[1], 'version', string.format('%.0f', version), 'page', ARGV[2])
    redis.call('EXPIRE', KEYS[1], {KEPT_FOR})
end
local kept = redis.call('HGET', KEYS[1], 'page')
if kept and #kept > {MOST_CHARACTERS} then kept = '' end
if type(info) == 'table' then info = '' end
return {{written, version, kept, now[1], now[2],
    string.match(info, 'run_id:(%w+)') or '', string.match(info, 'uptime_in_seconds:(%d+)') or '0'}}
"""
_READ_ONLY: Final = -1  # a version that is never stored


class RedisStore:
    """The keys ``seedance:budget:…`` of a database.

    Args:
        url: ``redis://`` or ``rediss://``, in the form that redis-py accepts.

    Raises:
        ConfigurationError: redis-py is not installed, or cannot parse the URL.
    """

    def __init__(self, url: str) -> None:
        try:
            from redis.asyncio import Redis  # noqa: PLC0415 - an extra
        except ImportError:
            message = 'a budget in Redis needs redis-py: pip install "seedance-async[redis]"'
            raise ConfigurationError(message) from None
        try:
            self._redis: Any = Redis.from_url(url)
            pool: Any = self._redis.connection_pool
            pool.make_connection()  # does not connect yet, but checks the URL's options
            self._script = self._redis.register_script(_SCRIPT)
            is_valid = True
        except Exception:  # of any kind: the URL is wrong
            is_valid = False
        # Raised outside ``except``: the other error quotes the URL and must not become its context.
        if not is_valid:
            raise ConfigurationError("redis-py cannot read the shared budget's URL")

    async def read(self, name: str) -> Kept:
        """The stored text; see ``Store``."""
        _, kept = await self._run(name, _READ_ONLY, "")
        return kept

    async def replace(self, name: str, version: int, text: str) -> Kept | None:
        """Write, if the stored text has this version; see ``Store``."""
        written, kept = await self._run(name, version, text)
        return kept if written else None

    async def close(self) -> None:
        """Close the connections."""
        with suppress(Exception):  # a broken connection is closed too
            await self._redis.aclose()

    async def _run(self, name: str, version: int, text: str) -> tuple[bool, Kept]:
        try:
            return _answer(await self._script(keys=[PREFIX + name], args=[version, text]))
        except Exception as problem:  # drivers raise more than they document; none of it may end the client
            raise StoreUnavailableError(type(problem).__name__) from None  # its text may quote the URL


def _answer(fields: list[Any]) -> tuple[bool, Kept]:
    """The script's result: whether it has written, and what is stored."""
    written, version, page, seconds, microseconds, run_id, up_for = fields
    return bool(written), Kept(
        version=version,
        text=None if page is None else page.decode(errors="replace"),
        at=int(seconds) + int(microseconds) / 1e6,
        server=run_id.decode(),
        up_for=float(up_for),
    )
