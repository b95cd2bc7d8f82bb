"""The request body for any model, as a pydantic type: its field ``model`` selects the request class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, TypeAlias, cast

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, TypeAdapter
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from seedance_async import wire
from seedance_async.convertible import by_field
from seedance_async.errors import ValidationError
from seedance_async.models import REQUEST_TYPES, Request

_MODEL: Final = "model"


class _OfAnyModel:
    """Annotation through which pydantic validates, serialises and describes such a body."""

    @classmethod
    def __get_pydantic_core_schema__(cls, _source: object, _handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            _read, serialization=core_schema.plain_serializer_function_ser_schema(_written)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _schema: CoreSchema, _handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return {
            "oneOf": [_described(word) for word in REQUEST_TYPES],
            "discriminator": {"propertyName": _MODEL},
        }


AnyRequest: TypeAlias = Annotated[Request, _OfAnyModel]
"""A request of the model that its field ``model`` names; in a handler, ``Annotated[AnyRequest, Body()]``."""


def _read(value: object) -> Request:
    if isinstance(value, Request):
        return value
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a JSON object; got {type(value).__name__}")  # noqa: TRY004 - pydantic's rule
    word = value.get(_MODEL)
    try:
        return wire.build(word if isinstance(word, str) else "", value)
    except ValidationError as refused:
        raise by_field(refused, value, "Request") from None


def _written(request: Request) -> dict[str, object]:
    return {_MODEL: request.model, **request.to_dict()}


def _described(word: str) -> dict[str, object]:
    schema = TypeAdapter(REQUEST_TYPES[word]).json_schema()
    fields = {_MODEL: {"type": "string", "const": word}, **cast("dict[str, object]", schema["properties"])}
    return {**schema, "properties": fields, "required": [_MODEL, *schema["required"]]}
