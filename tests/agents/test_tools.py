"""The tools of the MCP server, by the official client in both eras: what is sent, asked and told."""

from __future__ import annotations

import base64
import io
import json
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import anyio
import pytest
from PIL import Image

from seedance_async import BatchRunner, SeedanceClient
from seedance_async.cli.app import execute
from seedance_async.cli.media import PlayStore
from seedance_async.errors import ConfigurationError, JournalError
from seedance_async.exit_codes import ExitCode
from seedance_async.integrations.mcp.desk import Desk
from seedance_async.integrations.mcp.server import build
from seedance_async.integrations.mcp.settings import Settings, read_settings
from tests.agents.agent import ERAS, PRICE, Person, agent_of, pictures, serving

if TYPE_CHECKING:
    from seedance_async.sandbox import Sandbox

Era = Literal["auto", "legacy"]
SNAPSHOT = Path(__file__).with_name("tools.json")
PLENTY = 10_000.0
CLIPS: list[dict[str, object]] = [
    {"model": "seedance2", "name": f"clip-{number}", "prompt": "A paper boat crosses a pond", "duration": 4}
    for number in range(2)
]


async def test_the_list_of_tools_is_the_one_that_was_agreed_on(tmp_path: Path) -> None:
    """Names, words and schemas are what a model goes by; to change them, write the snapshot anew."""
    async with Desk(Settings(workspace=tmp_path), None) as desk, agent_of(build(desk)) as agent:
        listed = [
            tool.model_dump(mode="json", exclude_none=True)
            for tool in (await agent.client.list_tools()).tools
        ]

    assert json.loads(SNAPSHOT.read_text("utf-8")) == listed


@pytest.mark.parametrize("era", ERAS)
async def test_jobs_are_planned_submitted_waited_for_and_looked_at(
    seedance_sandbox: Sandbox, tmp_path: Path, era: Era
) -> None:
    """Below the limit nobody is asked; one paid task a job; a second submit sends nothing."""
    person = Person()
    async with (
        serving(seedance_sandbox, tmp_path / "work", unasked=PLENTY) as server,
        agent_of(server, person=person, era=era) as agent,
    ):
        plan = await agent("plan", jobs=pictures(3))
        assert [] == seedance_sandbox.requests
        assert (3, False, "no") == (plan["jobs"], plan["needs_a_person"], plan["money_moved"])
        submitted = await agent("submit", plan_id=plan["plan_id"])
        assert "running" == submitted["state"]
        ended = await agent.ended(plan["batch_id"])
        again = await agent("submit", plan_id=plan["plan_id"])
        seen = await agent("look", batch_id=plan["batch_id"], names=["boat-1", "boat-2"])

    assert ("ended", {"saved": 3}) == (ended["state"], ended["counts"])
    assert {"boat-0", "boat-1", "boat-2"} == {each["name"] for each in ended["newest"]}
    assert all((tmp_path / "work" / each["files"][0]).is_file() for each in ended["newest"])
    assert "submitted before" in again["note"]
    assert 3 == len(seedance_sandbox.paid_tasks)
    assert {"boat-1", "boat-2"} == set(seen["shown"])
    assert [] == person.questions
    assert any("1 saved" in note or "2 saved" in note for note in agent.progress)


async def test_what_is_looked_at_is_one_small_picture(seedance_sandbox: Sandbox, tmp_path: Path) -> None:
    """Four frames of each clip on one page that a model sees whole, and never the clip."""
    async with (
        serving(seedance_sandbox, tmp_path / "work", unasked=PLENTY) as server,
        agent_of(server) as agent,
    ):
        batch = await agent.sent(CLIPS)
        seen = await agent("look", batch_id=batch)

    content = base64.b64decode(agent.picture)
    with Image.open(io.BytesIO(content)) as picture:
        assert "JPEG" == picture.format
        assert max(picture.size) <= 1568
        assert picture.width > 4 * 300  # four frames side by side
    assert len(content) < 1_000_000
    assert ["clip-1", "clip-0"] == seen["shown"]


async def test_names_that_are_long_and_differ_at_the_end_are_told_apart(
    seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Every answer is below two kilobytes; what is shown of a name is enough to choose its job."""
    long = "Ünïcödé \U0001f6a4 " * 12
    jobs = [{**pictures(1)[0], "name": f"{long}{number:03}"} for number in range(20)]
    async with (
        serving(seedance_sandbox, tmp_path / "work", unasked=PLENTY) as server,
        agent_of(server) as agent,
    ):
        batch = await agent.sent(jobs)
        shown = (await agent("look", batch_id=batch))["shown"]
        waited = await agent("wait", batch_id=batch)
        end = shown[0].partition("…")[2]
        anew = await agent("reroll", batch_id=batch, names=[f"*{end}"])

    assert len(shown) == len(set(shown)) == 12
    assert waited["left_out"] > 0
    assert 1 == anew["jobs"]


@pytest.mark.parametrize("era", ERAS)
async def test_above_the_limit_a_person_is_asked_and_decides_how_much(
    seedance_sandbox: Sandbox, tmp_path: Path, era: Era
) -> None:
    """The form has the price in it; what the person allows is the cap, whatever the plan would cost."""
    person = Person(max_credits=2 * PRICE)
    async with (
        serving(seedance_sandbox, tmp_path / "work", unasked=PRICE) as server,
        agent_of(server, person=person, era=era) as agent,
    ):
        plan = await agent("plan", jobs=pictures(4))
        assert plan["needs_a_person"]
        await agent("submit", plan_id=plan["plan_id"])
        ended = await agent.ended(plan["batch_id"])

    assert 1 == len(person.questions)
    assert "4 paid jobs for up to 48 credits" in person.questions[0]
    assert ("stopped", "CreditCapError") == (ended["state"], ended["why"]["error"])
    assert ended["command"].endswith("--max-credits 48")
    assert 2 == len(seedance_sandbox.paid_tasks)


@pytest.mark.parametrize("era", ERAS)
async def test_where_a_price_is_unknown_the_person_says_how_much_it_may_be(
    seedance_sandbox: Sandbox, tmp_path: Path, era: Era
) -> None:
    """No form and no command has a number of ours in it; one that is accepted as it came sends nothing."""
    dear: list[dict[str, object]] = [{**pictures(1)[0], "resolution": "4K"}]
    person = Person()
    async with (
        serving(seedance_sandbox, tmp_path / "work", unasked=PLENTY) as server,
        agent_of(server, person=person, era=era) as agent,
        agent_of(server, era=era) as alone,
    ):
        plan = await agent("plan", jobs=dear)
        above = await alone("submit", plan_id=plan["plan_id"])
        empty = await agent("submit", plan_id=plan["plan_id"])
        assert [] == seedance_sandbox.requests
        person.max_credits = 500
        await agent("submit", plan_id=plan["plan_id"])
        await agent.ended(plan["batch_id"])

    assert (1, "NeedsAPerson") == (plan["jobs_of_unknown_price"], above["error"])
    assert above["command"].endswith("--max-credits CREDITS")
    assert "CREDITS" in above["fill_in"]
    assert "error" in empty
    assert "no" == empty["money_moved"]
    assert all("default" not in form["properties"]["max_credits"] for form in person.forms)
    assert 1 == len(seedance_sandbox.paid_tasks)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("action", ["decline", "cancel"])
async def test_a_person_who_does_not_want_it_spends_nothing(
    seedance_sandbox: Sandbox, tmp_path: Path, era: Era, action: Literal["decline", "cancel"]
) -> None:
    """Nothing is sent, and the plan can still be submitted when the person asks for it."""
    person = Person(action)
    async with (
        serving(seedance_sandbox, tmp_path / "work") as server,
        agent_of(server, person=person, era=era) as agent,
    ):
        plan = await agent("plan", jobs=pictures(1))
        refused = await agent("submit", plan_id=plan["plan_id"])
        assert ("Declined", "no") == (refused["error"], refused["money_moved"])
        assert [] == seedance_sandbox.requests
        person.action = "accept"
        await agent("submit", plan_id=plan["plan_id"])
        await agent.ended(plan["batch_id"])

    assert 1 == len(seedance_sandbox.paid_tasks)


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.usefixtures("environment")
async def test_without_forms_the_command_is_told_and_a_person_can_run_it(
    seedance_sandbox: Sandbox, tmp_path: Path, era: Era
) -> None:
    """It allows the plan, and sends nothing; the server sends what was planned, up to the person's cap."""
    work = tmp_path / "work"
    async with serving(seedance_sandbox, work) as server, agent_of(server, era=era) as agent:
        plan = await agent("plan", jobs=pictures(2))
        refused = await agent("submit", plan_id=plan["plan_id"])
        assert ("NeedsAPerson", "no") == (refused["error"], refused["money_moved"])
        expected = f"seedance mcp --workspace {work} --allow {plan['plan_id']} --max-credits 24"
        assert expected == refused["command"]
        for _ in range(2):
            assert ExitCode.OK == await execute(shlex.split(refused["command"])[1:])
        assert [] == seedance_sandbox.requests
        submitted = await agent("submit", plan_id=plan["plan_id"])
        ended = await agent.ended(plan["batch_id"])
        seen = await agent("look", batch_id=plan["batch_id"])

    assert ("running", None) == (submitted["state"], submitted.get("note"))
    assert ("ended", {"saved": 2}) == (ended["state"], ended["counts"])
    assert 24 == ended["credits"]["cap"]
    assert ["boat-1", "boat-0"] == seen["shown"]
    assert 2 == len(seedance_sandbox.paid_tasks)


async def test_a_plan_is_a_batch_that_a_person_can_run_without_the_server(
    seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """What the command line makes of its directory, the agent sees and looks at."""
    work = tmp_path / "work"
    async with serving(seedance_sandbox, work) as server, agent_of(server) as agent:
        plan = await agent("plan", jobs=pictures(2))
        folder = work / plan["directory"]
        async with (
            SeedanceClient(seedance_sandbox.api_key, seedance_sandbox.base_url) as client,
            BatchRunner(client, folder, max_credits=24) as batch,
        ):
            assert 2 == len([result async for result in batch.run(folder / "manifest.jsonl")])
        ended = await agent.ended(plan["batch_id"])
        seen = await agent("look", batch_id=plan["batch_id"])

    assert ("ended", {"saved": 2}) == (ended["state"], ended["counts"])
    assert ["boat-1", "boat-0"] == seen["shown"]
    assert 2 == len(seedance_sandbox.paid_tasks)


@pytest.mark.usefixtures("environment")
async def test_what_was_changed_after_a_person_has_allowed_it_is_not_sent(
    seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """A command allows what was planned; without a number, or for no plan of this workspace, nothing."""
    work = tmp_path / "work"
    async with serving(seedance_sandbox, work) as server, agent_of(server) as agent:
        plan = await agent("plan", jobs=pictures(1))
        words = ["mcp", "--workspace", str(work), "--allow", plan["plan_id"]]
        for wrong in (words, [*words, "--max-credits", "0"], [*words[:-1], "no", "--max-credits", "9"]):
            assert ExitCode.USAGE == await execute(wrong)
        assert "NeedsAPerson" == (await agent("submit", plan_id=plan["plan_id"]))["error"]
        assert ExitCode.OK == await execute([*words, "--max-credits", "12"])
        manifest = work / plan["directory"] / "manifest.jsonl"
        manifest.write_text(manifest.read_text("utf-8").replace("pond", "lake"), "utf-8")
        refused = await agent("submit", plan_id=plan["plan_id"])
        waited = await agent("wait", batch_id=plan["batch_id"])

    assert "PlanChanged" == refused["error"] == waited["why"]["error"]
    assert [] == seedance_sandbox.requests


@pytest.mark.usefixtures("environment")
async def test_a_person_allows_more_for_a_plan_that_its_cap_has_stopped(
    seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """The command names what the plan costs in all; the rest is sent once, under the same plan."""
    work = tmp_path / "work"
    person = Person(max_credits=PRICE)
    async with (
        serving(seedance_sandbox, work, unasked=PRICE) as server,
        agent_of(server, person=person) as agent,
    ):
        plan = await agent("plan", jobs=pictures(3))
        await agent("submit", plan_id=plan["plan_id"])
        stopped = await agent.ended(plan["batch_id"])
        expected = f"seedance mcp --workspace {work} --allow {plan['plan_id']} --max-credits 36"
        assert (expected, 1) == (stopped["command"], len(seedance_sandbox.paid_tasks))
        for _ in range(2):
            assert ExitCode.OK == await execute(shlex.split(stopped["command"])[1:])
        await agent("submit", plan_id=plan["plan_id"])
        ended = await agent.ended(plan["batch_id"])

    assert ("ended", {"saved": 3}, 36) == (ended["state"], ended["counts"], ended["credits"]["cap"])
    assert 3 == len(seedance_sandbox.paid_tasks)


@pytest.mark.parametrize("era", ERAS)
async def test_a_person_is_asked_for_more_where_the_cap_has_stopped_a_plan(
    seedance_sandbox: Sandbox, tmp_path: Path, era: Era
) -> None:
    """The form says what all of it costs; declined, nothing more is sent; accepted, the rest is, once."""
    person = Person(max_credits=PRICE)
    async with (
        serving(seedance_sandbox, tmp_path / "work") as server,
        agent_of(server, person=person, era=era) as agent,
    ):
        plan = await agent("plan", jobs=pictures(3))
        await agent("submit", plan_id=plan["plan_id"])
        await agent.ended(plan["batch_id"])
        person.action = "decline"
        refused = await agent("submit", plan_id=plan["plan_id"])
        assert ("Declined", 1) == (refused["error"], len(seedance_sandbox.paid_tasks))
        person.action, person.max_credits = "accept", 3 * PRICE
        await agent("submit", plan_id=plan["plan_id"])
        ended = await agent.ended(plan["batch_id"])
        await agent("submit", plan_id=plan["plan_id"])

    assert 3 == len(person.questions)
    assert "All of it costs up to 36 credits" in person.questions[-1]
    assert 36 == person.forms[-1]["properties"]["max_credits"]["default"]
    assert ("ended", {"saved": 3}, 36) == (ended["state"], ended["counts"], ended["credits"]["cap"])
    assert 3 == len(seedance_sandbox.paid_tasks)


@pytest.mark.usefixtures("environment")
async def test_a_stopped_plan_that_was_changed_since_is_not_gone_on_with(
    seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """The person's command allows more for the plan as it was; the edited jobs are not sent."""
    work = tmp_path / "work"
    async with (
        serving(seedance_sandbox, work) as server,
        agent_of(server, person=Person(max_credits=PRICE)) as agent,
    ):
        plan = await agent("plan", jobs=pictures(2))
        await agent("submit", plan_id=plan["plan_id"])
        stopped = await agent.ended(plan["batch_id"])
        manifest = work / plan["directory"] / "manifest.jsonl"
        manifest.write_text(manifest.read_text("utf-8").replace("pond 1", "lake 1"), "utf-8")
        assert ExitCode.OK == await execute(shlex.split(stopped["command"])[1:])
        await agent("submit", plan_id=plan["plan_id"])
        refused = await agent("wait", batch_id=plan["batch_id"])

    assert ("stopped", "PlanChanged") == (refused["state"], refused["why"]["error"])
    assert "restore the files" in refused["why"]["what_to_do"]
    assert 1 == len(seedance_sandbox.paid_tasks)


@pytest.mark.parametrize("tool", ["submit", "wait"])
@pytest.mark.usefixtures("environment")
async def test_a_reroll_that_a_person_has_allowed_is_checked_like_any_other(
    seedance_sandbox: Sandbox, tmp_path: Path, tool: str
) -> None:
    """A permission on record does not begin a plan whose batch has been continued since it was priced."""
    work = tmp_path / "work"
    async with serving(seedance_sandbox, work, unasked=3 * PRICE) as server, agent_of(server) as agent:
        batch = await agent.sent(pictures(2))
        first, second = [await agent("reroll", batch_id=batch, names=["boat-0"]) for _ in range(2)]
        await agent("submit", plan_id=first["plan_id"])
        await agent.ended(batch)
        allow = ["mcp", "--workspace", str(work), "--allow", second["plan_id"], "--max-credits", "12"]
        assert ExitCode.OK == await execute(allow)
    async with serving(seedance_sandbox, work) as server, agent_of(server) as agent:
        id_of = {"submit": {"plan_id": second["plan_id"]}, "wait": {"batch_id": batch}}
        told = await agent(tool, **id_of[tool])

    assert "PlanOutdated" == (told["error"] if tool == "submit" else told["why"]["error"])
    assert 3 == len(seedance_sandbox.paid_tasks)


async def test_one_job_is_made_anew_once_and_what_it_had_stays(
    seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """A reroll is a plan of its own, under the same limits; submitting it twice makes one take."""
    work = tmp_path / "work"
    async with serving(seedance_sandbox, work, unasked=PLENTY) as server, agent_of(server) as agent:
        batch = await agent.sent(pictures(2))
        plan = await agent("reroll", batch_id=batch, names=["boat-0"])
        assert (1, batch) == (plan["jobs"], plan["batch_id"])
        assert 2 == len(seedance_sandbox.paid_tasks)
        for _ in range(2):
            await agent("submit", plan_id=plan["plan_id"])
            await agent.ended(batch)
        await agent("submit", plan_id=plan["plan_id"])

    assert 3 == len(seedance_sandbox.paid_tasks)
    assert {"boat-0.png", "boat-0-take-1.png", "boat-1.png"} == {
        path.name for path in (work / "seedance" / batch).glob("*.png")
    }


async def test_clips_of_a_still_that_was_made_anew_are_told(
    seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """By the server that has run it, and by the next. They are not made again by themselves."""
    work = tmp_path / "work"
    clip = {"model": "seedance2", "name": "clip", "prompt": "It crosses", "image_url": "$boat-0.image"}
    async with serving(seedance_sandbox, work, unasked=PLENTY) as server, agent_of(server) as agent:
        batch = await agent.sent([*pictures(1), {**clip, "duration": 4}])
        assert "stale" not in await agent.ended(batch)
        plan = await agent("reroll", batch_id=batch, names=["boat-0"])
        await agent("submit", plan_id=plan["plan_id"])
        assert ["clip"] == (await agent.ended(batch))["stale"]
    async with serving(seedance_sandbox, work) as server, agent_of(server) as agent:
        assert ["clip"] == (await agent("wait", batch_id=batch))["stale"]

    assert 3 == len(seedance_sandbox.paid_tasks)


async def test_a_reroll_that_was_priced_before_another_is_planned_anew(
    seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Its cap would be spent already; so it is refused before it takes anything of the day's allowance."""
    work = tmp_path / "work"
    async with serving(seedance_sandbox, work, unasked=4 * PRICE) as server, agent_of(server) as agent:
        batch = await agent.sent(pictures(2))
        first, second = [await agent("reroll", batch_id=batch, names=["boat-0"]) for _ in range(2)]
        await agent("submit", plan_id=first["plan_id"])
        await agent.ended(batch)
        refused = await agent("submit", plan_id=second["plan_id"])
        anew = await agent("reroll", batch_id=batch, names=["boat-0"])
        await agent("submit", plan_id=anew["plan_id"])
        await agent.ended(batch)

    assert ("PlanOutdated", "no") == (refused["error"], refused["money_moved"])
    assert f'reroll("{batch}", ["boat-0"], takes=1)' == refused["next"]
    assert 4 == len(seedance_sandbox.paid_tasks)


async def test_a_server_that_is_left_in_the_middle_is_gone_on_with_by_the_next(
    seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Also where that is one for a reroll: the next server orders no second take."""
    work = tmp_path / "work"
    async with serving(seedance_sandbox, work, unasked=PLENTY) as server, agent_of(server) as agent:
        plan = await agent("plan", jobs=pictures(3))
        await agent("submit", plan_id=plan["plan_id"])
        await agent("wait", batch_id=plan["batch_id"], seconds=2)
    async with serving(seedance_sandbox, work, unasked=PLENTY) as server, agent_of(server) as agent:
        await agent.ended(plan["batch_id"])
        anew = await agent("reroll", batch_id=plan["batch_id"], names=["boat-*"])
        await agent("submit", plan_id=anew["plan_id"])
    async with serving(seedance_sandbox, work, unasked=PLENTY) as server, agent_of(server) as agent:
        ended = await agent.ended(plan["batch_id"])
        again = await agent("submit", plan_id=anew["plan_id"])

    assert "ended" == ended["state"] == again["state"]
    assert 6 == len(seedance_sandbox.paid_tasks)


async def test_a_reroll_whose_server_died_at_any_step_makes_one_take(
    seedance_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before it was noted that the order is in the journal; and after, with a person's own run in between."""
    work = tmp_path / "work"

    def dies(*_: object) -> None:
        raise OSError("the server died here")

    async with serving(seedance_sandbox, work, unasked=PLENTY) as server, agent_of(server) as agent:
        batch = await agent.sent(pictures(2))
        anew = await agent("reroll", batch_id=batch, names=["boat-0"])
        with monkeypatch.context() as patched:
            patched.setattr("seedance_async.integrations.mcp.orders.Orders.begun", dies)
            told = await agent("submit", plan_id=anew["plan_id"])
    assert "stopped" == told["state"]
    assert 2 == len(seedance_sandbox.paid_tasks)
    async with serving(seedance_sandbox, work, unasked=PLENTY) as server, agent_of(server) as agent:
        await agent("wait", batch_id=batch, seconds=1)
    directory = work / "seedance" / batch
    async with (
        SeedanceClient(seedance_sandbox.api_key, seedance_sandbox.base_url) as client,
        BatchRunner(client, directory) as runner,
    ):
        assert 2 == len([result async for result in runner.run(directory / "manifest.jsonl")])
    async with serving(seedance_sandbox, work, unasked=PLENTY) as server, agent_of(server) as agent:
        ended = await agent.ended(batch)
        again = await agent("submit", plan_id=anew["plan_id"])

    assert "ended" == ended["state"] == again["state"]
    assert 3 == len(seedance_sandbox.paid_tasks)


async def test_two_servers_of_one_workspace_share_the_limit_and_the_work(
    seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """What one has allowed the other does not allow once more; one runs the batch, the other says so."""
    work = tmp_path / "work"
    async with (
        serving(seedance_sandbox, work, unasked=3 * PRICE) as first,
        serving(seedance_sandbox, work, unasked=3 * PRICE) as second,
        agent_of(first) as one,
        agent_of(second) as other,
    ):
        plans = [await one("plan", jobs=pictures(2, word)) for word in ("boat", "kite")]
        await one("submit", plan_id=plans[0]["plan_id"])
        told = await other("submit", plan_id=plans[0]["plan_id"])
        refused = await other("submit", plan_id=plans[1]["plan_id"])
        await one.ended(plans[0]["batch_id"])
        ended = await other("wait", batch_id=plans[0]["batch_id"])

    assert "elsewhere" == told["state"]
    assert "NeedsAPerson" == refused["error"]
    assert "ended" == ended["state"]
    assert 2 == len(seedance_sandbox.paid_tasks)


async def test_everything_that_is_wrong_is_told_at_once_and_nothing_is_kept(
    seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Job by job and field by field, within two kilobytes however much it is."""
    wrong: list[dict[str, object]] = [{"model": "nano-banana-pro", "prompt": "a"} for _ in range(100)]
    async with (
        serving(seedance_sandbox, tmp_path / "work", unasked=PLENTY) as server,
        agent_of(server) as agent,
    ):
        refused = await agent("plan", jobs=[*wrong, 7, {"model": "sora"}])
        neither = await agent("plan")
        priced = await agent("estimate", jobs=pictures(2))

    assert ("ManifestError", "no") == (refused["error"], refused["money_moved"])
    assert "102 things are wrong" in refused["message"]
    assert refused["left_out"] + len(refused["wrong"]) == 102
    assert "InvalidArguments" == neither["error"]
    assert [16, 24] == priced["credits"]
    assert [] == list((tmp_path / "work" / "seedance").iterdir())
    assert [] == seedance_sandbox.requests


async def test_prompts_are_compared_with_the_guide_and_with_their_requests(
    seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """An error is told as one and refused by plan; a warning is told by both; nothing is kept."""
    late: dict[str, object] = {**CLIPS[0], "name": "late", "prompt": "0-3 s: calm. 12-15 s: she waves"}
    still: dict[str, object] = {
        **CLIPS[0], "name": "still", "prompt": "A slow dolly in on a boat", "fixed_lens": True,
    }  # fmt: skip
    async with (
        serving(seedance_sandbox, tmp_path / "work", unasked=PLENTY) as server,
        agent_of(server) as agent,
    ):
        linted = await agent("lint_prompt", jobs=[CLIPS[0], late, still])
        alone = await agent("lint_prompt", prompt="@Image1 turns around")
        unknown = await agent("lint_prompt", prompt="A boat", model="sora")
        refused = await agent("plan", jobs=[late])
        warned = await agent("plan", jobs=[still])

    assert (3, 1, 1) == (linted["jobs"], linted["errors"], linted["warnings"])
    assert {("late", "P06"), ("still", "P08")} == {
        (each["job"], each["code"]) for each in linted["findings"] if each["level"] != "note"
    }
    assert ["P02"] == [each["code"] for each in alone["findings"]]
    assert "ValidationError" == unknown["error"]
    assert "P06" in refused["wrong"][0]
    assert warned["prompts"][0].startswith("P08 warning")
    assert [] == seedance_sandbox.requests


async def test_the_record_is_paged_and_single_tasks_are_fetched(
    seedance_sandbox: Sandbox, tmp_path: Path
) -> None:
    """Ids, states and credits, without a URL; a file is fetched by its task's id into the workspace."""
    work = tmp_path / "work"
    async with serving(seedance_sandbox, work, unasked=PLENTY) as server, agent_of(server) as agent:
        batch = await agent.sent(pictures(12))
        first, second, third = [await agent("list_tasks", page=page) for page in (1, 2, 3)]
        (task_id,) = second["tasks"][0]["ids"]
        fetched = await agent("download", task_ids=[task_id, "nbp_nobody"])

    pages = [first["tasks"], second["tasks"], third["tasks"]]
    assert [5, 5, 2] == [len(page) for page in pages]
    assert 12 == len({task for page in pages for row in page for task in row["ids"]})
    assert "list_tasks(days=1, page=2)" == first["next"]
    assert {batch} == {row["batch"] for row in first["tasks"]}
    assert (work / fetched["tasks"][0]["files"][0]).stat().st_size > 1000
    assert "NotFoundError" == fetched["tasks"][1]["error"]
    assert "http" not in json.dumps([first, second, third, fetched])
    assert 12 == len(seedance_sandbox.paid_tasks)


async def test_a_batch_that_has_spent_is_told_of_also_where_its_rest_has_no_price(
    seedance_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An error of the estimate is none of the batch: its counts and why it stopped are what matters."""

    async def fails(*_: object, **__: object) -> None:
        raise JournalError("the journal is locked")

    async with (
        serving(seedance_sandbox, tmp_path / "work") as server,
        agent_of(server, person=Person(max_credits=PRICE)) as agent,
    ):
        plan = await agent("plan", jobs=pictures(2))
        monkeypatch.setattr("seedance_async.integrations.mcp.planning.quote", fails)
        await agent("submit", plan_id=plan["plan_id"])
        ended = await agent.ended(plan["batch_id"])
        refused = await agent("plan", jobs=pictures(2))

    assert ("stopped", "CreditCapError") == (ended["state"], ended["why"]["error"])
    assert "command" not in ended
    assert ("JournalError", "plan(…) once that is done") == (refused["error"], refused["next"])


async def test_a_batch_that_is_slow_to_get_ready_keeps_nobody_waiting(
    seedance_sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The call comes back before clients give it up, and says that the batch runs."""
    is_ready, prepare = anyio.Event(), BatchRunner.prepare

    async def slow(runner: BatchRunner, manifest: str) -> object:
        await is_ready.wait()
        return await prepare(runner, manifest)

    monkeypatch.setattr(BatchRunner, "prepare", slow)
    async with (
        serving(seedance_sandbox, tmp_path / "work", unasked=PLENTY) as server,
        agent_of(server) as agent,
    ):
        plan = await agent("plan", jobs=pictures(1))
        told = await agent("submit", plan_id=plan["plan_id"])
        is_ready.set()
        ended = await agent.ended(plan["batch_id"])

    assert ("running", 5) == (told["state"], told["come_back_in"])
    assert ("ended", 1) == (ended["state"], len(seedance_sandbox.paid_tasks))


async def test_a_failed_job_is_told_with_its_reason(seedance_sandbox: Sandbox, tmp_path: Path) -> None:
    """And is not sent again by waiting or submitting."""
    reef: dict[str, object] = {**pictures(1)[0], "name": "reef", "prompt": "A reef [[sandbox:fail]]"}
    async with (
        serving(seedance_sandbox, tmp_path / "work", unasked=PLENTY) as server,
        agent_of(server) as agent,
    ):
        batch = await agent.sent([*pictures(1), reef])
        await agent("submit", plan_id=batch)
        ended = await agent.ended(batch)

    async with serving(seedance_sandbox, tmp_path / "work") as server, agent_of(server) as agent:
        later = await agent("wait", batch_id=batch)

    assert {name: ended[name] for name in ("state", "counts", "newest", "problems")} == {
        name: later[name] for name in ("state", "counts", "newest", "problems")
    }
    assert ("ended", {"saved": 1, "failed": 1}) == (ended["state"], ended["counts"])
    assert ["reef"] == [problem["name"] for problem in ended["problems"]]
    assert 2 == len([call for call in seedance_sandbox.requests if call.method == "POST"])


async def test_without_a_key_the_person_is_to_be_asked_for_it(tmp_path: Path) -> None:
    """Estimates work; whatever needs the account says what to ask the person for."""
    async with Desk(Settings(workspace=tmp_path), None) as desk, agent_of(build(desk)) as agent:
        priced = await agent("estimate", jobs=pictures(2))
        refused = [
            await agent("plan", jobs=pictures(1)),
            await agent("submit", plan_id="20260101-00000000"),
            await agent("list_tasks"),
        ]

    assert 2 == priced["jobs"]
    assert {"NoApiKey"} == {answer["error"] for answer in refused}
    assert all("SEEDANCE_API_KEY" in answer["what_to_do"] for answer in refused)


async def test_a_plan_reads_as_what_was_asked_for(seedance_sandbox: Sandbox, tmp_path: Path) -> None:
    """A manifest with defaults and a matrix becomes plain jobs, and an input of the workspace a copy."""
    work = tmp_path / "work"
    (work / "shots").mkdir(parents=True)
    Image.new("RGB", (64, 64)).save(work / "shots" / "a.png")
    (work / "film.toml").write_text(
        '[defaults]\nmodel = "seedance2"\nduration = 4\n[[jobs]]\nname = "{city}"\n'
        'prompt = "A courier cycles through {city}"\nimage_url = "shots/a.png"\n'
        'matrix = { city = ["rome", "oslo"] }\n'
    )
    async with (
        serving(seedance_sandbox, work, unasked=PLENTY, media_store=PlayStore()) as server,
        agent_of(server) as agent,
    ):
        plan = await agent("plan", manifest="film.toml")
        Image.new("RGB", (64, 64), "red").save(work / "shots" / "a.png")
        (work / "film.toml").unlink()
        await agent("submit", plan_id=plan["plan_id"])
        ended = await agent.ended(plan["batch_id"])
    async with serving(seedance_sandbox, work, unasked=PLENTY) as server, agent_of(server) as agent:
        refused = await agent("plan", jobs=[{**CLIPS[0], "image_url": "shots/a.png"}])

    lines = (work / plan["directory"] / "manifest.jsonl").read_text("utf-8").splitlines()
    assert ["rome", "oslo"] == [json.loads(line)["name"] for line in lines]
    assert all(json.loads(line)["image_url"].startswith("./inputs/") for line in lines)
    assert {"saved": 2} == ended["counts"]
    assert 2 == len(seedance_sandbox.paid_tasks)
    assert "ManifestError" == refused["error"]
    assert "'shots/a.png'" in refused["wrong"][0]
    assert "SEEDANCE_MEDIA_STORE" in refused["wrong"][0]  # without a store a local file leads nowhere


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SEEDANCE_MCP_UNASKED_CREDITS_DAY", "lots"),
        ("SEEDANCE_MCP_UNASKED_CREDITS_DAY", "-1"),
        ("SEEDANCE_MCP_UNASKED_CREDITS_DAY", "inf"),
        ("SEEDANCE_MCP_WORKSPACE", "/"),
        ("SEEDANCE_MCP_WORKSPACE", "~"),
        ("SEEDANCE_MCP_WORKSPACE", "/nowhere/at/all"),
    ],
)
def test_a_setting_that_makes_no_sense_stops_the_server(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """A limit that was mistyped is no limit, and a whole home is no workspace."""
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError):
        read_settings()


@pytest.mark.parametrize("where", [".", "above", "above/state"])
def test_a_workspace_that_holds_a_home_or_the_record_of_plans_stops_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Who can write there allows what he likes; a folder beside it is good."""
    state, beside = tmp_path / "above" / "state", tmp_path / "above" / "work"
    state.mkdir(parents=True)
    beside.mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "above")
    monkeypatch.setenv("SEEDANCE_STATE_DIR", str(tmp_path / "link" / "state"))
    with pytest.raises(ConfigurationError, match="record of what was allowed"):
        read_settings(tmp_path / where)
    assert beside == read_settings(beside).workspace
    monkeypatch.setenv("HOME", str(beside / "me"))
    with pytest.raises(ConfigurationError, match="your home directory"):
        read_settings(beside)
