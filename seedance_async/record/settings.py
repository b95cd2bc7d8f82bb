"""The settings of an account's record: whether it is kept, with prompts or without, and standing limits.

Arguments of the client come first, then the environment's ``SEEDANCE_RECORD`` (``on``, ``off``, ``prompts``)
and ``SEEDANCE_MAX_CREDITS_DAY`` and ``SEEDANCE_MAX_CREDITS_MONTH``. Where nothing is said, a record is kept
of every account that the request budget is remembered of; so not of a sandbox at loopback, unless
``SEEDANCE_STATE_DIR`` names a place. A limit counts in the record, so it has one kept everywhere.
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
"""Whether a record is kept; ``prompts`` keeps the prompts, too."""

_WORDS: Final[dict[str, Recording]] = {
    "on": True, "true": True, "yes": True, "1": True,
    "off": False, "false": False, "no": False, "0": False,
    "prompts": "prompts",
}  # fmt: skip


def account_record(
    account: str, base_url: URL, *, recording: Recording | None, limits: CreditLimits | None
) -> AccountRecord:
    """The record of an account, not opened yet; one that is off where none is to be kept.

    Args:
        account: its name, see ``ApiKey.account``.
        base_url: of its API.
        recording: else the environment's.
        limits: else the environment's.

    Raises:
        ConfigurationError: a setting makes no sense.
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
    """The credits that a variable of the environment names; None where it is not set.

    Raises:
        ConfigurationError: it is no number, or below 0.
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
