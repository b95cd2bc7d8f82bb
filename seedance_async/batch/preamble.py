"""The preamble of a manifest: default fields, and assets that entries refer to by name.

A default is used if an entry does not have the field and its model knows it, so stills and clips can share
defaults; those in a table with a model's name apply to that model only. An asset is a URL, a local file, or
the output of a job; ``$name`` refers to it in every media field. If it has a role, the prompt of every job
that uses it mentions the role.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import attrs
from attrs import field, frozen

from seedance_async.models import MEDIA_FIELDS, REQUEST_TYPES
from seedance_async.models.links import MAKERS, SIGN, Link, parse_link
from seedance_async.prompts.forms import Asset
from seedance_async.shortened import first_of
from seedance_async.suggestions import suggestion

if TYPE_CHECKING:
    from seedance_async.models.rules import Problem

PREAMBLE_FIELDS: Final = ("defaults", "assets")
OF_EVERY_MODEL: Final = frozenset({"model", "repeat", "project", "style", "lint"})
FIELDS_OF: Final[Mapping[str, frozenset[str]]] = {
    model: frozenset(at.name for at in attrs.fields(kind)) for model, kind in REQUEST_TYPES.items()
}
"""The request's fields, by model."""

ROLES_OF: Final = "\0roles of "
"""Prefix of an internal field with the roles of a media field's values; a manifest cannot have this name."""

_SOURCES: Final = ("url", "file", "job")
_MOST_LISTED: Final = 10
_AT_FAULT: Final = "https://asset.invalid/"
"""Value of an invalid asset, so that its problem is reported once, and not again for each job."""


@frozen
class Preamble:
    """The defaults and assets of a manifest.

    Attributes:
        defaults: default values by field.
        for_model: default values by model and field.
        assets: by name, the value that replaces ``$name`` in a request.
        roles: by name of an asset, its role, if it has one.
    """

    defaults: Mapping[str, object] = field(factory=dict)
    for_model: Mapping[str, Mapping[str, object]] = field(factory=dict)
    assets: Mapping[str, str] = field(factory=dict)
    roles: Mapping[str, str] = field(factory=dict)

    def fill(self, fields: Mapping[str, object]) -> dict[str, object]:
        """Return an entry's fields with the defaults added."""
        model = str(fields.get("model") or self.defaults.get("model"))
        known = OF_EVERY_MODEL | FIELDS_OF.get(model, frozenset())
        defaults = {name: value for name, value in self.defaults.items() if name in known}
        return {**defaults, **self.for_model.get(model, {}), **fields}

    def resolve(self, fields: Mapping[str, object]) -> dict[str, object]:
        """Return an entry's fields with its assets replaced, and their roles in additional internal fields.

        Called before the matrix is expanded, because URLs and roles may contain placeholders, and again
        afterwards, because a matrix may choose among assets.
        """
        resolved = dict(fields)
        for name in MEDIA_FIELDS if self.assets else ():
            if name in fields:
                roles = self._roles(fields[name], fields.get(ROLES_OF + name))
                if any(roles):
                    resolved[ROLES_OF + name] = roles
                resolved[name] = self._resolved(fields[name])
        return resolved

    def _roles(self, value: object, before: object) -> list[str]:
        """Return the role of each value of a field (empty for none), keeping roles found before."""
        values = value if isinstance(value, list) else [value]
        known = before if isinstance(before, list) else [""] * len(values)
        names = [each.removeprefix(SIGN) if isinstance(each, str) else "" for each in values]
        return [self.roles.get(name, str(role)) for name, role in zip(names, known, strict=False)]

    def about_names(self, value: object, jobs: Mapping[str, str]) -> str:
        """Return a hint about unknown ``$NAME`` values of a field, for an error message.

        Args:
            value: the field's value, with assets replaced.
            jobs: the models of the jobs read so far, by name.
        """
        values = value if isinstance(value, list) else [value]
        names = [
            each.removeprefix(SIGN) for each in values if isinstance(each, str) and each.startswith(SIGN)
        ]
        unknown = [name for name in names if parse_link(SIGN + name) is None]
        if not unknown:
            return ""
        return "".join([self._declared(), *(self._about_name(name, jobs) for name in unknown)])

    def _about_name(self, name: str, jobs: Mapping[str, str]) -> str:
        if name in jobs:
            outputs = [f"{SIGN}{name}.{output}" for output, models in MAKERS.items() if jobs[name] in models]
            return f"; {name!r:.80} is a job, so write {' or '.join(outputs)}"
        return suggestion(name, [*self.assets, *jobs], sign=SIGN)

    def _declared(self) -> str:
        names = [f"{SIGN}{name}" for name in self.assets]
        if not names:
            return "; no assets are declared above it"
        return f"; the declared assets are {first_of(names, _MOST_LISTED)}"

    def default_table(self, name: str, model: object) -> str | None:
        """Return the name of the table with a field's default; None if there is no default."""
        if name in self.for_model.get(str(model), {}):
            return f"defaults.{model}"
        return "defaults" if name in self.defaults else None

    def extended(self, other: Preamble) -> Preamble:
        """Return both combined; the other one takes precedence."""
        return Preamble(
            {**self.defaults, **other.defaults},
            {**self.for_model, **other.for_model},
            {**self.assets, **other.assets},
            {**{name: role for name, role in self.roles.items() if name not in other.assets}, **other.roles},
        )

    def _resolved(self, value: object) -> object:
        if isinstance(value, list):
            return [self._resolved(each) for each in value]
        if isinstance(value, str) and value.startswith(SIGN):
            return self.assets.get(value.removeprefix(SIGN), value)
        return value


def assets_of(fields: Mapping[str, object]) -> tuple[dict[str, object], list[Asset]]:
    """Return the fields of a job without the internal fields of roles, and its media with their roles.

    Args:
        fields: fields from ``Preamble.resolve``.
    """
    plain = {name: value for name, value in fields.items() if not name.startswith(ROLES_OF)}
    assets: list[Asset] = []
    if len(plain) == len(fields):
        return plain, assets
    for name in MEDIA_FIELDS:
        value = plain.get(name)
        values = value if isinstance(value, list) else [] if value is None else [value]
        roles = fields.get(ROLES_OF + name)
        known = roles if isinstance(roles, list) else [""] * len(values)
        assets += [Asset(name, str(each), role or None) for each, role in zip(values, known, strict=False)]
    return plain, assets


def read(document: Mapping[str, object]) -> tuple[Preamble, list[Problem]]:
    """Return the preamble of a document, and its problems."""
    problems: list[Problem] = []
    general: dict[str, object] = {}
    for_model: dict[str, Mapping[str, object]] = {}
    for name, value in _table(document, "defaults", problems).items():
        if name in FIELDS_OF and isinstance(value, dict):
            for_model[name] = value
            problems += [
                (
                    f"defaults.{name}",
                    f"{each!r:.60} is not a field of {name}{suggestion(each, FIELDS_OF[name])}",
                )
                for each in value
                if each not in FIELDS_OF[name] | OF_EVERY_MODEL
            ]
        elif name in OF_EVERY_MODEL.union(*FIELDS_OF.values()):
            general[name] = value
        else:
            problems.append(("defaults", f"{name!r:.60} is not a field of any model{_meant(name)}"))
    assets: dict[str, str] = {}
    roles: dict[str, str] = {}
    for name, value in _table(document, "assets", problems).items():
        try:
            assets[name] = _asset(value)
            if (role := _role(value)) is not None:
                roles[name] = role
        except ValueError as problem:
            problems.append((f"assets.{name}", str(problem)))
            assets[name] = _AT_FAULT
    return Preamble(general, for_model, assets, roles), problems


def _meant(name: str) -> str:
    return suggestion(name, [*OF_EVERY_MODEL.union(*FIELDS_OF.values()), *FIELDS_OF])


def _table(document: Mapping[str, object], name: str, problems: list[Problem]) -> dict[str, object]:
    value = document.get(name, {})
    if isinstance(value, dict):
        return value
    problems.append((name, f"must be a table; got {value!r:.60}"))
    return {}


def _asset(value: object) -> str:
    """Return the URL, path or link of an asset.

    Raises:
        ValueError: it is not a valid asset; the message says why.
    """
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        raise ValueError("must be a URL, or a table with url, file or job")  # noqa: TRY004 - a reason
    if foreign := [name for name in value if name not in {*_SOURCES, "output", "role"}]:
        hint = suggestion(foreign[0], [*_SOURCES, "output", "role"])
        raise ValueError(f"has {foreign[0]!r:.60}; an asset has url, file or job, and output and role{hint}")
    match [(source, value[source]) for source in _SOURCES if source in value]:
        case [("job", str(job))]:
            output = value.get("output", "image")
            if output not in MAKERS:
                hint = suggestion(str(output), MAKERS)
                raise ValueError(f"output must be one of {', '.join(MAKERS)}; got {output!r:.60}{hint}")
            return str(Link(job, output))
        case [(_, str(text))]:
            return text
        case _:
            raise ValueError("must have one of url, file and job, as text")


def _role(asset: object) -> str | None:
    """Return the role of an asset; None if it has none.

    Raises:
        ValueError: it is not text; the message says why.
    """
    role = asset.get("role") if isinstance(asset, dict) else None
    if role is not None and not (isinstance(role, str) and role.strip()):
        reason = "what it is for, such as 'the lead, in a red parka'"
        raise ValueError(f"role must be text that says {reason}; got {role!r:.60}")
    return role
