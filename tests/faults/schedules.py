"""Random schedules of what goes wrong, each drawn from its number.

A schedule has features that are drawn apart from one another, so that most schedules have a few: faults of
the server, another reading of the vendor's documents, answers that a proxy changes, prices that change or are
understated, groups that are dearer than as many jobs alone, and, for a batch, *lives*: runs that are
cancelled or killed at any moment, under a wrong clock, with a lower cap or other jobs, in a directory that is
moved, removed or copied. The same number gives always the same.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import anyio
from anyio import lowlevel
from attrs import define, evolve, field, frozen

from seedance_async import GptImage2, Job, NanoBananaPro, RetryPolicy, Seedance2Video
from seedance_async.models import Link
from seedance_async.models.links import LinkedOutput
from seedance_async.sandbox import Behaviour, Conditions, Fault
from seedance_async.sandbox.faults import NAMED

if TYPE_CHECKING:
    from seedance_async.models import Request
    from seedance_async.sandbox.validation import GenerationRequest

JOBS: Final = 20
CLIP: Final = 0
GPT: Final = 1
"""A job's place, modulo three, says which model it is for."""

BY_NAME: Final = sorted(name for name, fault in NAMED.items() if fault.effect != "deliver")
"""Faults of requests; another size or length is what a canary is for."""

SOURCES: Final[tuple[tuple[int, LinkedOutput], ...]] = (
    (1, "image"),
    (2, "image"),
    (3, "last_frame"),
    (3, "last_frame"),
)
"""So many places before a clip is a job that it can begin with."""

TAKES: Final = 6
"""Equal pictures among them, which may share POSTs."""

HOUR: Final = 3600.0
TEN_DAYS: Final = 240 * HOUR
KEY: Final = "sk_test_sandbox"
DEFINITIVE: Final = (400, 401, 402, 404, 429)
"""Refusals that say "not charged". A server that charges and says so lies, and no client can know."""

PRICES: Final = {"seedance2": 30, "gpt-image-2": 8, "nano-banana-pro": 12}


Stated: TypeAlias = Literal["nothing", "0", "1", "part"]
"""What is said of a charge, where not the truth."""


@frozen
class Moment:
    """An instant of a life: after so many seconds, and so many steps of the loop."""

    seconds: float
    steps: int

    async def wait(self) -> None:
        """Wait for it."""
        await anyio.sleep(self.seconds)
        for _ in range(self.steps):
            await lowlevel.checkpoint()


@frozen(kw_only=True)
class Prices:
    """What a task costs.

    Attributes:
        factors: how many times the usual price, before, between and after these instants.
        instants: seconds of the loop's clock.
        together: how many times the price of one alone each of several pictures in one POST costs.
    """

    factors: tuple[int, ...]
    instants: tuple[float, float]
    together: int = 1

    def __call__(self, request: GenerationRequest) -> int:
        """The credits of one task of a request."""
        now = anyio.current_time()
        factor = self.factors[sum(now >= instant for instant in self.instants)]
        return PRICES[request.model] * factor * (self.together if request.batch_count > 1 else 1)


@frozen(kw_only=True)
class Life:
    """One run of a batch.

    Attributes:
        clock: seconds by which its wall clock is ahead.
        cap: ``max_credits``.
        edited: places of the jobs whose prompt is another one.
        fed_back: its jobs are the ``results.jsonl`` of the life before.
        end: how it ends, at ``ends_at`` unless it has ended before.
        attack: what is done to its directory at ``attacked_at``.
        log_lost: the next life finds the journal without its log at first.
        restored: the next life but one begins again from the files of this one's end.
        pause: seconds until the next life.
    """

    clock: float = 0.0
    cap: float | None = None
    edited: frozenset[int] = frozenset()
    fed_back: bool = False
    end: Literal["itself", "cancelled", "killed"] = "itself"
    ends_at: Moment = Moment(0.0, 0)
    attack: Literal["none", "moved", "replaced", "removed"] = "none"
    attacked_at: Moment = Moment(0.0, 0)
    log_lost: bool = False
    restored: bool = False
    pause: float = 60.0


@frozen(kw_only=True)
class Schedule:
    """One run to be made.

    Attributes:
        lies: how often a proxy changes an answer to a POST; None without a proxy.
        stated: what answers to POSTs say that is charged; None where they tell the truth. Tasks always do.
        takes: of one picture, among the jobs.
        linked: by clip, the job and the output that it begins with; for a batch only.
        lives: runs of a batch in which all this may happen; nothing does in those that follow.
    """

    number: int
    behaviour: Behaviour
    conditions: Conditions
    faults: tuple[Fault, ...]
    credits: int
    retry: RetryPolicy
    by_batch: bool
    lies: int | None = None
    stated: Stated | None = None
    takes: int = 1
    linked: Mapping[int, tuple[int, LinkedOutput]] = field(factory=dict)
    lives: tuple[Life, ...] = (Life(),)

    @classmethod
    def drawn(cls, number: int) -> Schedule:
        """The schedule of this number, always the same."""
        rng = random.Random(f"soak {number}")
        span = rng.choice([(5.0, 60.0), (90.0, 300.0), (1.0, 2000.0)])
        takes = TAKES if rng.random() < 0.4 else 1
        together = _together(random.Random(f"groups {number}"))
        return cls(
            number=number,
            behaviour=_behaviour(rng),
            conditions=Conditions(
                seed=number,
                duration=lambda _order, chance: chance.uniform(*span),
                failure_rate=rng.choice([0.0, 0.0, 0.1, 0.5]),
                latency=rng.choice([(0.0, 0.0), (0.01, 0.2), (0.5, 5.0)]),
                price=_prices(rng, together=together),
            ),
            faults=_faults(rng),
            credits=rng.choice([100_000, 100_000, 200]),
            retry=rng.choice([RetryPolicy(), RetryPolicy(max_elapsed=60.0, conflict_wait=60.0)]),
            by_batch=number % 2 == 1,
            lies=rng.randint(1, 6) if rng.random() < 0.2 else None,
            stated=_stated(random.Random(f"hidden {number}")) if number % 2 else None,
            takes=takes,
            linked=_links(random.Random(f"links {number}"), JOBS - takes + 1),
            # An old journal that is put back may divide takes among POSTs otherwise, under other keys.
            lives=_lives(rng, restoring=takes == 1),
        )

    @property
    def untrue(self) -> bool:
        """Whether replies may contain wrong figures or ids."""
        return self.lies is not None or any(fault.effect == "edit" for fault in self.faults)

    @property
    def hides_prices(self) -> bool:
        """Whether prices may be told by nobody: answers understate them, and tasks may come too late."""
        prices = self.conditions.price
        constant = isinstance(prices, Prices) and len(set(prices.factors)) == 1
        late = any(fault.on in {"task", "any"} for fault in self.faults)
        return self.stated is not None and (late or not constant)

    @property
    def copies(self) -> bool:
        """Whether a POST may arrive twice. A refusal of the copy hides the first, and no client can know."""
        return any(fault.effect == "duplicate" for fault in self.faults)

    @property
    def loses_copies(self) -> bool:
        """Whether a key may end before a POST is sent again: the first was paid, and its copy refused."""
        return self.copies and any(life.pause > self.behaviour.key_life for life in self.lives)

    @property
    def closes_keys(self) -> bool:
        """Whether a key may be answered with the same refusal for ever, or for longer than a run asks."""
        open_points = self.behaviour
        for_ever = open_points.repeated_key == "reject" or open_points.stored != {"2xx"}
        return for_ever or open_points.still_running == "task"

    @property
    def forgets(self) -> bool:
        """Whether a journal is put back that does not know what was paid since: only its keys may find it."""
        return any(life.restored for life in self.lives)

    @property
    def doubts_ages(self) -> bool:
        """Whether a key may seem to be too old to be asked under."""
        return any(life.clock or life.pause > HOUR for life in self.lives)

    @property
    def urls_expire_unused(self) -> bool:
        """Whether a URL may be over before its file can be asked for."""
        return self.behaviour.url_life < 2 * self.conditions.latency[1]

    def sources_differ(self, place: int) -> bool:
        """Whether the clip at a place was asked for with outputs of two editions of a job before it."""
        edited = frozenset().union(*(life.edited for life in self.lives))
        while place in self.linked:
            place, _ = self.linked[place]
            if place in edited:
                return True
        return False

    def requests(self, edited: frozenset[int] = frozenset()) -> list[Request]:
        """Jobs of all three models, the takes of a picture as equal neighbours."""
        unlinked = evolve(self, linked={})
        return [request for job in unlinked.jobs(edited) for request in [job.request] * job.repeat]

    def jobs(self, edited: frozenset[int] = frozenset()) -> list[Job]:
        """The same, as the jobs of a batch."""
        places = range(JOBS - self.takes + 1)
        return [
            Job(
                _request(place, "ship" if place in edited else "boat", self.linked.get(place)),
                name=_name(place),
                repeat=self.takes if place == 1 else 1,
            )
            for place in places
        ]


def _name(place: int) -> str:
    return f"job {place}"


@cache
def _request(place: int, word: str, source: tuple[int, LinkedOutput] | None) -> Request:
    prompt = f"A {word} on pond {place}"
    if place % 3 == CLIP:
        return Seedance2Video(prompt=prompt, image_url=source and Link(_name(source[0]), source[1]))
    return (GptImage2 if place % 3 == GPT else NanoBananaPro)(prompt=prompt)


def _links(rng: random.Random, jobs: int) -> dict[int, tuple[int, LinkedOutput]]:
    """Clips that begin with a picture before them, or go on from the clip before them."""
    if rng.random() < 0.6:
        return {}
    clips = range(3, jobs, 3)
    ways: tuple[tuple[int, LinkedOutput], ...] = (
        (1, "image"),
        (2, "image"),
        (3, "last_frame"),
        (3, "last_frame"),
    )
    sources = ((clip, rng.choice(ways)) for clip in clips if rng.random() < 0.8)
    return {clip: (clip - before, output) for clip, (before, output) in sources}


@define
class Liar:
    """Changes of answers to POSTs, so many in all: they contradict themselves, or belong to another POST."""

    rng: random.Random
    left: int
    _last: dict[str, Any] = field(factory=dict)

    def __call__(self, asked: dict[str, Any], answer: dict[str, Any]) -> dict[str, Any]:
        """The answer that is given in the place of a true one."""
        if "id" not in answer:
            return answer
        last, self._last = self._last, answer
        if not self.left or self.rng.random() < 0.5:
            return answer
        self.left -= 1
        return {**answer, **self._lie(asked.get("batch_count", 1), answer, last)}

    def _lie(self, count: int, answer: dict[str, Any], last: dict[str, Any]) -> dict[str, Any]:
        ids = answer.get("batch_task_ids", [answer["id"]])
        lies: list[dict[str, Any]] = [
            last,
            {"id": self.rng.choice([answer["id"] + "\0", "\ud83d", "", " ", None, 7, ["x"]])},
            {"credits_used": self.rng.choice([-5, 10**18, 2**53, "8", True, None, 1e308])},
            {"note": spelled(KEY, self.rng), spelled(KEY, self.rng): 1},
        ]
        if count > 1:
            lies += [
                {"batch_task_ids": ids[:-1]},
                {"batch_task_ids": [ids[0]] * len(ids)},
                {"batch_task_ids": [*ids[:-1], ids[-1] + "\0"]},
                {"batch_task_ids": [*ids[:-1], last.get("id", ids[0])]},
                {"batch_success": count - 1, "batch_failed": 0, "batch_task_ids": ids[:-1]},
                {"batch_success": count, "batch_failed": 0, "batch_task_ids": ids[:1]},
                {"batch_success": count + 1, "batch_failed": -1},
                {"batch_failed": 2},
            ]
        return self.rng.choice(lies)


def understated(answer: dict[str, Any], stated: Stated) -> dict[str, Any]:
    """An answer to a POST that says less of its charge than its tasks do, or nothing."""
    charged = answer.get("credits_used")
    if charged is None:
        return answer
    said = {"nothing": None, "0": 0, "1": min(1, charged), "part": 0.3 * charged}[stated]
    return {**answer, "credits_used": said}


def spelled(key: str, rng: random.Random) -> str:
    """A key as some servers repeat it; JSON escapes it further."""
    place = rng.randrange(len(key))
    character = key[place]
    ways = [character, f"\\u{ord(character):04x}", f"%{ord(character):02X}", f"&#{ord(character)};"]
    return f"{key[:place]}{rng.choice(ways)}{key[place + 1 :]}"


def _prices(rng: random.Random, *, together: int) -> Prices:
    factors = [1, 1, 1] if rng.random() < 0.7 else [rng.choice([0, 1, 2, 5, 20]) for _ in range(3)]
    instants = rng.choice([10.0, 60.0, 600.0]), rng.choice([1000.0, HOUR])
    return Prices(factors=tuple(factors), instants=instants, together=together)


def _stated(rng: random.Random) -> Stated | None:
    ways: tuple[Stated, ...] = ("nothing", "0", "1", "part")
    return rng.choice(ways) if rng.random() < 0.25 else None


def _together(rng: random.Random) -> int:
    return rng.choice([2, 3, 10]) if rng.random() < 0.25 else 1


def _lives(rng: random.Random, *, restoring: bool) -> tuple[Life, ...]:
    lives = tuple(_life(rng) for _ in range(rng.choice([1, 1, 2, 3])))
    if not restoring:
        lives = tuple(evolve(life, restored=False) for life in lives)
    if any(life.restored for life in lives):  # what it does not know of, the server must still remember
        lives = tuple(evolve(life, pause=60.0) for life in lives)
    return lives if not _hides_an_age(lives) else tuple(evolve(life, clock=0.0) for life in lives)


def _life(rng: random.Random) -> Life:
    def now_and_then(chance: float) -> bool:
        return rng.random() < chance

    end: Literal["itself", "cancelled", "killed"] = rng.choice(["itself", "cancelled", "killed", "killed"])
    attack: Literal["moved", "replaced", "removed"] = rng.choice(["moved", "moved", "replaced", "removed"])
    return Life(
        clock=rng.choice([-1, 1]) * rng.choice([0.1, 1, 10, 30, 120]) * HOUR if now_and_then(0.2) else 0.0,
        cap=rng.choice([0.0, 20.0, 60.0, 150.0, 400.0]) if now_and_then(0.4) else None,
        edited=frozenset(rng.sample(range(15), rng.randint(1, 4))) if now_and_then(0.3) else frozenset(),
        fed_back=now_and_then(0.1),
        end=end,
        ends_at=_moment(rng),
        attack=attack if now_and_then(0.15) else "none",
        attacked_at=_moment(rng),
        log_lost=now_and_then(0.3),
        restored=now_and_then(0.15),
        pause=rng.choice([60.0, 60.0, HOUR, 30 * HOUR]),
    )


def _moment(rng: random.Random) -> Moment:
    seconds = rng.choice([0.0, rng.uniform(0.0, 1.0), rng.uniform(0.0, 60.0), rng.uniform(60.0, 400.0)])
    return Moment(seconds, rng.choice([0, rng.randrange(50), rng.randrange(2000)]))


def _hides_an_age(lives: tuple[Life, ...]) -> bool:
    """Whether a clock is wrong in just such a way that an old key looks young, which nobody can see."""
    ends = [sum(life.pause for life in lives[:end]) for end in range(len(lives) + 1)]
    clocks = [*(life.clock for life in lives), 0.0]
    return any(
        ends[late] - ends[early] > 15 * HOUR > ends[late] - ends[early] + clocks[late] - clocks[early] > -HOUR
        for late in range(len(clocks))
        for early in range(late)
    )


def _behaviour(rng: random.Random) -> Behaviour:
    checks = ("auth", "limit", "validation", "balance")
    return Behaviour(
        repeated_key=rng.choice(["replay", "replay", "reject"]),
        still_running=rng.choice(["request", "task"]),
        stored=frozenset({"2xx", *rng.sample(["4xx", "5xx"], rng.randint(0, 2))}),  # type: ignore[arg-type]  # of these words
        same_body=rng.choice(["bytes", "values", "ignored"]),
        key_scope=rng.choice(["endpoint", "account", "key"]),
        gets_count=rng.random() < 0.8,
        key_life=24 * HOUR,
        before_key=frozenset(rng.sample(checks, rng.randint(0, 4))),  # type: ignore[arg-type]  # of these words
        window=rng.choice(
            ["fixed", "sliding-log", "sliding-counter", "sliding-counter-strict", "token-bucket"]
        ),
        window_phase=rng.uniform(0.0, 60.0),
        retry_after=rng.choice(["up", "down", "exact"]),
        refused_count=rng.random() < 0.3,
        url_life=rng.choice([86400.0, 30.0, 0.5]),
    )


def _faults(rng: random.Random) -> tuple[Fault, ...]:
    faults = [_fault(rng) for _ in range(rng.randint(0, 6))]
    if rng.random() < 0.2:
        faults.append(_echo(rng))
    if rng.random() < 0.2:
        faults += _cut_media(rng)
    return tuple(faults)


def _echo(rng: random.Random) -> Fault:
    """A refusal that repeats the key, spelled in some way."""
    said = spelled(KEY, rng)
    message = rng.choice([said, said.replace("\\", "\\\\"), "/".join([said, said])])
    return Fault(
        effect="status", moment="before", on=rng.choice(["submit", "task", "media", "any"]),
        status=rng.choice([400, 404, 500, 503]), count=rng.choice([1, 3]), nth=rng.choice([1, 4]),
        body=f'{{"error": {{"code": "busy", "message": "you sent {message}", "{said}": 1}}}}',
    )  # fmt: skip


def _cut_media(rng: random.Random) -> list[Fault]:
    """Files that are cut in the middle, whose length is that of the cut, or not stated."""
    rules: dict[str, Any] = {"on": "media", "count": rng.choice([1, 5, 20]), "nth": rng.choice([1, 3])}
    cut = Fault(effect="half-json", **rules)
    return [cut, Fault(effect="no-length", **rules)] if rng.random() < 0.5 else [cut]


def _fault(rng: random.Random) -> Fault:
    document = NAMED[rng.choice(BY_NAME)].document()
    document |= {
        "on": rng.choice(["submit", "submit", "task", "task", "media", "any"]),
        "moment": rng.choice(["before", "after"]),
        "nth": rng.choice([1, 1, 2, 5, 13]),
        "count": rng.choice([1, 2, 5, 20, None]),
        "probability": rng.choice([1.0, 1.0, 0.5, 0.1]),
        "lasts": rng.choice([1e9, 1e9, 300.0]),
        "seconds": rng.choice([0.01, 1.0, 30.0, 100.0]),
    }
    if document["effect"] == "status" and rng.random() < 0.7:
        document |= {
            "status": rng.choice([400, 401, 402, 404, 408, 409, 418, 422, 429, 500, 502, 503, 504, 520]),
            "headers": rng.choice(
                [{}, {"Retry-After": "7"}, {"Retry-After": "-1"}, {"Retry-After": "99999999"}]
            ),
            "body": rng.choice(["", "", "", "[]", '{"detail":"no"}', "<html>"]),
        }
    if document["status"] in DEFINITIVE:
        document["moment"] = "before"
    return Fault.read(document)
