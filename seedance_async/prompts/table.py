"""Table of the rules of the prompt guide: code, level, subject, and the function that finds violations.

An error is certain, and a batch refuses the manifest's line. A warning is nearly always right, and applies to
fewer than one in ten published prompts. A note is a matter of taste; only ``seedance prompt lint`` shows it.
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
        code: the name by which it can be switched off.
        level: of its findings, unless a hit has its own.
        about: short description of what it finds.
        find: yields its hits in a prompt.
        for_pictures: whether it applies to pictures as well, or only to clips.
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
        "ratio, size or length against the field",
        rules_fields.shape_in_words,
        for_pictures=True,
    ),
    Rule("P08", Level.WARNING, "camera move with a fixed lens", rules_fields.moves_of_a_fixed_lens),
    Rule("P09", Level.WARNING, "sound without audio", rules_fields.sound_without_audio),
    Rule("P10", Level.WARNING, "media without a role", rules_media.media_without_roles),
    Rule("P11", Level.WARNING, "leftover of copying, or JSON", rules_text.leftovers, for_pictures=True),
    Rule("P12", Level.WARNING, "shot numbers out of order", rules_order.misnumbered),
    Rule("P13", Level.NOTE, "times where order is enough", rules_order.needless_times),
    Rule("P14", Level.WARNING, "many moves in one sentence", rules_order.many_moves),
    Rule("P15", Level.WARNING, "praise instead of description", rules_style.praise, for_pictures=True),
    Rule("P16", Level.NOTE, "people without places", rules_style.people_without_places),
    Rule("P17", Level.NOTE, "people who may be duplicated", rules_style.possible_duplicates),
    Rule("P18", Level.NOTE, "drawn look named only once", rules_style.look_named_once),
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
"""All codes; each can be switched off."""
