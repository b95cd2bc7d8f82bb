"""Tests of the rules of the prompt guide: what each finds, and what looks alike and stays clean."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_async import Finding, GptImage2, NanoBananaPro, Seedance2Video, ValidationError, lint_prompt
from seedance_async.cli.demo_jobs import JOBS
from seedance_async.prompts.findings import excerpt
from seedance_async.prompts.fixes import fixed_text
from seedance_async.prompts.table import CODES, RULES

if TYPE_CHECKING:
    from seedance_async import Request

PNG = "https://cdn.example/mira.png"
PNG_2 = "https://cdn.example/street.png"
MP4 = "https://cdn.example/walk.mp4"
UNKNOWN = "https://cdn.example/files/81"

Case = str | tuple[str, dict[str, Any]]

FINDS: dict[str, list[Case]] = {
    "P01": [
        "The clip at https://cdn.example/a.mp4 goes on", "sd2_9f3k2j1h walks in",
        "8993a3ce-444a-414b-9800-6798a9c997eb turns around", "asset-20260224200602-qn7wr is the lead",
        "如同 https://cdn.example/a.png 中的女子",
    ],
    "P02": [
        "@Image1 turns around", "The woman in @image 2 nods", "<<<Image3>>> opens the door",
        "@video1 sets the camera's motion", "参考 @Image1 的女孩走进雨中",
    ],
    "P03": [
        "A {color} kite over the beach", "A kite over {city_name}", "Un cerf-volant sur {ville_2}",
        "[insert name] walks into the bar", "The [SUBJECT_DESCRIPTION] turns around",
        "A bottle of [your product] on ice", "Hello ${name}, says the robot", "A {{colour}} boat",
        "None", " nan ", "undefined", "[object Object]", "...", "   ", "#NAME?", "#DIV/0!", "#WERT!",
        "Err:508", '=CONCATENATE(A1; " boat")', "=A1&B1", '="A boat"',
    ],
    "P04": [
        ("Use the supplied character reference as the lead", {}),
        ("The woman of the first supplied picture turns around", {}),
        ("Match the attached camera reference", {}),
    ],
    "P05": [
        ("Continue from the supplied previous clip", {}),
        ("Continue from the previous clip: she opens the door", {"media_urls": [PNG]}),
        ("Strictly edit the supplied source video; replace the car with a horse", {"image_url": PNG}),
        ("Extend the previous clip", {"image_url": "$shot-1.last_frame"}),
    ],
    "P06": [
        ("12–15 s: she waves", {"duration": 5}),
        ("A street.\n[00:00-00:05] rain\n[00:05-00:09] sun", {"duration": 8}),
        ("0-3秒：走路。3-6秒：跑步。", {"duration": 5}),
        ("She sits down. From 4 to 7 seconds: she reads.", {"duration": 5}),
        ("A dancer turns. 8 s: she stops.", {"duration": 5}),
    ],
    "P07": [
        ("A vertical 9:16 shot of a waterfall", {}),
        ("A vertical video of a waterfall", {}),
        ("A waterfall in 1080p", {}),
        ("A 20-second video of a waterfall", {"duration": 10}),
        ("瀑布，竖屏 9:16", {}),
    ],
    "P08": [
        ("A tram stops. Slow dolly in.", {"fixed_lens": True}),
        ("The camera glides past the houses", {"fixed_lens": True}),
        ("A harbour; the camera orbits a boat", {"fixed_lens": True}),
    ],
    "P09": [
        ("She says: 'Go.'", {"generate_audio": False}),
        ('He whispers, "now", and runs', {"generate_audio": False}),
        ("Elle se retourne {Attends-moi !} et court", {"generate_audio": False}),
        ("A parade with upbeat music", {"generate_audio": False}),
    ],
    "P10": [
        ("She walks down the street in the rain", {"media_urls": [PNG]}),
        ("A courier rides through the town at dawn", {"media_urls": [PNG, PNG_2]}),
    ],
    "P11": [
        "Prompt👇 A kite over the beach", "Video prompt: a kite over the beach",
        "A kite over the beach --ar 16:9 --v 6",
        '{"shot": "a kite", "camera": "static"}',
        "```\nA kite over the beach\n```", "A kite over the beach. Negative prompt: blur, people",
    ],
    "P12": [
        "Shot 1: a street. Shot 3: a door.", "Shot 1: a street.\nShot 2: a door.\nShot 2: a room.",
        "镜头1：街道。镜头3：门。", "Scene: a street\nScene: a door\nScene: a room of the house",
    ],
    "P13": [
        "0–2 s: a street in the fog. 2–4 s: a door opens.",
        "[00:00-00:02] fog\n[00:02-00:05] a lamp is lit",
    ],
    "P14": ["A mix of orbits, whip pans and a dolly around the car"],
    "P15": [
        "An epic, ultra-detailed, cinematic shot of a cat",
        "A cat, 8K, masterpiece, best quality, on a roof",
    ],
    "P16": ["Two boxers fight in a ring", "Three women talk on a bench"],
    "P17": ["Three girls dance in the rain", "Twins walk through a forest of birches"],
    "P18": ["Anime. A girl runs through the rain", "A fox asleep on a roof, watercolour"],
    "P19": [
        'No text. The sign reads "OPEN" above the door',
        'A bottle whose label says "SOLE", without any text on the wall',
        "A van with the brand's logo on its door, no logos anywhere",
    ],
    "P20": [
        "The same woman as before walks on", "She wears the coat as in the previous clip",
    ],
}  # fmt: skip

STAYS_CLEAN: dict[str, list[Case]] = {
    "P01": [
        'A billboard that reads "https://example.com" above the road',
        "A card with the number sd2 on it, sun-bleached and well-worn, half-torn, sea-green",
        "An asset manager signs a paper",
    ],
    "P02": [
        "A phone shows the handle '@image1' on its screen", "Write to anna@image1.example, says the poster",
        "The first picture on the wall falls down", "@anna waves at the camera",
    ],
    "P03": [
        "She calls {Stop} and runs", "He whispers {go} and she runs", "She waves, {hello}, and runs",
        "Elle crie {attends}", "[Opening] A street. [WIDE SHOT] A door.",
        '{"shot": "a kite"}',
        "An array [A] on the blackboard",
        "None of them moves", "Nan bakes a cake", "A sign that reads #1!", "#sunset over a harbour",
        "= a boat =",
    ],
    "P04": [
        ("A reference book lies on the desk", {}),
        ("A letter with an attached photo falls from the shelf", {}),
        ("The chef follows the recipe supplied by his mother", {}),
        ("Use the supplied character reference as the lead", {"media_urls": [PNG]}),
        "Use the supplied character reference as the lead",
    ],
    "P05": [
        ("Continue from the supplied previous clip", {"media_urls": [MP4]}),
        ("Continue from the supplied previous clip", {"media_urls": ["$shot-1.video"]}),
        ("The path continues from the previous bend to the shore", {}),
        ("She edits the film at a steel table", {}),
    ],
    "P06": [
        ("After 20 years she waves again", {"duration": 5}),
        ("The market opens from 12:00-15:00 in the heat", {"duration": 5}),
        ("A car reaches 100 in 3-8 seconds, says the engineer", {"duration": 5}),
        ("0–2 s: fog. 2–5 s: a lamp.", {"duration": 5}),
        ("Exit 12: a truck stops", {"duration": 5}),
        "12-15 s: she waves",
    ],
    "P07": [
        ("A vertical cliff above the sea", {}),
        ("The clock shows 9:16 above the door", {}),
        ("At 9:16 pm the train leaves", {}),
        ("A 9:16 frame with a safe area for 16:9", {}),
        ("A vertical 9:16 shot", {"aspect_ratio": "9:16"}),
        ("A vertical 9:16 shot", {"aspect_ratio": "adaptive"}),
        ("A three-second pause before he answers", {}),
        "A vertical 9:16 shot",
    ],
    "P08": [
        ("A tram passes from left to right, tracking along the quay", {"fixed_lens": True}),
        ("A cook shakes a frying pan", {"fixed_lens": True}),
        ("Locked camera, no zoom, no pan left", {"fixed_lens": True}),
        ("The camera never moves; no pans, zooms or tilts up", {"fixed_lens": True}),
        ("A tram stops. Slow dolly in.", {}),
    ],
    "P09": [
        ('The sign says "OPEN"', {"generate_audio": False}),
        ("She says: 'Go.'", {}),
        ("No music, no dialogue: only a hand on a table", {"generate_audio": False}),
    ],
    "P10": [
        ("Use the supplied picture as the lead", {"media_urls": [PNG]}),
        ("First picture: the lead; second: the street", {"media_urls": [PNG, PNG_2]}),
        ("She walks down the street in the rain", {"image_url": PNG}),
        ("Elle marche dans la rue sous la pluie", {"media_urls": [PNG]}),
    ],
    "P11": [
        "A terminal shows a blinking prompt: green letters in the dark",
        "A stage prompter whispers from below",
        'A screen shows {"status": "ok"} in green letters',
        "A well-known--if old--harbour",
    ],
    "P12": [
        "Shot 1: a street. Shot 2: a door. Shot 3: a room.", "Shot 1-2: a street. Shot 4: a door.",
        "A three-shot of the sisters, as in shot 2 of the old film",
        "Scene 1: dusk. Shot 1: a street. Shot 2: a door. Scene 2: night. Shot 1: a room.",
        "Shot 4: a street. Shot 5: a door.", "First a street, then a door, then a room",
    ],
    "P13": [
        "0–2 s: she dances. 2–4 s: the beat drops and she stops.", "Shot 1: a street. Shot 2: a door.",
        "4 s: a door opens.",
    ],
    "P14": [
        "The camera pushes in, then pans left, then tilts up to the sky",
        "Slow push in. Later a pan left. At last the camera rises.",
    ],
    "P15": [
        "A cinematic shot of a glass train crossing a snowy mountain bridge",
        "High detail, cinematic quality, stable faces, natural motion",
        "Low sun, long shadows, dust in the light, an epic valley",
    ],
    "P16": [
        "The boxer in red on the left, two boxers behind him", "A crowd of people; two men dance",
        "Two cats fight in a ring",
    ],
    "P17": [
        "Exactly three girls dance, no extra figure",
        "Two sisters, one in red and the other in blue, walk home", "A crowd around three dancers",
    ],
    "P18": [
        "2D cel animation throughout, flat colours, ink outlines: a girl runs",
        "An anime poster hangs on the wall of a small room", "Anime style girl, anime background",
        "Photorealistic, not a cartoon: a girl runs through the rain",
    ],
    "P19": [
        'No subtitles; the only text is "OPEN" on the sign',
        "No text anywhere on the walls of the station",
        'No text. She says "Go" and leaves',
        "A van without logos passes the station",
    ],
    "P20": [
        "Rain falls. The same street at night, empty",
        "Shot 1: a woman in red. Shot 2: the same woman as before, indoors.",
        ("She walks on as in the previous clip", {"media_urls": [MP4]}),
        "A photo of the last job he had lies on the table",
        "Continue from the previous clip: the door opens",
    ],
}  # fmt: skip


def codes(case: Case) -> set[str]:
    """What a case is told: a text alone, or a text with the fields of its clip."""
    if isinstance(case, str):
        return {finding.code for finding in lint_prompt(case)}
    text, fields = case
    return {finding.code for finding in lint_prompt(Seedance2Video(prompt=text, **fields))}


def cases(table: dict[str, list[Case]]) -> list[Any]:
    """Each case with its rule."""
    return [
        pytest.param(code, case, id=f"{code}-{place}")
        for code in table
        for place, case in enumerate(table[code])
    ]


def test_every_rule_is_tried_both_ways() -> None:
    """A rule without near misses nags, and one without finds is no rule."""
    assert {rule.code for rule in RULES} == set(FINDS) == set(STAYS_CLEAN)


@pytest.mark.parametrize(("code", "case"), cases(FINDS))
def test_a_rule_finds(code: str, case: Case) -> None:
    """What it is there for."""
    assert code in codes(case)


@pytest.mark.parametrize(("code", "case"), cases(STAYS_CLEAN))
def test_a_rule_leaves_alone_what_looks_alike(code: str, case: Case) -> None:
    """Its false alarms are why people switch linters off."""
    assert code not in codes(case)


VENDORS: list[Request] = [
    Seedance2Video(prompt="A cinematic shot of a glass train crossing a snowy mountain bridge"),
    GptImage2(prompt="Editorial product photo of a transparent running shoe on chrome", aspect_ratio="1:1"),
    NanoBananaPro(prompt="A premium packaging mockup for an AI video studio", image_size="1:1"),
    Seedance2Video(prompt="Use the supplied character reference as the lead...", media_urls=[PNG]),
    Seedance2Video(prompt="Match the supplied camera-motion reference...", media_urls=[MP4]),
    Seedance2Video(
        prompt="Strictly edit the supplied source video; replace X with Y while preserving Z.",
        media_urls=[MP4],
    ),
    Seedance2Video(prompt="Continue from the supplied previous clip...", media_urls=[MP4]),
    Seedance2Video(
        prompt="Use the supplied style reference while strictly editing the supplied source video...",
        media_urls=[PNG, MP4],
    ),
    Seedance2Video(
        prompt="A lake. High detail, cinematic quality, stable faces, natural motion, no deformation, "
        "no watermarks, no logos, no subtitles."
    ),
]


@pytest.mark.parametrize(
    "request_", [*VENDORS, *(job.request for job in JOBS)], ids=lambda each: each.prompt[:40]
)
def test_the_vendors_examples_and_the_demos_prompts_are_clean(request_: Request) -> None:
    """A linter that finds fault with the guide itself is wrong."""
    assert () == lint_prompt(request_)


def test_a_finding_says_where_and_what_stands_there() -> None:
    """An editor can mark it."""
    text = "A street.\n12-15 s: she waves"
    (finding,) = lint_prompt(Seedance2Video(prompt=text))

    start, end = finding.place
    assert ("P06", "error", "12-15") == (finding.code, finding.level, text[start:end])
    assert finding.excerpt == "12-15"
    assert "15 s" in finding.reason
    assert "P06 error: '12-15' ends at 15 s" in str(finding)
    assert finding.to_dict()["level"] == "error"


def test_a_url_that_may_be_a_clip_makes_a_warning_of_the_error() -> None:
    """An error is certain, or it is none."""
    (finding,) = lint_prompt(Seedance2Video(prompt="Continue from the previous clip", media_urls=[UNKNOWN]))

    assert ("P05", "warning") == (finding.code, finding.level)


def test_errors_come_first() -> None:
    """Whoever reads one line reads that one."""
    found = lint_prompt(Seedance2Video(prompt="An epic, ultra-detailed, cinematic @Image1 of two boxers"))

    assert ["error", "warning", "note", "note"] == [finding.level for finding in found]


@pytest.mark.parametrize("ignore", ["P02", "-P02", ["P02"], "p02,P15", ["-P02", "P18"]])
def test_a_rule_can_be_left_out(ignore: str | list[str]) -> None:
    """In each form that a flag, a line or a program writes it in."""
    assert () == lint_prompt("@Image1 turns around", ignore=ignore)


@pytest.mark.parametrize(
    ("call", "named"),
    [
        ({"prompt": 5}, "prompt"),
        ({"prompt": "A boat", "ignore": "P21"}, "ignore"),
        ({"prompt": "A boat", "ignore": 5}, "ignore"),
        ({"prompt": "A boat", "model": "seedance"}, "model"),
    ],
)
def test_arguments_are_checked(call: dict[str, Any], named: str) -> None:
    """Silence about a mistyped rule would be taken for a clean prompt."""
    with pytest.raises(ValidationError) as caught:
        lint_prompt(**call)

    assert [named] == [field for field, _ in caught.value.problems]


def test_pictures_are_not_held_to_the_rules_of_clips() -> None:
    """Nobody is doubled in motion, and no lens moves, where nothing does."""
    text = "Two boxers, anime, slow pan. 0-2 s: a ring. 2-4 s: a bell."

    assert () == lint_prompt(NanoBananaPro(prompt=text))
    assert () == lint_prompt(text, model="gpt-image-2")
    assert {"P13", "P16", "P17", "P18"} == {finding.code for finding in lint_prompt(text)}


def test_a_pictures_shape_and_roles_are_compared_too() -> None:
    """By the field's own name."""
    found = lint_prompt(NanoBananaPro(prompt="A 16:9 poster of the supplied picture", image_size="3:4"))

    assert ["P04", "P07"] == [finding.code for finding in found]
    assert "image_size is '3:4'" in found[1].reason
    assert "image_urls" in found[0].reason


@pytest.mark.parametrize(
    "text",
    [
        "Zwei Boxer kämpfen in einem Ring, und die Kamera schwenkt langsam nach links",
        "Deux danseuses tournent dans la rue, style anime, sous la pluie de novembre",
        "两个拳击手在擂台上打斗，电影感，超清，8K",
        "Dos boxeadores luchan en el ring con la luz de la tarde, epic cinematic 8K",
        "二人のボクサーがリングで戦う。アニメ調。",
    ],
)
def test_the_words_rules_speak_english_only(text: str) -> None:
    """What a word means in another language, no list of English words knows."""
    assert () == lint_prompt(Seedance2Video(prompt=text, fixed_lens=True))


@pytest.mark.parametrize(
    "text", ["\n" + " " * 9_990, "the " * 2_400, "[" * 9_000, "{a" * 4_900, "0-" * 4_900, "two " * 2_400]
)
def test_no_text_takes_long(text: str) -> None:
    """A pattern that goes back and forth over ten thousand characters would stop a batch."""
    lint_prompt(text)


def test_every_code_is_told_what_it_is_about() -> None:
    """One row each, in their order."""
    assert [f"P{number:02}" for number in range(1, 21)] == [rule.code for rule in RULES]
    assert {"B01", "B02"} == CODES - {rule.code for rule in RULES}
    assert all(rule.about and rule.find.__doc__ and rule.code in rule.find.__doc__ for rule in RULES)


def test_a_finding_is_a_value() -> None:
    """Two that say the same are the same."""
    assert isinstance(lint_prompt("@Image1 waves")[0], Finding)
    assert lint_prompt("@Image1 waves") == lint_prompt("@Image1 waves")


PIECES = st.sampled_from(
    [
        "@Image1", "<<<Video2>>>", "{color}", "{Stop!}", "[insert name]", "Shot 1:", "Shot 3:", "0-2 s:",
        "12–15秒", "[00:05-00:09]",
        "no text", 'reads "OPEN"', "two boxers", "anime", "epic", "8K", "slow pan", "dolly in",
        "--ar 16:9", "Prompt:", "```", "9:16",
        "the supplied clip", "continue from the previous clip", "says: 'Go.'", "镜头1：", "\n", ". ", ", ",
        "“", "”", "🎬", "İ", "ß",
    ]
)  # fmt: skip


@given(text=st.lists(PIECES | st.text(max_size=8), min_size=1, max_size=14).map(" ".join))
def test_any_text_is_looked_at_and_each_place_is_in_it(text: str) -> None:
    """Whatever somebody pastes, no rule and no fix fails at it."""
    found = lint_prompt(text)

    for finding in found:
        start, end = finding.place
        assert 0 <= start <= end <= len(text)
        assert finding.excerpt == excerpt(text, start, end)
    assert len(fixed_text(text, found)) <= len(text) + 60 * len(found)
