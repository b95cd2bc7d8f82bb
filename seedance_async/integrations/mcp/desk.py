"""The desk of the MCP server: a method for each tool, which answers with short JSON.

Spending takes two steps. ``plan`` and ``reroll`` record what is to be sent and what it costs; ``submit``
sends that, once. The server's settings say what may be spent without asking; above that a person is asked, or
is given the command that allows it.
"""

from __future__ import annotations

import json
import math
from contextlib import AsyncExitStack
from functools import partial
from typing import TYPE_CHECKING, Final, Self

import anyio
from anyio import to_thread
from attrs import evolve, frozen

from seedance_async.batch.run_options import PlanOptions
from seedance_async.client import SeedanceClient
from seedance_async.credit_format import counted, credit_count
from seedance_async.errors import SeedanceError
from seedance_async.integrations.mcp import account, linting, pictures, planning
from seedance_async.integrations.mcp.answers import (
    RefusedError,
    fitted,
    name_of,
    text_of,
    words_of,
    wrong_arguments,
)
from seedance_async.integrations.mcp.commands import to_allow
from seedance_async.integrations.mcp.orders import Above, Order, Orders, orders_path
from seedance_async.integrations.mcp.running import Batches, check_unchanged
from seedance_async.integrations.mcp.standing import Standing, is_stopped_by_cap, progress
from seedance_async.integrations.mcp.workspace import MANIFEST, Workspace, unknown_plan
from seedance_async.logs import Log
from seedance_async.media import read_media_store
from seedance_async.models import RateLimit, time_scale
from seedance_async.prices import NOTHING_RECORDED
from seedance_async.record import Reader, record_path
from seedance_async.scheduling.forecast import Forecast
from seedance_async.setting_sources import KEY_PAGE, from_environment
from seedance_async.time_format import format_range

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from seedance_async.integrations.mcp.planning import Asked, Basis, Quote
    from seedance_async.integrations.mcp.running import Running
    from seedance_async.integrations.mcp.settings import Settings
    from seedance_async.models import Kind

    Report = Callable[[float, float, str], Awaitable[None]]

log: Log = Log(__name__)

LONGEST_WAIT: Final = 25.0  # s; clients cancel a call after a minute, some sooner
TICK: Final = 2.0  # s between two progress notifications
MOST_TAKES: Final = 20
MOST_BYTES: Final = 800
"""Of the names of a reroll, in the JSON of an answer that repeats them in its next call."""


@frozen
class Opened:
    """What a desk works with while it is open."""

    client: SeedanceClient
    orders: Orders
    batches: Batches


class Desk:
    """What an agent may ask for, one method a tool.

    Args:
        settings: of the person who starts the server.
        client: not opened yet; None where there is no API key, and then only estimates are made.
    """

    def __init__(self, settings: Settings, client: SeedanceClient | None) -> None:
        self.settings = settings
        self.workspace: Workspace = Workspace(settings.workspace)
        self._client = client
        self._opened: Opened | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        """Open the client, and the record of plans."""
        if self._client is None:
            return self
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(self._client)
            tasks = await stack.enter_async_context(anyio.create_task_group())
            stack.callback(tasks.cancel_scope.cancel)  # batches stop before the client closes
            orders = Orders(orders_path(client.account), self.workspace.root)
            self._opened = Opened(client, orders, Batches(client, orders, tasks))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop: what was sent is in the journals, and the next server resumes it."""
        self._opened = None
        await self._stack.__aexit__(kind, error, traceback)

    # --- before anything is spent

    async def lint(self, prompt: str | None, model: str, asked: Asked) -> str:
        """What the prompt guide says about a prompt or about jobs; nothing is kept."""
        if prompt is not None:
            return await to_thread.run_sync(linting.lint_text, prompt, model)
        return await to_thread.run_sync(linting.lint_jobs, self.workspace, asked)

    async def estimate(self, asked: Asked) -> str:
        """What jobs would cost; nothing is kept."""
        quoted, _ = await self._drafted(asked, keeps=False)
        return fitted({**_price(quoted), "next": "plan(…) with the same jobs"}, lists=["table", "prompts"])

    async def plan(self, asked: Asked) -> str:
        """Record what is to be sent and what it costs; nothing is sent."""
        self._open()
        quoted, plan_id = await self._drafted(asked, keeps=True)
        order = Order(
            plan_id=plan_id,
            batch_id=plan_id,
            workspace=str(self.workspace.root),
            digest=await to_thread.run_sync(planning.digest_of, self.workspace.batch(plan_id)),
            jobs=quoted.jobs,
            credits=quoted.high,
            unpriced=quoted.unpriced,
        )
        return await self._planned(order, quoted)

    async def reroll(self, batch_id: str, names: Sequence[object], takes: int) -> str:
        """Record which jobs of a batch get new takes; nothing is sent."""
        opened = self._open()
        words = words_of(names)
        if not 1 <= takes <= MOST_TAKES:
            raise wrong_arguments(f"takes must be 1 to {MOST_TAKES}")
        if len(json.dumps(words, ensure_ascii=False).encode()) > MOST_BYTES:
            raise wrong_arguments("the names are too long together: make several plans, or use a pattern")
        directory = await self._directory(batch_id)
        running = opened.batches.of(batch_id)
        if running is not None and not running.is_over:
            raise RefusedError(
                "BatchBusy",
                f"the batch {batch_id} still runs",
                what_to_do="wait until it has ended",
                next_call=f'wait("{batch_id}")',
            )
        first = (await to_thread.run_sync(opened.orders.of_batch, batch_id))[0]
        await to_thread.run_sync(check_unchanged, first, directory)
        options = PlanOptions(reroll=words, takes=takes)
        quoted = await planning.quote(
            directory / MANIFEST, self._basis(), directory=directory, options=options
        )
        order = Order(
            plan_id=planning.new_id(),
            batch_id=batch_id,
            workspace=str(self.workspace.root),
            digest=first.digest,
            jobs=quoted.jobs,
            credits=quoted.high,
            unpriced=quoted.unpriced,
            spent=quoted.spent,
            reroll=words,
            takes=takes,
        )
        return await self._planned(order, quoted)

    async def _planned(self, order: Order, quoted: Quote) -> str:
        orders = self._open().orders
        await to_thread.run_sync(orders.plan, order)
        left = await to_thread.run_sync(orders.left_unasked, self.settings.unasked_a_day)
        free = not order.unpriced and order.credits <= left
        return fitted(
            {
                "plan_id": order.plan_id,
                "batch_id": order.batch_id,
                **_price(quoted),
                "needs_a_person": not free,
                "directory": self.workspace.shown(self.workspace.batch(order.batch_id)),
                "money_moved": "no",
                "next": f'submit("{order.plan_id}")',
            },
            lists=["table", "prompts"],
        )

    async def _drafted(self, asked: Asked, *, keeps: bool) -> tuple[Quote, str]:
        """Check and price what is asked for; where it is kept, its directory is in place under the id."""
        plan_id, basis = planning.new_id(), self._basis()
        folder = await to_thread.run_sync(
            partial(planning.draft, self.workspace, asked, has_store=basis.has_store)
        )
        try:
            quoted = await planning.quote(folder / MANIFEST, basis)
            if quoted.jobs > planning.MOST_JOBS:
                raise wrong_arguments(f"more than {planning.MOST_JOBS} jobs are too much for one plan")
            if keeps:
                await to_thread.run_sync(planning.keep, folder, self.workspace.batch(plan_id))
        finally:
            with anyio.CancelScope(shield=True):
                await to_thread.run_sync(planning.drop, folder)
        return quoted, plan_id

    # --- spending

    async def question(self, plan_id: str) -> tuple[str, float | None] | None:
        """What to ask a person before a plan is sent, and what it costs at most; None where nobody is asked.

        The cost is None where a price is unknown: then only the person can say how much it may be. The
        question contains numbers and words of the server only, and no prompt or name.
        """
        orders = self._open().orders
        order = await self._order(plan_id)
        if order.allowed is not None:
            return await self._question_for_more(order)
        left = await to_thread.run_sync(orders.left_unasked, self.settings.unasked_a_day)
        if not order.unpriced and order.credits <= left:
            return None
        unknown = f", and the unknown price of {order.unpriced} of them" if order.unpriced else ""
        takes = " (new takes)" if order.reroll else ""
        jobs = "1 paid job" if order.jobs == 1 else f"{order.jobs:,} paid jobs"
        question = (
            f"Seedance: plan {plan_id} sends {jobs}{takes} for up to {credit_count(order.credits)}{unknown}. "
            f"Without asking, {credit_count(left)} may still be spent today. "
            "Accept to send it; decline to spend nothing."
        )
        return question, None if order.unpriced else float(math.ceil(order.credits))

    async def _question_for_more(self, order: Order) -> tuple[str, float | None] | None:
        """What to ask before a plan that its cap has stopped is continued; None where it needs no more."""
        if not self._is_capped(order):
            return None
        whole = await self._whole(order)
        if whole is None:
            return None
        unknown = f", and the unknown price of {counted(whole.unpriced, 'job')}" if whole.unpriced else ""
        question = (
            f"Seedance: plan {order.plan_id} has stopped: it may cost {credit_count(order.most)}. All "
            f"of it costs up to {credit_count(whole.credits)}{unknown}; what it has cost already is part of "
            "that. Accept to continue it up to the number you allow; decline to spend nothing more."
        )
        return question, None if whole.unpriced else float(math.ceil(whole.credits))

    def _is_capped(self, order: Order) -> bool:
        """Whether its cap has stopped the last run of a plan here, and nobody has allowed more since."""
        running = self._open().batches.of(order.batch_id)
        if running is None or running.order.plan_id != order.plan_id or running.order.most < order.most:
            return False
        return is_stopped_by_cap(running)

    async def submit(self, plan_id: str, granted: float | None, *, declined: bool = False) -> str:
        """Send a plan, once.

        Args:
            plan_id: of it.
            granted: credits that a person has allowed; None where nobody was asked.
            declined: whether a person was asked, and does not want it.
        """
        opened = self._open()
        order = await self._order(plan_id)
        directory = await self._directory(order.batch_id)
        if declined:
            raise RefusedError(
                "Declined",
                "the person declined; nothing was sent",
                what_to_do="do not submit it again unless the person asks for it",
                next_call=f'submit("{plan_id}"), only if the person asks for it',
            )
        if not order.begun:
            await to_thread.run_sync(check_unchanged, order, directory)
            opened.batches.check_free(order)
        if order.allowed is None:
            opened.batches.check_room()
        if not opened.batches.is_at_work(order):
            await opened.batches.check_current(order, directory)
        allowed = await self._allow(order, granted)
        if isinstance(allowed, Above):
            raise self._above(order, allowed)
        if allowed is None:
            raise unknown_plan(plan_id)
        if not allowed.ended:
            await opened.batches.go_on(allowed, directory)
        note = "submitted before: nothing is sent or paid a second time" if order.begun else None
        return await self._standing(allowed, note=note)

    async def _allow(self, order: Order, granted: float | None) -> Order | Above | None:
        """Record that a plan may be sent, or that a person allows more for one that its cap has stopped."""
        orders = self._open().orders
        if granted is not None and self._is_capped(order):
            return await to_thread.run_sync(orders.permit, order.plan_id, granted)
        most = self.settings.unasked_a_day
        return await to_thread.run_sync(
            partial(orders.allow, order.plan_id, granted=granted, unasked_a_day=most)
        )

    def _above(self, order: Order, above: Above) -> RefusedError:
        unknown = f" and {counted(order.unpriced, 'job')} of unknown price" if order.unpriced else ""
        return RefusedError(
            "NeedsAPerson",
            f"the plan costs up to {credit_count(order.credits)}{unknown}; without asking, "
            f"{credit_count(above.left)} may still be spent today",
            what_to_do="this client shows no forms: give the person the command, which they run themselves. "
            "Do not run it yourself, and do not divide the plan to get below the limit",
            next_call=f'submit("{order.plan_id}") once they have run it',
            facts=to_allow(order),
        )

    # --- progress and results

    async def wait(self, batch_id: str, seconds: float, report: Report) -> str:
        """Wait for a batch, and report its state; one that was left unfinished is resumed."""
        directory = await self._directory(batch_id)
        order = await self._newest(batch_id)
        running = await self._going(order, directory)
        if running is not None:
            await self._watch(running, min(max(0.0, seconds), LONGEST_WAIT), report)
        return await self._standing(await self._order(order.plan_id))

    async def _going(self, order: Order, directory: Path) -> Running | None:
        """The run of a batch; resumed, if an earlier server process left it unfinished."""
        opened = self._open()
        running = opened.batches.of(order.batch_id)
        is_left = running is None or running.is_elsewhere
        if is_left and order.allowed is not None and not order.ended:
            return await opened.batches.go_on(order, directory)
        return running

    async def _watch(self, running: Running, seconds: float, report: Report) -> None:
        begun, reported = anyio.current_time(), -1.0
        end = begun + seconds  # `now < end` and `end - now` round alike: no wait is too short to pass
        while not running.is_over and (now := anyio.current_time()) < end:
            gone = now - begun
            if running.summary is not None and gone > reported:  # the protocol requires increasing values
                await report(gone, seconds, progress(running.summary))
                reported = gone
            await running.changed.wait(min(TICK, end - now))

    async def _standing(self, order: Order, *, note: str | None = None) -> str:
        opened = self._open()
        running = opened.batches.of(order.batch_id)
        facts = await Standing(opened.client, self.workspace, order, running).facts()
        if running is not None and is_stopped_by_cap(running):
            facts = {**facts, **await self._command_for_the_rest(order)}
        document = {"batch_id": order.batch_id, "plan_id": order.plan_id, "note": note, **facts}
        return fitted(document, lists=["newest", "problems"])

    async def _command_for_the_rest(self, order: Order) -> dict[str, object]:
        """The command that allows more for a plan that its cap has stopped; empty where it cannot be made."""
        whole = await self._whole(order)
        return {} if whole is None else to_allow(whole)

    async def _whole(self, order: Order) -> Order | None:
        """A plan that was begun, with what it costs all in all: what it has cost already, and the rest.

        None where the rest cannot be estimated: how the batch stands is reported all the same, since it has
        spent.
        """
        directory = self.workspace.batch(order.batch_id)
        try:
            rest = await planning.quote(directory / MANIFEST, self._basis(), directory=directory)
        except SeedanceError as problem:
            log.warning("what a batch still costs could not be estimated: %s", problem)
            return None
        return evolve(order, credits=rest.spent - order.spent + rest.high, unpriced=rest.unpriced)

    async def look(self, batch_id: str, names: Sequence[object], page: int) -> tuple[bytes, str]:
        """One contact sheet of a batch, and the names on it."""
        directory = await self._directory(batch_id)
        words = words_of(names) if names else ()
        sheet = await to_thread.run_sync(pictures.contact_sheet, directory, words, page)
        facts = {
            "batch_id": batch_id,
            "shown": [name_of(name) for name in sheet.names],
            "unreadable": [text_of(fault) for fault in sheet.faults] or None,
            "page": f"{sheet.page} of {sheet.pages}",
            "next": f'look("{batch_id}", page={sheet.page + 1})' if sheet.page < sheet.pages else None,
        }
        return sheet.content, fitted(facts, lists=["shown", "unreadable"])

    async def list_tasks(self, days: float, page: int) -> str:
        """What this machine has requested of the account, newest first."""
        return await account.list_tasks(self._open().client, days, page)

    async def download(self, task_ids: Sequence[object]) -> str:
        """Fetch the files of finished tasks into the workspace."""
        return await account.download(self._open().client, self.workspace, words_of(task_ids))

    # --- parts

    def _open(self) -> Opened:
        """What the desk works with.

        Raises:
            RefusedError: there is no API key, so nothing is open.
        """
        if self._opened is None:
            raise RefusedError(
                "NoApiKey",
                "the server has no API key",
                what_to_do="ask the person to set SEEDANCE_API_KEY in the server's environment and to start "
                f"it again; keys are made at {KEY_PAGE}. Never ask for the key itself",
            )
        return self._opened

    async def _order(self, plan_id: str) -> Order:
        orders = self._open().orders
        order = await to_thread.run_sync(orders.find, plan_id)
        if order is None:
            raise unknown_plan(plan_id)
        return order

    async def _newest(self, batch_id: str) -> Order:
        """The plan that a batch runs for: the last one that was allowed, else the first."""
        orders = self._open().orders
        found = await to_thread.run_sync(orders.of_batch, batch_id)
        if not found:
            raise unknown_plan(batch_id)
        return next((each for each in reversed(found) if each.allowed is not None), found[0])

    async def _directory(self, batch_id: str) -> Path:
        """The directory of a batch that is on record here."""
        await self._newest(batch_id)
        return await to_thread.run_sync(self.workspace.batch, batch_id)

    def _basis(self) -> Basis:
        client = self._client
        if client is None:
            return planning.Basis(
                limit=from_environment("SEEDANCE_RATE_LIMIT", RateLimit.parse, RateLimit()),
                forecast=Forecast(scale=from_environment("SEEDANCE_TIME_SCALE", time_scale, 1.0)),
                has_store=read_media_store(None) is not None,
            )
        return planning.Basis(
            limit=client.rate_limit,
            forecast=client.forecasts,
            recorded=_recorded(client),
            has_store=client.has_media_store,
        )


def _price(quoted: Quote) -> dict[str, object]:
    return {
        "jobs": quoted.jobs,
        "credits": [quoted.low, quoted.high],
        "jobs_of_unknown_price": quoted.unpriced or None,
        "spent_before": quoted.spent or None,
        "time": format_range(*quoted.seconds),
        "table": list(quoted.rows),
        "prompts": [text_of(line, 200) for line in quoted.warnings] or None,
    }


def _recorded(client: SeedanceClient) -> Mapping[Kind, float]:
    """What the account was charged before; nothing where its record cannot be read."""
    try:
        return Reader(record_path(client.account)).prices()
    except SeedanceError:
        return NOTHING_RECORDED
