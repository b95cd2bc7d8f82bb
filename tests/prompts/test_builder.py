"""Tests of the prompt builder: each form as the guide has it, and a prompt that fits its request."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_async import Job, NanoBananaPro, PromptBuilder, ValidationError, lint_prompt

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

PNG = "https://cdn.example/mira.png"
STYLE = "https://cdn.example/style.png"
MP4 = "https://cdn.example/walk.mp4"
USUAL = (
    "High detail, cinematic quality, natural motion, no deformation, no watermarks, no logos, no subtitles."
)
EDIT = "Strictly edit the supplied source video"
COMBINED = "Use the supplied style reference while strictly editing the supplied source video"
TWO = (
    "Use the first supplied picture as the courier. Use the second supplied picture as the street. They meet."
)
CHARACTERS = (
    "Use the supplied character reference (the first picture) as the lead. "
    "Use the supplied character reference (the second picture) as the clerk. They meet."
)
FRAMES = (
    "Use the supplied opening frame as the empty street. Use the supplied closing frame as the same street, "
    "flooded. It rains."
)
BARE = PromptBuilder().safeguards(usual=False)


def scene(text: str) -> PromptBuilder:
    """A builder whose prompt has nothing but what is asked for."""
    return PromptBuilder(text).safeguards(usual=False)


@pytest.mark.parametrize(
    ("builder", "prompt"),
    [
        (
            scene("She rides home").reference(PNG, kind="character"),
            "Use the supplied character reference as the lead. She rides home.",
        ),
        (
            scene("She rides home").reference(PNG, "the courier, in a red parka", kind="character"),
            "Use the supplied character reference as the courier, in a red parka. She rides home.",
        ),
        (
            scene("A street").reference(MP4, kind="camera motion"),
            "Match the supplied camera-motion reference. A street.",
        ),
        (
            scene("A street").reference(STYLE, kind="style"),
            "Use the supplied style reference throughout. A street.",
        ),
        (
            scene("A street").reference(PNG, "the corner shop"),
            "Use the supplied picture as the corner shop. A street.",
        ),
        (
            BARE.edit(MP4, replace={"the red car": "a white horse"}, keep="the light"),
            f"{EDIT}; replace the red car with a white horse while preserving the light.",
        ),
        (
            BARE.edit(MP4, replace={"a": "b", "c": "d"}),
            f"{EDIT}; replace a with b and replace c with d.",
        ),
        (BARE.edit(MP4, keep="the faces"), f"{EDIT}; preserving the faces."),
        (scene("The door opens").extend(MP4), "Continue from the supplied previous clip. The door opens."),
        (
            BARE.reference(STYLE, kind="style").edit(MP4, replace={"day": "night"}),
            f"{COMBINED}; replace day with night.",
        ),
        (
            scene("They meet").reference(PNG, "the courier").reference(STYLE, "the street"),
            TWO,
        ),
        (
            scene("They meet")
            .reference(PNG, kind="character")
            .reference(STYLE, "the clerk", kind="character"),
            CHARACTERS,
        ),
        (scene("It rains").opening(PNG), "It rains."),
        (
            scene("It rains").opening(PNG, "the empty street").closing(STYLE, "the same street, flooded"),
            FRAMES,
        ),
    ],
)
def test_a_form_reads_as_the_guides(builder: PromptBuilder, prompt: str) -> None:
    """Task wording, subject and role of assets, scene and action: one paragraph."""
    assert prompt == builder.prompt == builder.request().prompt


@pytest.mark.parametrize(
    ("builder", "mode", "media"),
    [
        (scene("It rains"), "text-to-video", (None, None, ())),
        (scene("It rains").opening(PNG), "image-to-video", (PNG, None, ())),
        (scene("It rains").opening(PNG).closing(STYLE), "image-to-video", (PNG, STYLE, ())),
        (
            scene("It rains").reference(PNG, "the lead").extend(MP4),
            "media-to-video",
            (None, None, (PNG, MP4)),
        ),
        (scene("It rains").opening(STYLE).opening(PNG), "image-to-video", (PNG, None, ())),
    ],
)
def test_media_go_into_their_fields_and_decide_the_mode(
    builder: PromptBuilder, mode: str, media: tuple[str | None, str | None, tuple[str, ...]]
) -> None:
    """The start into one, the end into another, all else into the list."""
    request = builder.request(duration=9, aspect_ratio="9:16")

    assert (mode, *media) == (request.mode, request.image_url, request.end_image_url, request.media_urls)
    assert (9, "9:16") == (request.duration, request.aspect_ratio)


def test_links_and_local_files_are_media(tmp_path: Path) -> None:
    """As in every other request."""
    sheet = Job(NanoBananaPro(prompt="A sheet of Mira"), name="sheet")
    linked = scene("It rains").reference(sheet.link("image"), "the lead").request()
    local = scene("It rains").opening(tmp_path / "a.png").request()

    assert ("$sheet.image",) == linked.media_urls
    assert str(tmp_path / "a.png") == local.image_url
    assert linked.prompt.startswith("Use the supplied picture as the lead.")


def test_several_shots_are_three_parts_in_order() -> None:
    """Setup and roles, the shots, style and constraints."""
    builder = (
        PromptBuilder("A harbour at dawn")
        .reference(PNG, "the courier")
        .shots("she rides in.", "She stops at the bridge")
        .shots("the bridge opens")
        .style("low sun", "long shadows")
        .camera("one slow move a shot")
    )

    setup, shots, style = builder.prompt.split("\n\n")
    assert "Use the supplied picture as the courier. A harbour at dawn." == setup
    assert ["Shot 1: She rides in.", "Shot 2: She stops at the bridge.", "Shot 3: The bridge opens."] == (
        shots.splitlines()
    )
    assert style.startswith("One slow move a shot. Low sun, long shadows. High detail")


def test_people_are_counted_and_placed() -> None:
    """Against doubles, left and right clearly."""
    builder = scene("A ring at night").people(left="the boxer in red", right="the boxer in blue")

    first, second, *_ = builder.prompt.split("; ")
    assert "Exactly two people: the boxer in red on the left, the boxer in blue on the right" == first
    assert "nobody appears twice and there is no extra figure. A ring at night." == second
    assert "Exactly three people" in builder.people(background="the judge").prompt


@pytest.mark.parametrize("drawn", [None, True])
def test_a_drawn_look_is_anchored_throughout(drawn: bool | None) -> None:
    """One that is not drawn is named."""
    look = ("2D cel animation", "flat colours") if drawn is None else ("flat shapes", "flat colours")
    builder = scene("A girl runs").style(*look, drawn=drawn)

    first = look[0][0].upper() + look[0][1:]
    said = f"A girl runs. {first} throughout, flat colours; the same drawn look in every frame."
    assert said == builder.prompt
    assert "throughout" not in scene("A girl runs").style("low sun", "dust").prompt


def test_the_usual_safeguards_are_said_as_far_as_they_apply() -> None:
    """None forbids what is wanted."""
    assert f"A street at night. {USUAL}" == PromptBuilder("A street at night").prompt
    assert "stable faces" in PromptBuilder("She waves").prompt
    assert "stable faces" not in PromptBuilder("A street at night").prompt
    assert "no subtitles" not in PromptBuilder("A street").sign("OPEN", "the door").prompt
    assert "no subtitles" not in PromptBuilder('A sign reads "OPEN"').prompt
    assert "no logos" not in PromptBuilder("A van with the brand's logo").prompt
    assert "cinematic quality" not in PromptBuilder("A girl runs").style("anime").prompt
    assert "A street." == PromptBuilder("A street").safeguards(usual=False).prompt
    fingers = PromptBuilder("A street").safeguards("five fingers a hand", usual=False)
    assert "A street. Five fingers a hand." == fingers.prompt


def test_a_camera_that_stands_still_is_said_and_sent() -> None:
    """Words and field are one decision."""
    still = scene("A street").camera()

    assert (True, "A street. Locked camera, the lens stays still.") == (
        still.request().fixed_lens,
        still.prompt,
    )
    assert not scene("A street").camera("slow push in").request().fixed_lens


REFUSED: list[tuple[Callable[[], object], str]] = [
    (lambda: scene("A street").camera("slow push in").request(fixed_lens=True), "fixed_lens"),
    (lambda: scene("A street").camera().request(fixed_lens=False), "fixed_lens"),
    (lambda: scene("A street, slow dolly in").request(fixed_lens=True), "prompt"),
    (lambda: scene("Continue from the supplied previous clip").request(), "prompt"),
    (lambda: scene("Use the supplied picture as the lead").request(), "prompt"),
    (lambda: scene("A street").request(mode="text-to-video"), "mode"),
    (lambda: scene("A street").request(prompt="Another"), "prompt"),
    (lambda: scene("A street").request(duration=40), "duration"),
    (lambda: scene("A street").closing(PNG).request(), "image_url"),
    (lambda: scene("A street").opening(PNG).extend(MP4).request(), "image_url"),
    (lambda: scene("A street").opening("http://cdn.example/a.png"), "medium"),
    (lambda: scene("A street").opening("$shot.video"), "medium"),
    (lambda: scene("A street").reference(PNG), "role"),
    (lambda: scene("A street").reference(PNG, "x", kind="colour"), "kind"),
    (lambda: scene("A street").edit(MP4), "replace"),
    (lambda: scene("A street").edit(MP4, replace={"": "b"}), "replace"),
    (lambda: scene("A street").shots(), "shots"),
    (lambda: scene("A street").shots("a", ""), "shots"),
    (lambda: scene("A street").people(above="a bird"), "above"),
    (lambda: scene("A street").people(left=""), "left"),
    (lambda: scene("A street").style(), "style"),
    (lambda: scene("A street").sign(""), "what"),
    (lambda: PromptBuilder(5), "scene"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("place", range(len(REFUSED)), ids=lambda place: f"{place}-{REFUSED[place][1]}")
def test_what_does_not_fit_is_refused_by_name(place: int) -> None:
    """Before a request is spent on it."""
    build, field = REFUSED[place]
    with pytest.raises(ValidationError) as caught:
        build()

    assert field in [name for name, _ in caught.value.problems]


def test_a_builder_is_a_value() -> None:
    """One may be the start of many."""
    start = PromptBuilder("A harbour").style("low sun")
    first, second = start.camera("slow push in"), start.extend(MP4)

    assert start == PromptBuilder("A harbour").style("low sun")
    assert first != second
    assert "push" not in second.prompt


SCENES = st.sampled_from(
    [
        "A courier rides through a harbour street at dawn",
        "Rain falls on an empty tram stop; a cat waits",
        "Eine Frau öffnet das Fenster und lacht",
        "雨中的街道,一只猫在等车",
        'A sign above the door reads "OPEN"',
        "She turns and calls {Wait for me!}",
        "A boxing ring under one lamp",
    ]
)
PEOPLE = st.fixed_dictionaries(
    {},
    optional={
        "left": st.just("a boxer in red"),
        "right": st.just("a boxer in blue"),
        "centre": st.just("the judge"),
    },
)
LOOKS = st.sampled_from(
    [(), ("anime",), ("2D cel animation", "ink outlines"), ("low sun", "dust in the light"), ("gouache",)]
)
MEDIA = st.sampled_from(
    ["none", "opening", "both", "character", "two", "style", "motion", "edit", "extend", "combined"]
)


def with_media(builder: PromptBuilder, media: str) -> PromptBuilder:
    """A builder with some media."""
    forms: dict[str, Callable[[PromptBuilder], PromptBuilder]] = {
        "none": lambda start: start,
        "opening": lambda start: start.opening(PNG),
        "both": lambda start: start.opening(PNG).closing(STYLE, "the same street at night"),
        "character": lambda start: start.reference(PNG, kind="character"),
        "two": lambda start: start.reference(PNG, "the lead").reference(STYLE, "the street"),
        "style": lambda start: start.reference(STYLE, kind="style"),
        "motion": lambda start: start.reference(MP4, kind="camera motion"),
        "edit": lambda start: start.edit(MP4, replace={"the tram": "a boat"}, keep="the light"),
        "extend": lambda start: start.extend(MP4),
        "combined": lambda start: start.reference(STYLE, kind="style").edit(MP4, keep="the faces"),
    }
    return forms[media](builder)


@given(
    scene=SCENES, media=MEDIA, people=PEOPLE, look=LOOKS, shots=st.integers(0, 4),
    move=st.sampled_from(["", "still", "slow push in"]), sign=st.booleans(),
)  # fmt: skip
def test_whatever_is_built_is_clean(
    scene: str,
    media: str,
    people: dict[str, str],
    look: tuple[str, ...],
    shots: int,
    move: str,
    sign: bool,
) -> None:
    """The builder writes nothing that the linter has something to say about."""
    builder = with_media(PromptBuilder(scene), media)
    builder = builder.people(**people) if people else builder
    builder = builder.style(*look) if look else builder
    builder = (
        builder.shots(*[f"she passes house number {number}" for number in range(shots)]) if shots else builder
    )
    builder = builder.camera(None if move == "still" else move) if move else builder
    builder = builder.sign("NORTH QUAY", "the enamel plate") if sign else builder

    assert () == lint_prompt(builder.request())
