"""Models to JSON and back. What the vendor's tables say about bodies is tested in ``contract``."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_async import wire
from seedance_async.errors import ValidationError
from seedance_async.models import (
    GptImage2,
    ImageOutput,
    ImageSize,
    NanoBananaPro,
    OutputImage,
    Request,
    Seedance2Video,
    VideoChannel,
    VideoOutput,
)

if TYPE_CHECKING:
    from collections.abc import Callable

URL = "https://cdn.example.com/a.png"

# The three answers of the documents.
VIDEO_TASK = {
    "id": "sd2_xxxxx",
    "status": "completed",
    "model": "seedance2",
    "quality_tier": "standard",
    "channel": "standard",
    "credits_used": 30,
    "credits_refunded": 0,
    "output": {"video_url": "https://v", "last_frame_url": "https://f", "seed": 123},
    "error": None,
    "created_at": "2026-06-03T10:00:00.000Z",
    "updated_at": "2026-06-03T10:03:12.000Z",
}
GPT_TASK = {**VIDEO_TASK, "id": "gpt2_xxxxx", "model": "gpt-image-2", "output": ["https://a", "https://b"]}
NANO_TASK = {
    **VIDEO_TASK,
    "id": "nbp_xxxxx",
    "model": "nano-banana-pro",
    "output": {"images": [{"url": "https://a", "provider_url": "https://p"}]},
}

PROMPTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00@"), min_size=3, max_size=200).filter(
    lambda text: "asset" not in text.lower()
)
URLS = st.from_regex(r"https://[a-z]{1,9}\.example\.com/[a-z0-9/]{0,9}(\?[a-z]=[0-9])?", fullmatch=True)
REQUESTS: st.SearchStrategy[Request] = st.one_of(
    st.builds(
        Seedance2Video,
        prompt=PROMPTS,
        image_url=st.none() | URLS,
        channel=st.sampled_from(get_args(VideoChannel)),
        duration=st.integers(4, 15),
        fixed_lens=st.booleans(),
    ),
    st.builds(Seedance2Video, prompt=PROMPTS, media_urls=st.lists(URLS, max_size=12)),
    st.builds(Seedance2Video, prompt=PROMPTS, seed=st.none() | st.integers(-1, 2**32 - 1)),
    st.builds(
        GptImage2, prompt=PROMPTS, image_urls=st.lists(URLS, max_size=10), batch_count=st.integers(1, 4)
    ),
    st.builds(NanoBananaPro, prompt=PROMPTS, image_size=st.sampled_from(get_args(ImageSize))),
)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
TASK_FIELDS = ("status", "model", "credits_used", "credits_refunded", "output", "error", "created_at")
SUBMISSION_FIELDS = (
    "status",
    "credits_used",
    "request_id",
    "batch_task_ids",
    "batch_success",
    "batch_failed",
)


# Out ------------------------------------------------------------------------------------------------------


def test_body_is_compact_utf8_in_the_order_of_the_fields() -> None:
    """The exact bytes are a promise: they are stored, and sent again under the same key."""
    body = wire.encode(Seedance2Video(prompt="Ein Zug f\u00e4hrt \U0001f682", image_url=URL, duration=8))

    assert (
        '{"prompt":"Ein Zug f\u00e4hrt \U0001f682","image_url":"https://cdn.example.com/a.png",'
        '"mode":"image-to-video","quality_tier":"standard","channel":"standard","aspect_ratio":"16:9",'
        '"duration":"8","resolution":"720p","generate_audio":true,"fixed_lens":false}'
    ).encode() == body


@pytest.mark.case(73)
@given(REQUESTS)
def test_request_survives_the_wire(request: Request) -> None:
    """What is read back from the bytes is the request, and writes the same bytes."""
    body = wire.encode(request)
    fields = wire.loads(body)

    assert isinstance(fields, dict)
    again = wire.build(request.model, fields)
    assert request == again
    assert body == wire.encode(again)
    assert None not in fields.values()


# In: fields of a manifest or a command line ---------------------------------------------------------------


def test_everything_wrong_is_named_unknown_fields_included() -> None:
    """A line of a manifest is mended in one round."""
    with pytest.raises(ValidationError) as refusal:
        wire.build(
            "seedance2",
            {"promt": "A cat", "teamSlug": "blue", "negative_words": 1, "generate_audio": "false"},
        )

    assert ["promt", "teamSlug", "negative_words", "prompt", "generate_audio"] == [
        field for field, _ in refusal.value.problems
    ]
    reasons = dict(refusal.value.problems)
    assert "did you mean 'prompt'?" in reasons["promt"]
    assert "personal credits" in reasons["teamSlug"]
    assert "known are prompt, image_url" in reasons["negative_words"]


@pytest.mark.parametrize(
    ("model", "hint"), [("seedance-2", "'seedance2'"), ("sora", "gpt-image-2"), ("", "nano")]
)
def test_unknown_model_is_refused_with_a_hint(model: str, hint: str) -> None:
    """A near miss gets a suggestion, anything else the list."""
    with pytest.raises(ValidationError, match=hint):
        wire.build(model, {"prompt": "A cat"})


def test_null_counts_as_left_out() -> None:
    """An empty cell or an unset flag asks for the default."""
    fields = {"prompt": "A cat", "mode": None, "seed": None, "media_urls": None, "duration": None}

    assert Seedance2Video(prompt="A cat") == wire.build("seedance2", fields)


@given(st.sampled_from(["seedance2", "gpt-image-2", "nano-banana-pro"]), st.data())
def test_building_fails_only_as_promised(model: str, data: st.DataObject) -> None:
    """Any JSON object in a manifest becomes a request or a ``ValidationError``."""
    names = st.sampled_from(["prompt", "mode", "type", "duration", "media_urls", "image_urls", "seed"])
    fields = data.draw(st.dictionaries(names | st.text(), JSON))

    try:
        problems = [wire.encode(wire.build(model, fields))]
    except ValidationError as error:
        problems = [field.encode("utf-8", "replace") + b":" for field, _ in error.problems]

    assert all(problems)


# In: foreign bytes ----------------------------------------------------------------------------------------


UNTRUSTED = {
    "empty": (b"", "not JSON"),
    "cut": (b'{"id":"sd2_1","sta', "not JSON"),
    "html": (b"<!doctype html><title>502</title>", "not JSON"),
    "two-values": (b'{"id":"sd2_1"} {"id":"sd2_2"}', "not JSON"),
    "duplicate": (b'{"status":"completed","status":"failed"}', "'status' occurs twice"),
    "inner-duplicate": (b'{"a":[{"b":1,"b":1}]}', "'b' occurs twice"),
    "nan": (b'{"credits_used":NaN}', "NaN is not a number"),
    "infinity": (b'{"credits_used":-Infinity}', "-Infinity is not a number"),
    "overflow": (b'{"credits_used":1e999}', "out of range"),
    "long-integer": (b'{"credits_used":' + b"9" * 5000 + b"}", "number of 5000 digits"),
    "long-fraction": (b'{"credits_used":0.' + b"9" * 5000 + b"}", "out of range"),
    "abyss": (b"[" * 100_000, "nested too deeply"),
    "deep-arrays": (b"[" * 65 + b"]" * 65, "nested too deeply"),
    "deep-objects": (b'{"a":' * 65 + b"1" + b"}" * 65, "nested too deeply"),
    "utf-16": ('{"id":"sd2_1"}'.encode("utf-16"), "not UTF-8"),
    "latin-1": ('{"id":"\u00e4"}'.encode("latin-1"), "not UTF-8 at byte 7"),
    "huge": (b" " * (wire.MAX_BODY_BYTES + 1), "longer than 4194304 bytes"),
}


@pytest.mark.case(53, 54, 55, 56, 57, 61)
@pytest.mark.parametrize(("body", "reason"), UNTRUSTED.values(), ids=UNTRUSTED.keys())
def test_body_that_cannot_be_trusted_is_refused(body: bytes, reason: str) -> None:
    """One plain ``ValueError`` that says why, whatever the parser would have done."""
    with pytest.raises(ValueError, match=reason):
        wire.loads(body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'\xef\xbb\xbf{"id":"sd2_1"}', {"id": "sd2_1"}),
        (b'\r\n {"id" : "\\u732b"}\n', {"id": "\u732b"}),
        (b"null", None),
        (b"12345678901234567890", 12345678901234567890),
    ],
    ids=["byte-order-mark", "white-space", "null", "long-number"],
)
def test_unusual_but_clear_body_is_read(body: bytes, value: object) -> None:
    """What has one meaning is not refused for its looks."""
    assert value == wire.loads(body)


def test_nesting_up_to_the_limit_is_read() -> None:
    """The documented answers have three levels."""
    assert wire.loads(b"[" * wire.MAX_DEPTH + b"]" * wire.MAX_DEPTH)


@given(st.binary() | st.text().map(str.encode) | JSON.map(lambda value: json.dumps(value).encode()[:-1]))
def test_reading_bytes_fails_only_as_promised(body: bytes) -> None:
    """Any bytes are a value or a ``ValueError`` that says why."""
    try:
        reported = repr(wire.loads(body))
    except ValueError as error:
        reported = str(error)

    assert reported


@given(JSON)
def test_json_is_read_as_it_was_written(value: object) -> None:
    """The guards take nothing away from ordinary JSON."""
    assert value == wire.loads(json.dumps(value).encode())


@pytest.mark.parametrize("escape", ["\\ud83d", "\\uD83D", "\\udE00", "\\ude00\\ud83d"])
def test_an_answer_with_half_a_character_can_be_stored(escape: str) -> None:
    """A server that cuts a text inside an emoji; wherever it stands, the rest of the answer is kept."""
    body = f'{{"id": "sd2_1", "a {escape}": [{{"b": "cut {escape}"}}, 5, null]}}'.encode()
    halves = "\ufffd" * escape.count("u")

    assert wire.loads_answer(body) == {"id": "sd2_1", f"a {halves}": [{"b": f"cut {halves}"}, 5, None]}


def test_a_whole_character_in_an_answer_is_left_alone() -> None:
    """An emoji is two escapes; an escaped backslash before ``ud83d`` is text."""
    body = rb'["\ud83d\ude00", "C:\\ud83d"]'

    assert wire.loads_answer(body) == ["\U0001f600", r"C:\ud83d"]


def test_an_id_that_lost_a_character_is_none() -> None:
    """Mended, it would be the name of another task."""
    with pytest.raises(ValueError, match="task id"):
        wire.task(wire.loads_answer(rb'{"id": "sd2_\ud83d", "status": "processing"}'))


# In: answers ----------------------------------------------------------------------------------------------


def test_documented_video_task_is_understood() -> None:
    """Every field of the documents' example, and the rest in ``raw``."""
    task = wire.task(VIDEO_TASK)

    assert ("sd2_xxxxx", "completed", "seedance2") == (task.id, task.status, task.model)
    assert (30, 0, None) == (task.credits_used, task.credits_refunded, task.error)
    assert VideoOutput(video_url="https://v", last_frame_url="https://f", seed=123) == task.output
    assert datetime(2026, 6, 3, 10, 3, 12, tzinfo=UTC) == task.updated_at
    assert 192.0 == task.duration
    assert VIDEO_TASK == task.raw


@pytest.mark.case(69)
@pytest.mark.parametrize("task_id", ["sd2_1", "gpt2_1", "nbp_1", "other"])
def test_every_shape_of_output_is_read_under_every_id(task_id: str) -> None:
    """A result that was paid for is not lost to the shape of another family."""
    shapes = (VIDEO_TASK, GPT_TASK, NANO_TASK)
    video, gpt, nano = (wire.task({**shape, "id": task_id}) for shape in shapes)

    assert ("https://v", "https://f") == video.urls
    assert ("https://a", "https://b") == gpt.urls
    assert ("https://a",) == nano.urls
    assert ImageOutput(images=(OutputImage(url="https://a", provider_url="https://p"),)) == nano.output


@pytest.mark.parametrize(
    "output",
    [None, [], {}, "", 5, True, {"images": []}, {"images": None}, {"video_url": None}, [None, "", 5, {}]],
    ids=repr,
)
def test_output_without_a_url_is_no_output(output: object) -> None:
    """Whoever asks for ``output`` may rely on finding something to download in it."""
    assert wire.task({**VIDEO_TASK, "output": output}).output is None


def test_unusable_entries_do_not_hide_the_usable() -> None:
    """Three pictures of four are better than an error."""
    output = ["https://a", None, {"url": "https://b"}, {"url": 5}, "\ud800"]

    assert ("https://a", "https://b") == wire.task({**GPT_TASK, "output": output}).urls


@pytest.mark.case(64, 65)
@pytest.mark.parametrize(
    ("status", "reported"),
    [
        ("queued", "queued"),
        ("Completed", "Completed"),
        (None, ""),
        (5, "5"),
        (["completed"], "['completed']"),
    ],
    ids=repr,
)
def test_unknown_status_is_told_and_never_final(status: object, reported: str) -> None:
    """Neither done nor failed: the task is looked at again."""
    task = wire.task({**VIDEO_TASK, "status": status})

    assert (reported, False) == (task.status, task.is_final)


@pytest.mark.case(67)
@pytest.mark.parametrize(
    ("credits_", "understood"),
    [
        (30, 30),
        (0, 0),
        (8.8, 8.8),
        ("30", None),
        (None, None),
        (True, None),
        (-1, None),
        (10**30, None),
        ([30], None),
    ],
    ids=repr,
)
def test_credits_are_a_number_or_unknown(credits_: object, understood: float | None) -> None:
    """A price that cannot be read must neither be guessed nor cost the result."""
    task = wire.task({**VIDEO_TASK, "credits_used": credits_, "credits_refunded": credits_})

    assert (understood, understood) == (task.credits_used, task.credits_refunded)


@pytest.mark.parametrize("field", ["credits_used", "remaining_credits", "request_id", "model", "status"])
def test_missing_accounting_does_not_cost_a_submission(field: str) -> None:
    """By then the job is paid; the id is all that is needed to collect it."""
    answer = {"id": "nbp_1", "status": "processing", "model": "nano-banana-pro", "request_id": "kie_1"}

    submission = wire.submission({name: value for name, value in answer.items() if name != field})

    assert ("nbp_1", "nano-banana-pro") == (submission.id, submission.model)


@pytest.mark.case(71)
@pytest.mark.parametrize(
    "instant", ["yesterday", "2026-06-03T10:00:00", "", None, 1780480800, "99999-01-01T00:00:00Z"], ids=repr
)
def test_instant_without_a_clear_meaning_is_unknown(instant: object) -> None:
    """``raw`` keeps the text; a guess would teach the forecast wrong durations."""
    task = wire.task({**VIDEO_TASK, "created_at": instant})

    assert (None, None) == (task.created_at, task.duration)
    assert instant == task.raw["created_at"]


@pytest.mark.parametrize(
    ("error", "reported"),
    [
        (None, None),
        ("", None),
        ("content policy", "content policy"),
        ({"code": "moderation", "message": "refused"}, "moderation: refused"),
        ({"message": "refused"}, "refused"),
        ({"detail": "refused"}, "{'detail': 'refused'}"),
        ("half \ud800", "half \ufffd"),
    ],
    ids=repr,
)
def test_reason_of_a_failure_is_text(error: object, reported: str | None) -> None:
    """The documents show only null; whatever comes must be fit for a report."""
    assert reported == wire.task({**VIDEO_TASK, "status": "failed", "error": error}).error


def test_batch_starts_several_tasks() -> None:
    """Each picture is a task of its own, and was paid for."""
    submission = wire.submission(
        {"id": "gpt2_1", "batch_task_ids": ["gpt2_1", "gpt2_2"], "batch_success": 2, "batch_failed": 1}
    )

    assert (("gpt2_1", "gpt2_2"), 2, 1) == (
        submission.task_ids,
        submission.batch_success,
        submission.batch_failed,
    )


@pytest.mark.parametrize(
    ("batch", "task_ids", "counts"),
    [
        ({}, ("gpt2_1",), (None, None)),
        ({"batch_task_ids": None, "batch_success": None}, ("gpt2_1",), (None, None)),
        ({"batch_task_ids": [], "batch_failed": "1"}, ("gpt2_1",), (None, None)),
        ({"batch_task_ids": "gpt2_2"}, ("gpt2_1",), (None, None)),
        ({"batch_task_ids": ["gpt2_2", None, "gpt2_2", "", 5]}, ("gpt2_2",), (None, None)),
        ({"batch_success": ["gpt2_1", "gpt2_2"], "batch_failed": []}, ("gpt2_1",), (2, 0)),
    ],
    ids=["absent", "null", "empty", "text", "mixed", "lists"],
)
def test_strange_batch_still_yields_its_tasks(
    batch: dict[str, object], task_ids: tuple[str, ...], counts: tuple[int | None, int | None]
) -> None:
    """The documents name the fields and not their types."""
    submission = wire.submission({"id": "gpt2_1", **batch})

    assert task_ids == submission.task_ids
    assert counts == (submission.batch_success, submission.batch_failed)


@pytest.mark.case(51, 66)
@pytest.mark.parametrize("read", [wire.submission, wire.task], ids=["submission", "task"])
@pytest.mark.parametrize(
    "data",
    [
        {},
        {"id": None},
        {"id": ""},
        {"id": " "},
        {"id": 12},
        {"id": ["sd2_1"]},
        {"id": "\ud800"},
        {"Id": "sd2_1"},
    ],
    ids=repr,
)
def test_answer_without_a_usable_id_is_refused(read: Callable[[object], object], data: object) -> None:
    """Without an id nothing can be collected, so it must not pass for an answer."""
    with pytest.raises(ValueError, match=r"expected a task id @ \$\.id"):
        read(data)


@pytest.mark.case(52)
@pytest.mark.parametrize("read", [wire.submission, wire.task], ids=["submission", "task"])
@pytest.mark.parametrize("data", [None, [], "sd2_1", 5, True], ids=repr)
def test_answer_that_is_no_object_is_refused(read: Callable[[object], object], data: object) -> None:
    """A typed error, not an ``AttributeError`` from the depths."""
    with pytest.raises(ValueError, match=r"expected a JSON object @ \$"):
        read(data)


def test_what_is_ours_cannot_come_from_the_server() -> None:
    """The key is the one we sent; a field of that name in an answer is one more unknown field."""
    answer = {"id": "sd2_1", "idempotency_key": "theirs", "task_ids": ["sd2_9"], "raw": "theirs"}

    submission = wire.submission(answer)

    assert (None, ("sd2_1",), answer) == (submission.idempotency_key, submission.task_ids, submission.raw)


@pytest.mark.parametrize(
    "task_id", ["../../admin", "a b", "x" * 10_000, "sd2_\u732b"], ids=lambda text: text[:9]
)
def test_strange_but_usable_id_is_kept(task_id: str) -> None:
    """It was paid for; quoting it into a path is the caller's business."""
    assert task_id == wire.task({"id": task_id}).id


@given(st.dictionaries(st.sampled_from(TASK_FIELDS), JSON))
def test_nothing_beside_the_id_can_spoil_a_task(fields: dict[str, object]) -> None:
    """Whatever the other fields hold, the task is read and can be reported as UTF-8."""
    task = wire.task({**fields, "id": "sd2_1"})

    assert "sd2_1" == task.id
    assert json.dumps([task.status, task.model, task.error, task.urls], ensure_ascii=False).encode()


@given(st.dictionaries(st.sampled_from(SUBMISSION_FIELDS), JSON))
def test_nothing_beside_the_id_can_spoil_a_submission(fields: dict[str, object]) -> None:
    """Whatever the other fields hold, there is at least one task to wait for."""
    submission = wire.submission({**fields, "id": "sd2_1"})

    assert submission.task_ids
    assert all(task_id and task_id.encode() for task_id in submission.task_ids)
