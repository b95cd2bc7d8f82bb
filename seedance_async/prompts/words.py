"""Words and patterns that the rules for English prompts go by. Data only.

They speak for English and for no other language: a rule that needs one of them asks first whether the prompt
is English. What is a matter of structure (labels, braces, times, numbers of shots) is next to its rule.
"""

from __future__ import annotations

import re
from functools import cached_property
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator


class Words:
    """Words that a text is searched for, whole and in any letter case.

    The pattern is compiled when it is first asked for: most commands look at no prompt, and start sooner.

    Args:
        words: which may be patterns themselves.
    """

    def __init__(self, *words: str) -> None:
        self._words = words

    @cached_property
    def _pattern(self) -> re.Pattern[str]:
        return re.compile(rf"(?<![\w'’-])(?:{'|'.join(self._words)})(?![\w’])", re.IGNORECASE)

    def search(self, text: str) -> re.Match[str] | None:
        """The first of them in a text."""
        return self._pattern.search(text)

    def finditer(self, text: str) -> Iterator[re.Match[str]]:
        """All of them in a text, in its order."""
        return self._pattern.finditer(text)


ORDINALS: Final = (
    "first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth", "eleventh",
    "twelfth",
)  # fmt: skip

ENGLISH: Final = frozenset(
    [
        "the", "an", "of", "in", "and", "with", "on", "at", "to", "is", "are", "his", "her", "its", "their",
        "from", "into", "as", "by", "for", "through", "while", "then", "over", "under", "across", "behind",
        "toward", "towards", "she", "he", "they", "it", "that", "this", "up", "down", "out", "off", "no",
        "near", "between",
    ]
)  # fmt: skip
FOREIGN: Final = frozenset(
    [
        # German
        "der", "das", "und", "ein", "eine", "einer", "einem", "dem", "mit", "auf", "im", "ist", "nicht",
        "von", "durch", "über",
        # French
        "le", "la", "les", "des", "du", "un", "une", "et", "dans", "avec", "qui", "est", "au", "aux", "sa",
        "elle",
        # Spanish and Italian
        "el", "los", "las", "una", "y", "con", "por", "sobre", "que", "del", "al", "su", "en", "il", "lo",
        "gli", "di", "che", "nel", "nella", "sul", "della", "dei",
        # Portuguese
        "os", "um", "uma", "na", "da", "ao", "pela", "seu", "sua",
        # Dutch, Polish, Turkish, Indonesian
        "de", "het", "een", "op", "met", "naar", "zijn", "haar", "się", "jest", "nad", "przez", "bir", "ve",
        "ile", "yang", "dengan", "ke", "dari",
    ]
)  # fmt: skip
"""Frequent short words by which a language is recognised, without those that English has, too."""

NEGATION: Final = Words(
    "no", "not", "never", "without", "avoid", "avoids", "avoiding", "nor", "neither", "free of",
    "instead of", "rather than", "don['’]t", "doesn['’]t", "isn['’]t", "cannot",
)  # fmt: skip

_COUNT = r"(?:two|three|four|five|six|seven|eight|nine|ten|several|both|twin|identical|[2-9]|10)"
_PERSON = (
    r"(?:people|persons|men|women|boys|girls|children|kids|friends|brothers|sisters|siblings|twins|lovers|"
    r"boxers|dancers|fighters|soldiers|warriors|knights|samurai|ninjas|monks|nuns|chefs|cooks|waiters|actors|"
    r"actresses|singers|musicians|players|runners|cyclists|riders|drivers|pilots|sailors|fishermen|farmers|"
    r"workers|builders|guards|officers|detectives|doctors|nurses|scientists|engineers|astronauts|students|"
    r"teachers|teenagers|strangers|travellers|travelers|hikers|climbers|skaters|surfers|swimmers|divers|"
    r"models|princesses|queens|kings|wizards|witches|clowns|robbers|thieves|gangsters|cowboys|fencers|"
    r"wrestlers|opponents|rivals|characters|figures|couples|colleagues|neighbours|neighbors|grandmothers)"
)
PEOPLE: Final = Words(rf"{_COUNT}\s+(?:[\w-]+\s+){{0,3}}?{_PERSON}", "twins", "triplets")
PERSON: Final = Words(
    _PERSON, "man", "woman", "boy", "girl", "child", "kid", "person", "face", "faces", "he", "she", "her",
    "him", "his", "dancer", "courier", "chef", "cook", "soldier", "knight", "keeper", "boxer", "actor",
    "actress", "singer", "model", "lead", "hero", "heroine", "character",
)  # fmt: skip
CROWD: Final = Words(
    "crowds?", "audience", "passers-by", "pedestrians", "spectators", "extras", "army", "armies", "dozens",
    "hundreds", "thousands", "team", "choir", "orchestra",
)  # fmt: skip
PLACED: Final = Words(
    "left", "right", "cent(?:re|er)", "middle", "foreground", "background", "behind", "in front",
    "opposite", "between", "beside", "next to", "facing", "side by side", "back to back", "face to face",
    "above", "below", "one (?:in|with|on|of)", "the other",
)  # fmt: skip
AGAINST_DOUBLES: Final = Words(
    "exactly", "no extra", "no other", "no duplicates?", "no duplicated", "not duplicated", "duplicates?",
    "only two", "only three", "distinct", "different", "unlike", "each with", "each in", "one in",
    "the other", "no clones?", "no additional",
)  # fmt: skip

CAMERA_MOVES: Final[dict[str, Words]] = {
    "push": Words(
        "push(?:es|ing)?[ -]in", "dolly", "dollies", "dollying",
        "camera (?:slowly |gently )?(?:pushes|moves) (?:in|closer|forward)",
    ),
    "pull": Words(
        "pull(?:s|ing)?[ -](?:back|out)(?= (?:to|from|through|over|until|shot)|[,.;]|$)",
        "camera (?:slowly |gently )?(?:pulls|moves) (?:back|away|out)",
    ),
    "pan": Words(
        "(?:slow|quick|fast|gentle|smooth|smash|swish|camera) pans?",
        "panning (?:shot|left|right|across|up|down)", "camera (?:slowly |gently )?pans?",
        "pans? (?:slowly |gently )?(?:left|right|across|over|along|around)",
    ),
    "whip": Words("whip[ -]?pans?"),
    "tilt": Words(
        "(?:slow|quick|gentle|camera) tilts?", "tilts? (?:up|down)", "tilting (?:up|down)", "tilts",
    ),
    "orbit": Words(
        "camera (?:slowly |gently )?(?:orbits|circles|arcs|rotates)", "orbits around",
        "orbiting (?:shot|camera)", "(?:slow|360[ -]?degree|arc) (?:orbit|shot around)", "orbit shot",
        "orbits(?= ?,)", "camera orbit",
    ),
    "crane": Words(
        "crane (?:up|down|shot)", "craning (?:up|down)",
        "camera (?:slowly |then )?(?:rises|descends|lifts|cranes|booms)",
    ),
    "zoom": Words("zooms?(?: in| out)?", "zooming", "crash zooms?"),
    "track": Words(
        "tracking shots?",
        "camera (?:slowly |gently )?(?:tracks|follows|glides|trucks|travels|floats)",
        "camera (?:slowly |gently )?(?:flies|sweeps|moves|drifts)",
        "follow[ -]shot", "trucking shot", "lateral tracking",
    ),
    "hand": Words("hand-?held", "steadicam", "fpv", "drone shot", "fly-?through"),
}  # fmt: skip
"""Moves of the camera by kind. What things in the picture do as well counts with the camera beside it."""

IN_ORDER: Final = Words(
    "then", "before", "after", "afterwards", "finally", "next", "followed by", "first", "until",
)  # fmt: skip

PRAISE: Final = Words(
    "epic", "stunning", "breathtaking", "masterpiece", "masterful", "ultra[- ]?detailed",
    "hyper[- ]?detailed", "highly[- ]detailed", "insanely detailed", "intricate(?:ly)? detail(?:s|ed)?",
    "ultra[- ]?realistic", "hyper[- ]?realistic", "ultra[- ]?hd", "uhd", "8k", "16k", "4k",
    "award[- ]winning", "beautiful", "gorgeous", "amazing", "incredible", "spectacular", "magnificent",
    "flawless", "best quality", "high quality", "top quality", "ultra[- ]?high[- ]quality", "cinematic",
    "mind-?blowing", "jaw-?dropping", "unreal engine(?: 5)?", "octane render", "trending on artstation",
    "ultra[- ]?sharp", "state[- ]of[- ]the[- ]art", "hollywood[- ](?:grade|level|quality|style)",
    "blockbuster", "world-class", "next-level", "imax(?: quality)?", "viral",
)  # fmt: skip
GUIDES_OWN: Final = Words(
    "high detail", "cinematic quality", "stable faces?", "natural motion", "no deformation",
    "no watermarks?", "no logos?", "no subtitles?",
)  # fmt: skip
"""What the guide itself advises; it is not praise."""

DRAWN: Final = Words(
    "anime", "manga", "cartoon", "cel[- ]?shad(?:ed|ing)", "cel animation", "2d animation", "hand[- ]drawn",
    "claymation", "stop[- ]motion", "water-?colou?r", "gouache", "pixel art", "comic[- ]book", "storybook",
    "ghibli", "pixar", "rotoscop(?:e|ed|ing)", "ink wash", "ukiyo-e", "chibi", "felt puppets?",
    "paper cut-?out",
)  # fmt: skip
HELD: Final = Words(
    "throughout", "consistent(?:ly)?", "every (?:frame|shot)", "all shots", "entire(?:ly)?",
    "whole (?:clip|video|film)", "from (?:start|beginning|first) to (?:end|finish|last)",
    "same (?:drawn )?(?:look|style)", "strictly", "maintain(?:s|ing)?", "stays?", "keep(?:s|ing)?",
    "no photorealis[mt](?:ic)?", "not photorealistic",
)  # fmt: skip
DRAWN_THINGS: Final = re.compile(
    r"\s+(?:posters?|stickers?|figurines?|figures?|books?|t-?shirts?|shirts?|magazines?|shop|store|convention|fan|"
    r"pages?|covers?|cards?|mural|badge|box|channel|paint(?:s|ing|ings|ed)?\b(?! style)|plush|toys?|sets?)",
    re.IGNORECASE,
)
"""What may follow a drawn look where it is a thing in the picture, and not the look of it."""

SAYS: Final = (
    r"(?:says?|said|saying|whispers?|whispering|shouts?|shouting|yells?|screams?|asks?|asking|replies|answers|murmurs?|mutters?|"
    r"calls?(?: out)?|exclaims?|announces?|narrates?|speaks?|tells?(?: \w+)?|adds|sings?|singing)"
)
SPEECH: Final = re.compile(rf"\b{SAYS}\b[^.;!?\n\"“”{{}}]{{0,40}}[:,]?\s*[\"“{{‘']", re.IGNORECASE)
SPEECH_VERB_BEFORE: Final = re.compile(rf"\b{SAYS}\b[^.;!?\n{{}}]{{0,40}}$", re.IGNORECASE)
SOUND: Final = Words(
    "dialogue:", "voice-?over", "narrator", "narration", "background music", "soundtrack",
    "music (?:plays|swells|builds|kicks in|fades)",
    "(?:upbeat|soft|gentle|orchestral|dramatic|tense|electronic|jazz|piano|lo-?fi|ambient) music",
    "score swells", "lip[- ]?sync(?:ed|s)?",
)  # fmt: skip
WRITING: Final = Words(
    "signs?", "sign(?:board|post)?", "labels?", "banners?", "posters?", "screens?", "text", "letters?",
    "lettering", "neon", "shirts?", "cards?", "notes?", "headlines?", "captions?", "titles?", "plaques?",
    "tags?", "display", "billboards?", "word", "words", "packaging", "bottle", "box", "book", "page",
    "menu", "ticket", "graffiti", "inscription", "logo",
)  # fmt: skip
"""Things that have words on them: what they say is written, not spoken."""

TIMED: Final = Words(
    "dance(?:s|d|rs?)?", "dancing", "choreograph\\w*", "lip[- ]?sync\\w*", "music(?:al)?", "beats?",
    "rhythm", "song", "sings?", "rap", "drums?", "tempo", "bpm", "on cue", "countdown", "timeline",
    "sync(?:ed|s|hroni[sz]ed)?", "dialogue", SAYS,
)  # fmt: skip
"""Reasons to give exact times."""
