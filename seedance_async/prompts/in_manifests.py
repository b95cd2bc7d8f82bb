"""The fields of a manifest's entry that become parts of its prompt: roles of assets, shots, a style. Pure.

All of it becomes part of the prompt, so it is part of what a job asks for: an edited role is an edit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from seedance_async.models import Seedance2Video
from seedance_async.models.display import shown
from seedance_async.prompts.forms import Asset, compose, role_sentences

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from seedance_async.models.rules import Problem

PROMPT_FIELDS: Final = ("shots", "style")
MOST_SHOTS: Final = 50


def with_prompt(
    fields: Mapping[str, object], assets: Sequence[Asset]
) -> tuple[dict[str, object], list[Problem]]:
    """An entry with its shots, its style and the roles of its assets in its prompt, and what is wrong.

    Without any of these fields the prompt stays as it is, to the byte.

    Args:
        fields: of the entry, its matrix multiplied out.
        assets: its media in the order of its fields.
    """
    given = {name: fields[name] for name in PROMPT_FIELDS if fields.get(name) is not None}
    if not (given or assets):
        return dict(fields), []
    own = {name: value for name, value in fields.items() if name not in PROMPT_FIELDS}
    sentences = role_sentences(assets)
    problems = list(_problems(given, fields.get("model")))
    prompt = fields.get("prompt")
    is_missing = prompt is None and "shots" not in given
    if problems or not (sentences or given) or is_missing or not isinstance(prompt, str | None):
        return own, problems
    shots, style = given.get("shots", ()), given.get("style", "")
    own["prompt"] = compose(sentences, prompt or "", shots, [style])  # type: ignore[arg-type, list-item]  # checked above
    return own, []


def _problems(given: Mapping[str, object], model: object) -> list[Problem]:
    problems: list[Problem] = []
    shots, style = given.get("shots"), given.get("style")
    if shots is not None:
        if model != Seedance2Video.model:
            problems.append(("shots", f"belongs to {Seedance2Video.model} only"))
        elif not isinstance(shots, list) or not shots or not all(map(_is_text, shots)):
            problems.append(("shots", f"must be a list of texts, one for each shot; got {shown(shots)}"))
        elif len(shots) > MOST_SHOTS:
            problems.append(("shots", f"may hold at most {MOST_SHOTS} shots; got {len(shots)}"))
    if style is not None and not _is_text(style):
        problems.append(("style", f"must be text that is not blank; got {shown(style)}"))
    return problems


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip())
