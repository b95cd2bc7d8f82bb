"""The rules of the prompt guide, one a row: code, level, what each is about, and the function that finds it.

An error is certain, and refuses a line of a manifest. A warning is right nearly always, and on fewer than one
in ten of published prompts. A note is a matter of taste that is asked for by ``seedance prompt lint`` only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from attrs import frozen

from seedance_async.prompts import rules_fields, rules_media, rules_order, rules_style, rules_text
from seedance_async.prompts.findings import Hit, Level
from seedance_async.prompts.subject import Subject


@frozen
class Rule:
    """A rule about one prompt.

    Attributes:
        code: by which it is ignored.
        level: of what it finds, unless a hit says otherwise.
        about: what is wrong where it finds something.
        find: what it finds in a prompt.
        for_pictures: whether it holds for pictures, too, or for clips only.
    """

    code: str
    level: Level
    about: str
    find: Callable[[Subject], Iterator[Hit]]
    for_pictures: bool = False


RULES: Final = (
    Rule("P01", Level.ERROR, "raw id or URL", rules_text.raw_ids, for_pictures=True),
    Rule("P02", Level.ERROR, "label of another app", rules_text.foreign_labels, for_pictures=True),
    Rule("P03", Level.ERROR, "variable not filled in", rules_text.unfilled, for_pictures=True),
    Rule(
        "P04",
        Level.ERROR,
        "role for media that are not sent",
        rules_media.roles_without_media,
        for_pictures=True,
    ),
    Rule("P05", Level.ERROR, "edit or extension without a clip", rules_media.editing_without_a_clip),
    Rule("P06", Level.ERROR, "beat after the end", rules_fields.beats_too_late),
    Rule(
        "P07",
        Level.WARNING,
        "shape, size or length against the field",
        rules_fields.shape_in_words,
        for_pictures=True,
    ),
    Rule("P08", Level.WARNING, "camera move with a fixed lens", rules_fields.moves_of_a_fixed_lens),
    Rule("P09", Level.WARNING, "sound without audio", rules_fields.sound_without_audio),
    Rule("P10", Level.WARNING, "media without a role", rules_media.media_without_roles),
    Rule("P11", Level.WARNING, "leftover of copying, or JSON", rules_text.leftovers, for_pictures=True),
    Rule("P12", Level.WARNING, "shots out of number", rules_order.misnumbered),
    Rule("P13", Level.NOTE, "times where order would do", rules_order.needless_times),
    Rule("P14", Level.WARNING, "many moves in one sentence", rules_order.many_moves),
    Rule("P15", Level.WARNING, "praise in place of things seen", rules_style.praise, for_pictures=True),
    Rule("P16", Level.NOTE, "people who are placed nowhere", rules_style.nobody_placed),
    Rule("P17", Level.NOTE, "people who may be doubled", rules_style.doubles),
    Rule("P18", Level.NOTE, "drawn look not held", rules_style.look_not_held),
    Rule(
        "P19",
        Level.WARNING,
        "text forbidden and wanted",
        rules_style.text_forbidden_and_wanted,
        for_pictures=True,
    ),
    Rule("P20", Level.WARNING, "words about another job", rules_style.another_job, for_pictures=True),
)
CERTAIN: Final = tuple(rule for rule in RULES if rule.level is Level.ERROR)
"""The rules that refuse a line of a manifest."""

BATCH_RULES: Final = {"B01": "equal requests", "B02": "prompt near the limit"}
"""Rules that compare the jobs of a batch; see ``batch_lint``."""

CODES: Final = frozenset({*(rule.code for rule in RULES), *BATCH_RULES})
"""What may be ignored."""
