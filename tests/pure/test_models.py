"""Requests, kinds, answers and settings as values. What the vendor's tables say is tested in ``contract``."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_async.batch.jobs import JobResult
from seedance_async.batch.states import State
from seedance_async.errors import ConfigurationError, ValidationError
from seedance_async.models import (
    REQUEST_TYPES,
    GptImage2,
    ImageOutput,
    Kind,
    NanoBananaPro,
    OutputImage,
    RateLimit,
    Request,
    RetryPolicy,
    Seedance2Video,
    Submission,
    Task,
    Timeouts,
    VideoOutput,
)

if TYPE_CHECKING:
    from collections.abc import Callable

URL = "https://cdn.example.com/a.png"
JUNK: st.SearchStrategy[object] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.just(10**5000),
    st.floats(),
    st.text(st.characters()),
    st.binary(),
    st.lists(st.one_of(st.text(), st.integers(), st.none(), st.just(URL))),
    st.dictionaries(st.text(), st.integers()),
    st.tuples(),
    st.builds(object),
)


# Requests -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("media", "mode"),
    [
        ({}, "text-to-video"),
        ({"image_url": URL}, "image-to-video"),
        ({"image_url": URL, "end_image_url": URL}, "image-to-video"),
        ({"media_urls": [URL]}, "media-to-video"),
    ],
    ids=["none", "start-frame", "both-frames", "media"],
)
def test_mode_follows_from_the_media(media: dict[str, Any], mode: str) -> None:
    """The media say what is wanted; nobody has to say it twice."""
    assert mode == Seedance2Video(prompt="A cat", **media).mode


@pytest.mark.parametrize("request_type", [GptImage2, NanoBananaPro])
def test_type_follows_from_the_pictures(request_type: type[GptImage2 | NanoBananaPro]) -> None:
    """As the mode does, for the two models that make pictures."""
    without, with_picture = request_type(prompt="A cat"), request_type(prompt="A cat", image_urls=[URL])

    assert ("text-to-image", "image-to-image") == (without.type, with_picture.type)


def test_everything_wrong_is_said_at_once_in_the_order_of_the_fields() -> None:
    """One round of corrections has to be enough."""
    with pytest.raises(ValidationError) as refusal:
        Seedance2Video(
            prompt="ab",
            media_urls=[URL, "http://cdn.example.com/b.mp4"],
            mode="image-to-video",
            channel="real",
            duration=16,
            resolution="4k",
            seed=7,
        )

    assert refusal.value.problems == (
        ("prompt", "must have 3 to 10000 characters; got 2"),
        ("image_url", "is required for image-to-video"),
        ("media_urls", "[1] 'http://cdn.example.com/b.mp4' must be a public https URL, got http://"),
        ("media_urls", "belongs to media-to-video only; this is image-to-video"),
        ("duration", "must be a whole number of seconds from 4 to 15; got 16"),
        ("resolution", "'4k' is available with quality_tier='pro' only"),
        ("seed", "is not supported on the 'real' channel"),
    )


def test_frame_and_media_together_are_refused_under_the_frame() -> None:
    """A start frame beside media contradicts them; it is not dropped in silence."""
    with pytest.raises(ValidationError) as refusal:
        Seedance2Video(prompt="A cat", image_url=URL, media_urls=[URL])

    assert refusal.value.problems == (
        ("image_url", "belongs to image-to-video only; this is media-to-video"),
    )


def test_end_frame_alone_asks_for_the_start_frame() -> None:
    """An end frame says image-to-video; what is wrong is that its start is missing, not that it is there."""
    with pytest.raises(ValidationError) as refusal:
        Seedance2Video(prompt="A cat", end_image_url=URL)

    assert (("image_url", "is required for image-to-video"),) == refusal.value.problems


@pytest.mark.parametrize("duration", [8, "8"], ids=["int", "text"])
def test_duration_is_stored_as_a_number(duration: int | str) -> None:
    """An int, or a text of one; both are the same request."""
    request = Seedance2Video(prompt="A cat", duration=duration)

    assert 8 == request.duration
    assert Seedance2Video(prompt="A cat", duration=8) == request


@pytest.mark.parametrize("urls", [[URL], (URL,)], ids=["list", "tuple"])
def test_urls_are_stored_as_a_tuple(urls: list[str] | tuple[str, ...]) -> None:
    """A list changed afterwards must not change a request that was checked."""
    assert (URL,) == GptImage2(prompt="A cat", image_urls=urls).image_urls


def test_none_means_no_urls() -> None:
    """A backend that passes an optional list on need not unpack it."""
    assert () == GptImage2(prompt="A cat", image_urls=None).image_urls


def test_request_is_immutable_and_hashable() -> None:
    """What was checked stays as it was, and can stand in a set."""
    request = NanoBananaPro(prompt="A cat")

    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        request.prompt = "A dog"  # type: ignore[misc]  # the point of the test
    assert {request} == {NanoBananaPro(prompt="A cat")}


def test_unknown_field_cannot_be_given() -> None:
    """``provider`` and ``teamSlug`` must never be sent, so there is nowhere to put them."""
    with pytest.raises(TypeError, match="provider"):
        Seedance2Video(prompt="A cat", provider="kie")  # type: ignore[call-arg]  # the point of the test


def test_repr_shortens_the_prompt_and_hides_what_signs_a_url() -> None:
    """A request in a log must be readable, and must not open a private bucket."""
    shown = repr(Seedance2Video(prompt="x" * 9000, image_url=f"{URL}?X-Amz-Signature=s3cret"))

    assert "(9000 characters)" in shown
    assert len(shown) < 500
    assert "s3cret" not in shown


def test_repr_of_a_result_hides_what_signs_its_urls() -> None:
    """A task is what a program logs; whoever wants the URLs reads ``task.urls``."""
    signed = f"{URL}?signature=s3cret"
    clip = Task(id="sd2_1", output=VideoOutput(video_url=signed, last_frame_url=signed))
    picture = Task(id="nbp_1", output=ImageOutput(images=(OutputImage(url=signed, provider_url=signed),)))
    result = JobResult(name="boat", model="seedance2", state=State.SAVED, urls=(signed,))

    assert "s3cret" not in f"{clip} {picture} {result}"
    assert f"'{URL}?…'" in repr(clip)
    assert (signed, signed) == clip.urls


@pytest.mark.parametrize(
    "url", ["http://a.example.com/?sig=s3cret", "https://mia:s3cret@a.example.com/", "https://a b?s3cret"]
)
def test_refusal_of_a_url_hides_what_signs_it(url: str) -> None:
    """Neither may the message that refuses it."""
    with pytest.raises(ValidationError) as refusal:
        Seedance2Video(prompt="A cat", image_url=url)

    assert "s3cret" not in str(refusal.value)


@pytest.mark.parametrize("request_type", REQUEST_TYPES.values(), ids=REQUEST_TYPES.keys())
@given(data=st.data())
def test_construction_fails_only_as_promised(request_type: type[Request], data: st.DataObject) -> None:
    """Whatever is put into the fields: a valid request, or a ``ValidationError`` that names them."""
    names = [field.name for field in attrs.fields(request_type)]
    junk: dict[str, Any] = data.draw(st.dictionaries(st.sampled_from(names), JUNK))

    try:
        fine = repr(request_type(**{"prompt": "A cat", **junk}))
    except ValidationError as error:
        fine = "".join(name for name, _ in error.problems if name in names)

    assert fine


# Kinds ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (
            Seedance2Video(prompt="A cat", duration=9, channel="wild", quality_tier="pro", resolution="4k"),
            Kind(model="seedance2", quality_tier="pro", channel="wild", resolution="4k", seconds=9),
        ),
        (
            GptImage2(prompt="A cat", channel="economy", resolution="2K", batch_count=3),
            Kind(model="gpt-image-2", channel="economy", resolution="2K"),
        ),
        (NanoBananaPro(prompt="A cat"), Kind(model="nano-banana-pro", resolution="1K")),
    ],
    ids=["video", "gpt", "banana"],
)
def test_kind_holds_what_decides_duration_and_price(request_: Request, kind: Kind) -> None:
    """And nothing else: two prompts are one kind."""
    assert kind == request_.kind


def test_fallbacks_grow_coarser_until_nothing_is_left() -> None:
    """A kind never seen borrows from the nearest one that was."""
    kind = Seedance2Video(prompt="A cat").kind
    model = Kind(model="seedance2")
    tier = Kind(model="seedance2", quality_tier="standard")
    resolution = Kind(model="seedance2", quality_tier="standard", resolution="720p")

    assert (kind, attrs.evolve(kind, seconds=None), resolution, tier, model, Kind()) == kind.fallbacks
    assert (Kind(),) == Kind().fallbacks


@pytest.mark.parametrize(
    ("task_id", "model"),
    [
        ("sd2_abc", "seedance2"),
        ("gpt2_a_b", "gpt-image-2"),
        ("nbp_abc", "nano-banana-pro"),
        ("kie_abc", None),
        ("sd2", None),
        ("", None),
    ],
)
def test_prefix_of_a_task_id_names_the_model(task_id: str, model: str | None) -> None:
    """All that is known of a task that another program submitted."""
    assert Kind(model=model) == Kind.of_task_id(task_id)


# Answers --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "verdict"),
    [
        ("processing", (False, False, False)),
        ("completed", (True, True, False)),
        ("failed", (True, False, True)),
        ("queued", (False, False, False)),
        ("Completed", (False, False, False)),
        ("", (False, False, False)),
    ],
)
def test_only_the_two_documented_words_are_final(status: str, verdict: tuple[bool, ...]) -> None:
    """A word the documents do not know may still become a result."""
    task = Task(id="sd2_1", status=status)

    assert verdict == (task.is_final, task.is_completed, task.is_failed)


def test_urls_are_listed_whatever_the_shape() -> None:
    """A clip before its last frame, pictures in order, a provider's copy not at all."""
    video = VideoOutput(video_url="https://v", last_frame_url="https://f", seed=1)
    images = ImageOutput(
        images=(OutputImage(url="https://a", provider_url="https://p"), OutputImage(url="https://b"))
    )

    assert ("https://v", "https://f") == Task(id="sd2_1", output=video).urls
    assert ("https://a", "https://b") == Task(id="nbp_1", output=images).urls
    assert () == Task(id="sd2_1").urls


@pytest.mark.parametrize(
    ("status", "minute_started", "minute_ended", "duration"),
    [
        ("completed", 0, 3, 180.0),
        ("failed", 0, 3, 180.0),
        ("processing", 0, 3, None),
        ("completed", 3, 0, None),
        ("completed", None, 3, None),
        ("completed", 0, None, None),
    ],
)
def test_duration_is_told_once_final(
    status: str, minute_started: int | None, minute_ended: int | None, duration: float | None
) -> None:
    """A forecast must not learn from a task that still runs, nor from a clock that ran backwards."""
    created_at, updated_at = (
        None if minute is None else datetime(2026, 6, 3, 10, minute, tzinfo=UTC)
        for minute in (minute_started, minute_ended)
    )
    task = Task(id="sd2_1", status=status, created_at=created_at, updated_at=updated_at)

    assert duration == task.duration


def test_answers_are_compared_by_what_was_understood() -> None:
    """``raw`` is for reading: it counts neither for equality nor for the hash, and is not printed."""
    task = Task(id="sd2_1", raw={"secret": "s3cret"})
    submission = Submission(id="sd2_1", task_ids=("sd2_1",), raw={"secret": "s3cret"})

    assert {Task(id="sd2_1")} == {task}
    assert {Submission(id="sd2_1", task_ids=("sd2_1",))} == {submission}
    assert "s3cret" not in repr(task) + repr(submission)


# Settings -------------------------------------------------------------------------------------------------


def test_settings_have_the_documented_defaults() -> None:
    """Thirty requests in sixty seconds, as the vendor's German page says."""
    assert RateLimit() == RateLimit(requests=30, period=60.0)
    assert RateLimit() == RateLimit.parse("30/60")


@pytest.mark.parametrize(
    ("text", "requests", "period"), [("30/60", 30, 60.0), (" 5/2.5 ", 5, 2.5), ("1/0.5", 1, 0.5)]
)
def test_rate_limit_is_read_from_text(text: str, requests: int, period: float) -> None:
    """As an environment variable or a flag carries it."""
    assert RateLimit(requests=requests, period=period) == RateLimit.parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "30",
        "30/",
        "/60",
        "0/60",
        "30/0",
        "30/0.0009",
        "-1/60",
        "30/60/1",
        "30 per 60",
        "1e3/60",
        "\u0663/60",
    ],
)
def test_malformed_rate_limit_is_refused(text: str) -> None:
    """A typing error in the environment must not become another limit."""
    with pytest.raises(ConfigurationError):
        RateLimit.parse(text)


@pytest.mark.parametrize(
    ("setting", "field", "value"),
    [
        (RateLimit, "requests", 0),
        (RateLimit, "requests", True),
        (RateLimit, "requests", 2.5),
        (RateLimit, "period", 0),
        (RateLimit, "period", float("nan")),
        (RateLimit, "period", float("inf")),
        (Timeouts, "connect", -1),
        (Timeouts, "request", None),
        (Timeouts, "wait", 10**400),
        (Timeouts, "download_idle", "60"),
        (RetryPolicy, "max_server_errors", 0),
        (RetryPolicy, "first_wait", 0),
        (RetryPolicy, "max_wait", 0.5),
    ],
)
def test_setting_that_makes_no_sense_is_refused(
    setting: Callable[..., object], field: str, value: object
) -> None:
    """At once and by name, not when it first matters."""
    with pytest.raises(ConfigurationError, match=rf"\w+\.{field} must"):
        setting(**{field: value})


def test_waiting_may_be_without_end() -> None:
    """None is the one way to say it."""
    assert Timeouts(wait=None).wait is None
