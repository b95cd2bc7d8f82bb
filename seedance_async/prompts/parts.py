"""The parts of a prompt as values, and the sentences that they make. Pure."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from seedance_async.prompts import words
from seedance_async.prompts.forms import Asset, compose, role_sentences, sentence
from seedance_async.prompts.rules_style import is_logo_wanted, is_text_wanted
from seedance_async.prompts.subject import Subject

PLACES: Final = {
    "left": "on the left",
    "right": "on the right",
    "centre": "in the centre",
    "foreground": "in the foreground",
    "background": "in the background",
}
"""Where somebody can be placed."""

COUNTS: Final = ("no", "one person", "two people", "three people", "four people", "five people")


@frozen(kw_only=True)
class Parts:
    """What a prompt is built of.

    Attributes:
        scene: what is seen and heard, and what happens; with shots, what is common to them.
        assets: the media, each with what it is for.
        shots: in their order; none for a simple scene.
        people: where each person is, a word of ``PLACES``, and who that is.
        style: words of the look, the first of which names it.
        is_drawn: whether the look is anchored throughout, as one that is not realistic has to be.
        camera: how the camera moves; None if nothing is said.
        is_fixed: whether the camera stands still.
        signs: what is to be read in the picture, each with the thing that it stands on.
        own_safeguards: constraints in addition to the usual ones.
        has_usual: whether the guide's safeguards are said.
    """

    scene: str = ""
    assets: tuple[Asset, ...] = ()
    shots: tuple[str, ...] = ()
    people: tuple[tuple[str, str], ...] = ()
    style: tuple[str, ...] = ()
    is_drawn: bool = False
    camera: str | None = None
    is_fixed: bool = False
    signs: tuple[tuple[str, str], ...] = ()
    own_safeguards: tuple[str, ...] = ()
    has_usual: bool = True

    @property
    def prompt(self) -> str:
        """The prompt that they make."""
        before = [*role_sentences(self.assets), self._placed()]
        camera = "Locked camera, the lens stays still" if self.is_fixed else self.camera or ""
        scene = " ".join(filter(None, [sentence(self.scene), *map(_read, self.signs)]))
        return compose(before, scene, self.shots, [camera, self._look(), self._safeguards()])

    def _placed(self) -> str:
        """How many people there are, and where each is; against doubles."""
        if not self.people:
            return ""
        who = ", ".join(f"{person} {PLACES[place]}" for place, person in self.people)
        count = COUNTS[len(self.people)]
        return f"Exactly {count}: {who}; nobody appears twice and there is no extra figure"

    def _look(self) -> str:
        if not self.style:
            return ""
        look = ", ".join(self.style)
        if not self.is_drawn:
            return look
        first, *others = self.style
        return f"{', '.join([f'{first} throughout', *others])}; the same drawn look in every frame"

    def _safeguards(self) -> str:
        usual = self._usual() if self.has_usual else ()
        return ", ".join((*usual, *self.own_safeguards))

    def _usual(self) -> tuple[str, ...]:
        """The guide's safeguards, as far as they apply: none forbids what is wanted."""
        said = Subject(" ".join([self.scene, *self.shots]))
        roles = " ".join(asset.role or "" for asset in self.assets)
        has_people = bool(self.people or words.PERSON.search(f"{said.text} {roles}")) or not said.is_english
        has_text = bool(self.signs) or is_text_wanted(said)
        chosen = {
            "high detail": True,
            "cinematic quality": not self.is_drawn,
            "stable faces": has_people,
            "natural motion": True,
            "no deformation": True,
            "no watermarks": True,
            "no logos": not is_logo_wanted(said),
            "no subtitles": not has_text,
        }
        return tuple(safeguard for safeguard, applies in chosen.items() if applies)


def _read(sign: tuple[str, str]) -> str:
    what, where = sign
    return f'The text "{what}" is to be read on {where}.'
