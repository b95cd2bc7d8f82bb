"""The record of plans: what was planned, what was allowed for it, and how far it is.

One file of JSON lines for each account, next to the account's record and so outside every workspace. A line
is written and synced before what it allows is done. So a server that is killed at any instant forgets no
permission, and gives none twice; several servers take turns under a lock.

Blocking.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import attrs
from attrs import evolve, field, frozen

from seedance_async import clocks
from seedance_async.errors import ConfigurationError
from seedance_async.file_lock import try_lock
from seedance_async.record.limits import day_of
from seedance_async.safe_files import BINARY, NOT_THROUGH_LINKS, OWNER, regular
from seedance_async.state_files import account_file

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import BinaryIO

PATIENCE: Final = 5.0  # s for which another server may keep the lock; it needs milliseconds
PAUSE: Final = 0.01  # s
ROUNDING: Final = 1e-6  # credits


@frozen(kw_only=True)
class Allowed:
    """What was allowed for a plan.

    Attributes:
        credits: that it may cost.
        asked: whether a person was asked; else it was below what may be spent unasked.
        day: the day of UTC that it counts on, in days since 1970.
    """

    credits: float
    asked: bool
    day: int


@frozen(kw_only=True)
class Order:
    """A plan on record.

    Attributes:
        plan_id: of it.
        batch_id: the batch that it runs in: its own, or the one that it makes new takes of.
        workspace: that it belongs to.
        digest: of its manifest and inputs, as they were planned.
        jobs: that it sends.
        credits: that it costs at most, as far as prices are known.
        unpriced: jobs whose price nobody knows.
        spent: what the batch had cost before.
        reroll: names, or patterns, of jobs that get new takes; empty for a plan of jobs.
        takes: how many new ones of each.
        allowed: None until it is submitted, or a person has allowed it.
        raised: credits that a person has allowed for it later, all in all; 0 where nobody has.
        begun: whether its jobs are in the batch's journal, so that none is ordered twice.
        journal: the mark of that journal; empty before that.
        ended: whether all of it has ended.
    """

    plan_id: str
    batch_id: str
    workspace: str
    digest: str
    jobs: int
    credits: float
    unpriced: int = 0
    spent: float = 0.0
    reroll: tuple[str, ...] = ()
    takes: int = 1
    allowed: Allowed | None = None
    raised: float = 0.0
    begun: bool = False
    journal: str = ""
    ended: bool = False

    @property
    def cap(self) -> float:
        """Most credits that its batch may cost over all its runs."""
        return self.spent + self.most

    @property
    def most(self) -> float:
        """Most credits that the plan itself may cost; 0 where nothing is allowed."""
        return max(self.allowed.credits, self.raised) if self.allowed else 0.0


@frozen
class Above:
    """The refusal of a plan that needs a person's permission.

    Attributes:
        left: credits that may still be spent unasked today.
    """

    left: float


@frozen
class _State:
    """What the file says."""

    orders: dict[str, Order] = field(factory=dict[str, Order])

    def unasked_on(self, day: int) -> float:
        allowed = (order.allowed for order in self.orders.values())
        return sum(each.credits for each in allowed if each and not each.asked and each.day == day)


def orders_path(account: str) -> Path:
    """The file of an account, in the state directory.

    Raises:
        ConfigurationError: the user has no home directory, and no variable names a place.
    """
    return account_file(account, "mcp", ".jsonl", what="the record of plans")


class Orders:
    """The record of plans of one account.

    Args:
        path: of its file.
        workspace: whose plans are found; the allowance of a day counts those of all.

    Every method raises ``ConfigurationError`` where the file cannot be used.
    """

    def __init__(self, path: Path, workspace: Path) -> None:
        self.path = path
        self.workspace: str = str(workspace)

    def plan(self, order: Order) -> None:
        """Record a plan."""
        facts = {
            "event": "planned", "plan": order.plan_id, "batch": order.batch_id, "workspace": order.workspace,
            "digest": order.digest, "jobs": order.jobs, "credits": order.credits, "unpriced": order.unpriced,
            "spent": order.spent, "reroll": list(order.reroll), "takes": order.takes,
        }  # fmt: skip
        with self._locked() as file:
            _write(file, facts)

    def find(self, plan_id: str) -> Order | None:
        """A plan of this workspace."""
        with self._locked() as file:
            order = _read(file).orders.get(plan_id)
        return order if order is not None and order.workspace == self.workspace else None

    def of_batch(self, batch_id: str) -> list[Order]:
        """The plans of a batch of this workspace, in the order in which they were made."""
        with self._locked() as file:
            found = list(_read(file).orders.values())
        return [each for each in found if each.batch_id == batch_id and each.workspace == self.workspace]

    def left_unasked(self, most: float) -> float:
        """Credits that may still be spent today without a person being asked.

        Args:
            most: a day.
        """
        with self._locked() as file:
            spent = _read(file).unasked_on(day_of(clocks.wall_now()))
        return max(0.0, most - spent)

    def allow(self, plan_id: str, *, granted: float | None, unasked_a_day: float) -> Order | Above | None:
        """Allow a plan, once: a second call returns what was allowed before.

        Args:
            plan_id: of the plan.
            granted: credits that a person has allowed; None where nobody was asked.
            unasked_a_day: credits that may be spent in a day without asking.

        Returns:
            The plan as it is allowed now; ``Above`` where a person has to be asked; None where there is none.
        """
        with self._locked() as file:
            state = _read(file)
            order = state.orders.get(plan_id)
            if order is None or order.workspace != self.workspace:
                return None
            if order.allowed is not None:
                return order
            day = day_of(clocks.wall_now())
            if granted is None:
                left = max(0.0, unasked_a_day - state.unasked_on(day))
                if order.unpriced or order.credits > left + ROUNDING:
                    return Above(left)
            allowed = Allowed(
                credits=order.credits if granted is None else granted, asked=granted is not None, day=day
            )
            facts = {"event": "allowed", "plan": plan_id, **attrs.asdict(allowed)}
            _write(file, facts)
            return evolve(order, allowed=allowed)

    def permit(self, plan_id: str, most: float) -> Order | None:
        """Record that a person allows a plan, or more for one that was allowed before.

        What was allowed without asking keeps counting on its day. A number below the one before changes
        nothing.

        Args:
            plan_id: of the plan.
            most: credits that it may cost, with what it has cost already.

        Returns:
            The plan as it is allowed now; None where there is none.
        """
        order = self.allow(plan_id, granted=most, unasked_a_day=0.0)
        if not isinstance(order, Order) or order.most >= most:
            return order if isinstance(order, Order) else None
        with self._locked() as file:
            _write(file, {"event": "raised", "plan": plan_id, "credits": most})
        return evolve(order, raised=most)

    def begun(self, plan_id: str, journal: str) -> None:
        """Note that the jobs of a plan are in the batch's journal, before any of them is sent.

        Args:
            plan_id: of the plan.
            journal: what that journal is recognised by.
        """
        self._note("begun", plan_id, journal=journal)

    def ended(self, plan_id: str) -> None:
        """Note that all of a plan has ended."""
        self._note("ended", plan_id)

    def _note(self, event: str, plan_id: str, **facts: str) -> None:
        with self._locked() as file:
            _write(file, {"event": event, "plan": plan_id, **facts})

    @contextmanager
    def _locked(self) -> Iterator[BinaryIO]:
        """The file, open for this process alone."""
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with _opened(self.path) as file:
                deadline = time.monotonic() + PATIENCE
                while not try_lock(file.fileno()):
                    if time.monotonic() > deadline:
                        raise ConfigurationError(f"another process keeps {self.path} locked")
                    time.sleep(PAUSE)
                yield file
        except OSError as problem:
            raise ConfigurationError(
                f"the record of plans {self.path} cannot be used: {problem.strerror or problem}"
            ) from problem


def _opened(path: Path) -> BinaryIO:
    """The file, made if it is missing, and not through a link."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | NOT_THROUGH_LINKS | BINARY
    return regular(os.fdopen(os.open(path, flags, OWNER), "a+b"), path)


def _write(file: BinaryIO, facts: Mapping[str, object]) -> None:
    """Add a line, and have it on the disk; a half one before it, of a power cut, is ended first."""
    separator = b""
    if file.seek(0, os.SEEK_END):
        file.seek(-1, os.SEEK_END)
        separator = b"" if file.read(1) == b"\n" else b"\n"
    file.write(separator + json.dumps(facts, ensure_ascii=False).encode() + b"\n")
    file.flush()
    os.fsync(file.fileno())


def _read(file: BinaryIO) -> _State:
    """What the lines say. A half one allowed nothing: what a line allows is done only once it is synced."""
    state = _State()
    file.seek(0)
    for line in file:
        try:
            _take(state.orders, json.loads(line))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
    return state


def _take(orders: dict[str, Order], facts: Mapping[str, Any]) -> None:
    plan_id = facts["plan"]
    match facts["event"]:
        case "planned":
            orders.setdefault(plan_id, _planned(facts))
        case "allowed":
            allowed = Allowed(
                credits=float(facts["credits"]), asked=bool(facts["asked"]), day=int(facts["day"])
            )
            orders[plan_id] = evolve(orders[plan_id], allowed=allowed)
        case "raised":
            raised = max(orders[plan_id].raised, float(facts["credits"]))
            orders[plan_id] = evolve(orders[plan_id], raised=raised)
        case "begun":
            orders[plan_id] = evolve(orders[plan_id], begun=True, journal=str(facts["journal"]))
        case "ended":
            orders[plan_id] = evolve(orders[plan_id], begun=True, ended=True)
        case _:  # of a later version
            pass


def _planned(facts: Mapping[str, Any]) -> Order:
    return Order(
        plan_id=str(facts["plan"]),
        batch_id=str(facts["batch"]),
        workspace=str(facts["workspace"]),
        digest=str(facts["digest"]),
        jobs=int(facts["jobs"]),
        credits=float(facts["credits"]),
        unpriced=int(facts["unpriced"]),
        spent=float(facts["spent"]),
        reroll=tuple(map(str, facts["reroll"])),
        takes=int(facts["takes"]),
    )
