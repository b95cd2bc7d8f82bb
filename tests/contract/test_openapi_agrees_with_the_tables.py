"""Tests of the OpenAPI document against the vendor's tables: same fields, same result on every example."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import jsonschema_rs
import pytest
from openapi_spec_validator import validate

from seedance_async.client import BASE_URL
from seedance_async.errors import BY_CODE
from seedance_async.protocol import BY_STATUS
from seedance_async.sandbox import Sandbox
from seedance_async.sandbox.openapi import document
from tests.contract.tables import ABSENT, BAD_URLS, ENDPOINTS, Case, accepted_cases, refused_cases

if TYPE_CHECKING:
    from tests.contract.tables import Endpoint, Row

DOCUMENT: Any = document()
TYPES = {"string (URL)": "string", "string[] (URL)": "array"}
ADDRESSES = [url for url, reason in BAD_URLS if reason == "not a public address" and "[" not in str(url)]
"""URLs at addresses that are not public: no pattern tells them from others, the description does."""

EVERY_ENDPOINT = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.model)


def body_schema(endpoint: Endpoint) -> dict[str, Any]:
    """What the document says of an endpoint's body."""
    content = DOCUMENT["paths"][endpoint.path]["post"]["requestBody"]["content"]
    name = content["application/json"]["schema"]["$ref"].rpartition("/")[2]
    return dict(DOCUMENT["components"]["schemas"][name])


def accepts(case: Case) -> bool:
    """Whether a generator's validator would let the case's body pass."""
    schema = {**body_schema(case.endpoint), "components": DOCUMENT["components"]}
    return jsonschema_rs.Draft202012Validator(schema).is_valid(dict(case.body))


def is_only_about_an_address(case: Case) -> bool:
    """Whether all that is wrong about a body is that a URL's address is private."""
    value = case.body.get(case.field)
    return any(url in ADDRESSES for url in (value if isinstance(value, list) else [value]))


def test_the_document_is_valid() -> None:
    """By the OpenAPI 3.1 schema, every reference included."""
    validate(DOCUMENT)


@EVERY_ENDPOINT
def test_fields_types_and_defaults_are_the_tables(endpoint: Endpoint) -> None:
    """Every row of the table, and no field besides."""
    rows = {row.field: row for row in endpoint.rows if row.required != "never"}
    schema = body_schema(endpoint)

    assert rows.keys() == schema["properties"].keys()
    assert {row.field for row in rows.values() if row.required == "Yes"} == set(schema["required"])
    for name, row in rows.items():
        assert (TYPES.get(row.type, row.type), row.default) == said_of(schema["properties"][name]), name


def said_of(field: dict[str, Any]) -> tuple[object, object]:
    """Type and default of a field, its reference followed."""
    if "$ref" in field:
        field = DOCUMENT["components"]["schemas"][field["$ref"].rpartition("/")[2]]
    return field["type"], field.get("default", ABSENT)


@EVERY_ENDPOINT
def test_words_are_the_tables(endpoint: Endpoint) -> None:
    """Neither a word more nor one less, where the table lists words."""
    fields = body_schema(endpoint)["properties"]

    for row in endpoint.rows:
        if "enum" in fields.get(row.field, {}):
            assert words(row) == set(fields[row.field]["enum"]), row.field


def words(row: Row) -> set[object]:
    """The values of a row's own field among its accepted examples."""
    return {change[row.field] for change in row.accepted}


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in accepted_cases()])
def test_the_document_allows_what_the_tables_allow(case: Case) -> None:
    """A generator that obeys the document can ask for everything there is."""
    assert accepts(case)


@pytest.mark.parametrize("case", [pytest.param(case, id=case.id) for case in refused_cases("both", "server")])
def test_the_document_forbids_what_the_tables_forbid(case: Case) -> None:
    """All of it, but for private addresses, which a schema cannot tell."""
    assert accepts(case) == is_only_about_an_address(case)


def test_errors_are_the_vendors_table() -> None:
    """Each code once, under its status, in the shared envelope."""
    responses = DOCUMENT["components"]["responses"].values()
    codes = {answer["content"]["application/json"]["example"]["error"]["code"] for answer in responses}
    schema = DOCUMENT["components"]["schemas"]["Error"]["properties"]["error"]["properties"]["code"]

    assert set(BY_CODE) == codes == set(schema["enum"])
    assert {str(status) for status in BY_STATUS} == statuses_of_errors()


def statuses_of_errors() -> set[str]:
    """Every 4xx and 5xx that any operation documents."""
    operations = [operation for path in DOCUMENT["paths"].values() for operation in path.values()]
    return {status for operation in operations for status in operation["responses"] if status >= "400"}


async def test_the_shipped_document_names_the_vendor_and_the_served_one_does_not() -> None:
    """A tool that is fed with the sandbox's copy must not spend real money."""
    async with (
        Sandbox() as sandbox,
        aiohttp.ClientSession() as session,
        session.get(f"{sandbox.admin_url}/openapi.json") as response,
    ):
        served = await response.json()

    assert [{"url": BASE_URL}] == DOCUMENT["servers"]
    assert {**DOCUMENT, "servers": [{"url": "/api/v1"}]} == served
