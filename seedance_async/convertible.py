"""A base class of values that convert to JSON, which FastAPI and pydantic accept as bodies and answers. Pure.

    @app.post("/clips", response_model=Task)
    async def make(clip: Annotated[Seedance2Video, Body()]) -> Task: ...

A request is read from a JSON object by the rules of its class, so an invalid one is refused before anything
is sent; an answer is always an instance already. pydantic is imported only when pydantic itself calls this
class.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import Enum
from typing import ClassVar, Final, Self, get_args, get_origin

import attrs

_SIMPLE: Final[dict[object, dict[str, object]]] = {
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    bool: {"type": "boolean"},
    type(None): {"type": "null"},
    datetime: {"type": "string", "format": "date-time"},
}


BOUNDS: Final = "seedance_async.bounds"
"""The metadata key under which a field states its bounds as JSON schema keywords."""


class Convertible:
    """A frozen attrs class with a conversion to plain JSON values.

    Attributes:
        readable: whether an instance can also be made from a JSON object.
    """

    __slots__ = ()
    readable: ClassVar[bool] = False

    def to_dict(self) -> dict[str, object]:
        """The fields as JSON values; without ``raw``, which is the server's answer."""
        return {
            field.name: _as_json(getattr(self, field.name))
            for field in attrs.fields(type(self))  # type: ignore[arg-type]  # every subclass is attrs'
            if field.repr is not False
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, object]) -> Self:
        """An instance with these fields; ``model``, if it is given, must be that of the class.

        Raises:
            ValidationError: with every problem, field by field.
            TypeError: the class is an answer, which cannot be made from JSON.
        """
        raise TypeError(f"a {cls.__name__} is not made of JSON: {sorted(fields)!r:.60}")

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: object) -> object:
        from pydantic_core import core_schema  # noqa: PLC0415 - called by pydantic, so it is installed

        return core_schema.no_info_plain_validator_function(
            cls._validated, serialization=core_schema.plain_serializer_function_ser_schema(_as_json)
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, _schema: object, _handler: object) -> dict[str, object]:
        return _schema_of(cls)

    @classmethod
    def _validated(cls, value: object) -> Self:
        """An instance of what pydantic was given; a ``ValueError`` becomes its 422.

        A ``ValueError`` with ``problems`` becomes a pydantic error for each of them, located at its field.
        """
        if isinstance(value, cls):
            return value
        if cls.readable and isinstance(value, Mapping):
            try:
                return cls.from_dict(value)
            except ValueError as refused:
                raise by_field(refused, value, cls.__name__) from None
        body = f" as a JSON object; declare it as Annotated[{cls.__name__}, Body()]" if cls.readable else ""
        raise ValueError(f"must be a {cls.__name__}{body}; got {type(value).__name__}")


def by_field(refused: ValueError, value: Mapping[str, object], title: str) -> ValueError:
    """The pydantic error for an invalid request, with each problem located at its field."""
    from pydantic_core import InitErrorDetails, PydanticCustomError, ValidationError  # noqa: PLC0415 - as above

    problems: Iterable[tuple[str, str]] | None = getattr(refused, "problems", None)
    if problems is None:
        return refused
    lines = [
        InitErrorDetails(
            type=PydanticCustomError("seedance_rule", "{reason}", {"reason": reason}),
            loc=(name,),
            input=value.get(name),
        )
        for name, reason in problems
    ]
    return ValidationError.from_exception_data(title, lines)


def _as_json(value: object) -> object:
    match value:
        case Convertible():
            return value.to_dict()
        case Enum():
            return value.value
        case datetime():
            return value.isoformat()
        case Exception():
            return str(value)
        case Mapping():
            return {str(key): _as_json(entry) for key, entry in value.items()}
        case tuple() | list():
            return [_as_json(entry) for entry in value]
        case _:
            return str(value) if hasattr(value, "__fspath__") else value


def _schema_of(hint: object) -> dict[str, object]:
    """The JSON schema of the result of ``_as_json`` for a value of this type."""
    if isinstance(hint, typing.TypeVar):
        hint = hint.__bound__
    arguments = get_args(hint)
    match get_origin(hint):
        case typing.Literal:
            return {"type": "string", "enum": [*arguments]}
        case types.UnionType | typing.Union:
            return {"anyOf": [_schema_of(argument) for argument in arguments]}
        case origin if origin is tuple:
            return {"type": "array", "items": _schema_of(arguments[0])}
    if hint in _SIMPLE:
        return dict(_SIMPLE[hint])
    if not isinstance(hint, type):
        return {}
    if issubclass(hint, Convertible):
        return _object_schema(hint)
    if issubclass(hint, Enum):
        return {"type": "string", "enum": [member.value for member in hint]}
    return {"type": "string"} if issubclass(hint, Exception) or hasattr(hint, "__fspath__") else {}


def _object_schema(kind: type[Convertible]) -> dict[str, object]:
    hints = typing.get_type_hints(kind)
    fields = [field for field in attrs.fields(kind) if field.repr is not False]  # type: ignore[arg-type]
    schema: dict[str, object] = {
        "title": kind.__name__,
        "description": inspect.cleandoc(kind.__doc__ or ""),
        "type": "object",
        "properties": {field.name: _field_schema(field, hints[field.name]) for field in fields},
        "required": [field.name for field in fields if field.default is attrs.NOTHING],
    }
    return {**schema, "additionalProperties": False} if kind.readable else schema


def _field_schema(field: attrs.Attribute[object], hint: object) -> dict[str, object]:
    """The schema of a field's type, with its bounds, and its default if that is a constant."""
    schema = {**_schema_of(hint), **field.metadata.get(BOUNDS, {})}
    if isinstance(field.default, str | int | float | bool):
        schema["default"] = field.default
    return schema
