"""The settings of an account's record: whether it is kept, with prompts or without, and standing limits.

The client's arguments take precedence over the environment variables ``SEEDANCE_RECORD`` (``on``, ``off``,
``prompts``), ``SEEDANCE_MAX_CREDITS_DAY`` and ``SEEDANCE_MAX_CREDITS_MONTH``. Without either, a record is
kept for every account whose request budget is stored in a file; that excludes a sandbox at loopback, unless
``SEEDANCE_STATE_DIR`` is set. A standing limit needs the record, so setting one keeps a record in every case.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

from seedance_async.budget.file_memory import outlives_a_process
from seedance_async.errors import ConfigurationError
from seedance_async.logs import Log
from seedance_async.models import CreditLimits
from seedance_async.models.display import shown
from seedance_async.record.account import AccountRecord
from seedance_async.record.place import record_path

if TYPE_CHECKING:
    from yarl import URL

log: Log = Log(__name__)

Recording: TypeAlias = bool | Literal["prompts"]
"""Whether a record is kept; ``prompts`` stores the prompts, too."""

_WORDS: Final[dict[str, Recording]] = {
    "on": True, "true": True, "yes": True, "1": True,
    "off": False, "false": False, "no": False, "0": False,
    "prompts": "prompts",
}  # fmt: skip


def account_record(
    account: str, base_url: URL, *, recording: Recording | None, limits: CreditLimits | None
) -> AccountRecord:
    """Return the record of an account, not opened yet; switched off if none is to be kept.

    Args:
        account: its name, see ``ApiKey.account``.
        base_url: base URL of its API.
        recording: None takes the environment's setting.
        limits: None takes the environment's limits.

    Raises:
        ConfigurationError: a setting is invalid, or a limit is set and the record is off or has no path.
    """
    chosen = _recording(recording)
    limits = _limits() if limits is None else limits
    if chosen is False:
        if limits.are_set:
            raise ConfigurationError(
                "standing limits of credits count in the account's record, which is turned off: "
                "turn it on (SEEDANCE_RECORD, record=), or take the limits away"
            )
        return AccountRecord(None, limits)
    if not (chosen or limits.are_set or outlives_a_process(base_url)):
        return AccountRecord(None, limits)
    try:
        path = record_path(account)
    except ConfigurationError as problem:
        if limits.are_set:
            raise
        log.warning("%s; nothing is recorded", problem.message)
        return AccountRecord(None, limits)
    return AccountRecord(path, limits, with_prompts=chosen == "prompts")


def _recording(given: Recording | None) -> Recording | None:
    if given is None or isinstance(given, bool) or given == "prompts":
        text = os.environ.get("SEEDANCE_RECORD", "").strip().lower()
        if given is not None or not text:
            return given
        if text in _WORDS:
            return _WORDS[text]
        given = text  # type: ignore[assignment]  # for the message
    allowed = "record must be True, False or 'prompts', and SEEDANCE_RECORD on, off or prompts"
    raise ConfigurationError(f"{allowed}; got {shown(given)}")


def _limits() -> CreditLimits:
    return CreditLimits(
        day=credits_of("SEEDANCE_MAX_CREDITS_DAY"), month=credits_of("SEEDANCE_MAX_CREDITS_MONTH")
    )


def credits_of(variable: str) -> float | None:
    """Return the number of credits in an environment variable; None if it is not set.

    Raises:
        ConfigurationError: it is not a number, or below 0.
    """
    text = os.environ.get(variable, "").strip()
    if not text:
        return None
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < float("inf"):
        raise ConfigurationError(f"{variable} must be a number of credits, 0 or more; got {text!r:.60}")
    return amount
