"""Failures of the network and of code in a caller's session: their messages, and what they prove."""

from __future__ import annotations

import ssl
from typing import Final

import aiohttp

from seedance_async.errors import ConnectionFailedError, SeedanceError, UnexpectedReplyError
from seedance_async.network import is_loopback
from seedance_async.protocol import Failure, Outcome
from seedance_async.route import UNTRUSTED, proxy_failure

SESSIONS: Final = "code that the aiohttp session runs"
_WHEN: Final = {
    Outcome.NOT_SENT: "before the request was sent",
    Outcome.UNKNOWN: "before a whole answer arrived",
}


def network_failure(problem: Exception, host: str, *, sent: bool) -> Failure:
    """The failure for an aiohttp error. ``sent`` decides, as aiohttp's classes do not show the phase."""
    outcome = Outcome.UNKNOWN if sent else Outcome.NOT_SENT
    broken_trust = isinstance(problem, aiohttp.ClientConnectorCertificateError | ssl.SSLCertVerificationError)
    error: SeedanceError
    if isinstance(problem, aiohttp.ClientResponseError) and sent:
        # aiohttp reports an answer that is not HTTP as "status 400", which the API has not sent.
        error = UnexpectedReplyError(f"{host} sent something that is not HTTP")
    else:
        error = ConnectionFailedError(f"{_phrase(problem, outcome)} ({host})")
    unresolved = isinstance(problem, aiohttp.ClientConnectorDNSError)
    return Failure(error=error, outcome=outcome, final=broken_trust, unresolved=unresolved)


def foreign_failure(problem: BaseException, *, sent: bool, final: bool) -> Failure:
    """The failure of a request because of an error in code of a caller's session."""
    outcome = Outcome.UNKNOWN if sent else Outcome.NOT_SENT
    error = SeedanceError(f"{SESSIONS} raised {type(problem).__name__} {_WHEN[outcome]}")
    error.__cause__ = problem
    return Failure(error=error, outcome=outcome, final=final)


def _phrase(problem: Exception, outcome: Outcome) -> str:
    """The message, in our own words, as foreign texts may quote headers."""
    when = _WHEN[outcome]
    if isinstance(problem, aiohttp.ClientConnectorDNSError):
        return "the host name could not be resolved: check its spelling and the network"
    if isinstance(problem, aiohttp.ClientHttpProxyError | aiohttp.ClientProxyConnectionError):
        return proxy_failure(problem)
    if isinstance(problem, aiohttp.ClientConnectorCertificateError):
        return UNTRUSTED
    if isinstance(problem, TimeoutError):
        return f"no answer in time, {when}"
    if isinstance(problem, aiohttp.ClientConnectorError):
        if isinstance(problem.os_error, ConnectionRefusedError) and is_loopback(problem.host):
            return f"could not connect: nothing listens at port {problem.port} here; is the sandbox running?"
        return f"could not connect: {problem.os_error.strerror or type(problem.os_error).__name__}"
    return f"connection lost {when} ({type(problem).__name__})"
