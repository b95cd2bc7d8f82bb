"""``PromptBuilder``: the guide's forms as values, which make a prompt and the request that fits it. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Self

from attrs import evolve, field, frozen

from seedance_async.arguments import check, text
from seedance_async.errors import ValidationError
from seedance_async.models import Link, Seedance2Video
from seedance_async.models.converters import url_text
from seedance_async.models.display import shown
from seedance_async.models.local_files import FilePath
from seedance_async.models.rules import Problem, Rule, media_url, one_of, optional, true_or_false
from seedance_async.prompts import words
from seedance_async.prompts.findings import Level
from seedance_async.prompts.forms import Asset, tidy
from seedance_async.prompts.lint import lint_prompt
from seedance_async.prompts.parts import PLACES, Parts

REFERENCE_KINDS: Final = ("character", "style", "camera motion")
CANNOT_ARISE: Final = frozenset({"P04", "P05", "P08", "P10"})
"""Rules that compare a prompt with its request; the builder makes both together."""

OWN_FIELDS: Final = ("prompt", "mode", "image_url", "end_image_url", "media_urls")
"""Fields of the request that follow from what was built."""


@frozen
class PromptBuilder:
    """A prompt for a clip in the making, and its request; each method returns a new one, with that added.

    The prompt is one paragraph: task wording, subject and roles of assets, scene and action, style and
    constraints. With several shots it has three parts. The media decide the mode. Media are URLs, links to
    jobs (``job.link("image")``), or a ``pathlib.Path``.

    Args:
        scene: what is seen and heard, and what happens; with shots, what is common to them.

    Raises:
        ValidationError: the scene is no text.

    Example:
        >>> mira = PromptBuilder("She rides through a harbour street at dawn").reference(
        ...     "https://cdn.example/mira.png", "the lead, in a red parka", kind="character"
        ... )
        >>> mira.request(duration=8).mode
        'media-to-video'
    """

    scene: str = ""
    parts: Parts = field(factory=Parts, kw_only=True)

    def __attrs_post_init__(self) -> None:
        check("PromptBuilder", scene=(_any_text, self.scene))

    @property
    def prompt(self) -> str:
        """The prompt, as far as it is built."""
        return evolve(self.parts, scene=self.scene.strip()).prompt

    def opening(self, picture: str | Link | FilePath, role: str | None = None) -> Self:
        """Begin with a picture.

        Args:
            picture: the first frame; the clip has its shape.
            role: what it is to be taken as, where that is not plain.

        Raises:
            ValidationError: it cannot be one.
        """
        return self._with("opening", "image_url", picture, role)

    def closing(self, picture: str | Link | FilePath, role: str | None = None) -> Self:
        """End with a picture; there has to be one at the beginning, too.

        Args:
            picture: the last frame.
            role: what it is to be taken as, where that is not plain.

        Raises:
            ValidationError: it cannot be one.
        """
        return self._with("closing", "end_image_url", picture, role)

    def reference(self, medium: str | Link | FilePath, role: str = "", *, kind: str | None = None) -> Self:
        """Refer to a picture or clip.

        Args:
            medium: of a person, a thing, a place, a look or a move.
            role: what it is in the clip, such as ``the lead, in a red parka``.
            kind: ``character``, ``style`` or ``camera motion``, for which the guide has a form of its own;
                then the role may be left out.

        Raises:
            ValidationError: it cannot be one, or nobody says what it is for.
        """
        rule: Rule = _any_text if kind is not None else text
        check("reference", kind=(optional(one_of(REFERENCE_KINDS)), kind), role=(rule, role))
        said = f"{kind}: {role}" if kind and role.strip() else kind or role
        return self._with("reference", "media_urls", medium, said)

    def edit(
        self,
        clip: str | Link | FilePath,
        *,
        replace: Mapping[str, str] | None = None,
        keep: str | None = None,
    ) -> Self:
        """Edit a clip; together with a style reference, by the guide's combined form.

        Args:
            clip: to be edited.
            replace: what by what, such as ``{"the red car": "a white horse"}``.
            keep: what stays as it is.

        Raises:
            ValidationError: it cannot be one, or nothing is to be replaced or kept.
        """
        check("edit", replace=(_replacements, replace), keep=(optional(text), keep))
        if not replace and keep is None:
            raise ValidationError([("replace", "say what to replace, or what to keep")], subject="edit")
        changes = [f"replace {tidy(old)} with {tidy(new)}" for old, new in (replace or {}).items()]
        kept = [] if keep is None else [f"{'while ' if changes else ''}preserving {tidy(keep)}"]
        role = f"source video: {' '.join([' and '.join(changes), *kept]).strip()}"
        return self._with("edit", "media_urls", clip, role)

    def extend(self, clip: str | Link | FilePath) -> Self:
        """Go on from the end of a clip; the request's ``duration`` is the length that is added.

        Args:
            clip: to be continued.

        Raises:
            ValidationError: it cannot be one.
        """
        return self._with("extend", "media_urls", clip, "previous clip")

    def shots(self, *shots: str) -> Self:
        """Add shots, in their order.

        Args:
            shots: what happens in each.

        Raises:
            ValidationError: one is no text.
        """
        check("shots", shots=(_texts, shots))
        return evolve(self, parts=evolve(self.parts, shots=(*self.parts.shots, *map(tidy, shots))))

    def people(self, **places: str) -> Self:
        """Say who is where; that nobody is doubled is said with it.

        Args:
            places: who is ``left``, ``right``, in the ``centre``, the ``foreground`` or the ``background``.

        Raises:
            ValidationError: there is no such place, or somebody is no text.
        """
        fault = one_of(tuple(PLACES))
        problems = [(place, reason) for place in places if (reason := fault(place))]
        problems += [(place, reason) for place, who in places.items() if (reason := text(who))]
        if problems:
            raise ValidationError(problems, subject="people")
        people = {**dict(self.parts.people), **{place: tidy(who) for place, who in places.items()}}
        return evolve(self, parts=evolve(self.parts, people=tuple(people.items())))

    def style(self, *style: str, drawn: bool | None = None) -> Self:
        """Name the look.

        Args:
            style: its words, such as ``"2D cel animation", "flat colours", "ink outlines"``.
            drawn: whether it is anchored throughout; None for whether its words mean a drawn look.

        Raises:
            ValidationError: one is no text.
        """
        check("style", style=(_texts, style), drawn=(optional(true_or_false), drawn))
        is_drawn = any(map(words.DRAWN.search, style)) if drawn is None else drawn
        return evolve(self, parts=evolve(self.parts, style=tuple(map(tidy, style)), is_drawn=is_drawn))

    def camera(self, move: str | None = None) -> Self:
        """Say how the camera moves; without a move it stands still, and ``fixed_lens`` is sent.

        Args:
            move: such as ``slow push in``.

        Raises:
            ValidationError: it is no text.
        """
        check("camera", move=(optional(text), move))
        return evolve(
            self, parts=evolve(self.parts, camera=None if move is None else tidy(move), is_fixed=move is None)
        )

    def sign(self, what: str, on: str = "the sign") -> Self:
        """Say what is to be read in the picture; then nothing forbids text.

        Args:
            what: the words on it.
            on: the thing that they stand on.

        Raises:
            ValidationError: one is no text.
        """
        check("sign", what=(text, what), on=(text, on))
        return evolve(
            self,
            parts=evolve(self.parts, signs=(*self.parts.signs, (tidy(what).replace('"', "'"), tidy(on)))),
        )

    def safeguards(self, *own: str, usual: bool = True) -> Self:
        """Choose the constraints at the end; without this the guide's are said, as far as they apply.

        Args:
            own: others in addition, such as ``hands with five fingers``.
            usual: whether the guide's are said.

        Raises:
            ValidationError: one is no text.
        """
        check("safeguards", own=(_none_or_texts, own), usual=(true_or_false, usual))
        return evolve(self, parts=evolve(self.parts, own_safeguards=tuple(map(tidy, own)), has_usual=usual))

    def request(self, **fields: object) -> Seedance2Video:
        """The request: the prompt, the media in their fields, the mode that follows from them.

        Args:
            fields: all others of ``Seedance2Video``, such as ``duration``.

        Raises:
            ValidationError: with every problem, field by field; also where the words contradict the request.
        """
        media = self._media()
        locked = {"fixed_lens": True} if self.parts.is_fixed else {}
        problems: list[Problem] = [
            (name, "follows from what was built") for name in OWN_FIELDS if name in fields
        ]
        if self.parts.is_fixed and fields.get("fixed_lens") is False:
            problems.append(("fixed_lens", "is what camera() without a move asks for"))
        if self.parts.camera is not None and fields.get("fixed_lens") is True:
            problems.append(("fixed_lens", f"is true, and the camera moves: {self.parts.camera!r:.60}"))
        if problems:
            raise ValidationError(problems, subject="PromptBuilder")
        request = Seedance2Video.from_dict({**locked, **fields, **media, "prompt": self.prompt})
        if faults := _contradictions(request):
            raise ValidationError(faults, subject="PromptBuilder")
        return request

    def _media(self) -> dict[str, object]:
        frames = {asset.field: asset.medium for asset in self.parts.assets if asset.field != "media_urls"}
        listed = [asset.medium for asset in self.parts.assets if asset.field == "media_urls"]
        return {**frames, "media_urls": listed} if listed else {**frames}

    def _with(self, call: str, name: str, medium: str | Link | FilePath, role: str | None) -> Self:
        """With one more medium; a second frame of the same field takes the place of the first."""
        converted = url_text(medium)
        rule = media_url(only_pictures=name != "media_urls")
        check(call, medium=(rule, converted), role=(optional(text), role))
        others = [asset for asset in self.parts.assets if name == "media_urls" or asset.field != name]
        asset = Asset(name, str(medium) if converted is None else converted, role)
        return evolve(self, parts=evolve(self.parts, assets=(*others, asset)))


def _contradictions(request: Seedance2Video) -> list[Problem]:
    """What the scene's own words say against the request."""
    found = lint_prompt(request)
    return [
        ("prompt", f"{finding.code}: {finding.words}")
        for finding in found
        if finding.code in CANNOT_ARISE and (finding.level is Level.ERROR or finding.code != "P05")
    ]


def _any_text(value: object) -> str | None:
    """Rule: text, which may be empty."""
    return None if isinstance(value, str) else f"must be text; got {shown(value)}"


def _texts(values: object) -> str | None:
    """Rule: texts, at least one, none of them blank."""
    if not values:
        return "must be one text or more"
    return _none_or_texts(values)


def _none_or_texts(values: object) -> str | None:
    """Rule: texts, none of them blank."""
    each = values if isinstance(values, tuple) else (values,)
    return next((fault for value in each if (fault := text(value))), None)


def _replacements(value: object) -> str | None:
    """Rule: None, or texts by texts."""
    if value is None or (isinstance(value, Mapping) and _none_or_texts((*value, *value.values())) is None):
        return None
    return f"must be a mapping of texts, such as {{'the red car': 'a white horse'}}; got {shown(value)}"
