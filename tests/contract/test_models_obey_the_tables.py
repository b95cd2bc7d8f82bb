"""Tests of the models against the vendor's tables: same fields, same defaults, same verdicts on examples."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from seedance_async import wire
from seedance_async.errors import ValidationError
from seedance_async.models import REQUEST_TYPES
from tests.contract.tables import ABSENT, ENDPOINTS, accepted_cases, refused_cases

if TYPE_CHECKING:
    from tests.contract.tables import Case, Endpoint

ACCEPTED = [pytest.param(case, id=case.id) for case in accepted_cases()]
REFUSED = [pytest.param(case, id=case.id) for case in refused_cases("both", "client")]
FILLED_IN = [pytest.param(case, id=case.id) for case in refused_cases("server")]
EVERY_ENDPOINT = pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.model)


@EVERY_ENDPOINT
def test_model_has_exactly_the_documented_fields(endpoint: Endpoint) -> None:
    """A field that is not in the table could be sent by mistake; one that is missing could not be used."""
    documented = {row.field for row in endpoint.rows if row.required != "never"}

    assert documented == {field.name for field in attrs.fields(REQUEST_TYPES[endpoint.model])}


@EVERY_ENDPOINT
def test_model_goes_to_the_documented_path(endpoint: Endpoint) -> None:
    """Path and word for the model are the vendor's."""
    request_type = REQUEST_TYPES[endpoint.model]

    assert (endpoint.model, endpoint.path) == (request_type.model, request_type.path)


@EVERY_ENDPOINT
def test_body_writes_out_the_documented_defaults(endpoint: Endpoint) -> None:
    """The shortest request asks for what the server would assume, and says so."""
    defaults = {row.field: row.default for row in endpoint.rows if row.default is not ABSENT}
    body = wire.loads(wire.encode(wire.build(endpoint.model, endpoint.base)))

    assert isinstance(body, dict)
    assert {**defaults, **endpoint.base} == body


@pytest.mark.parametrize("case", ACCEPTED)
def test_model_accepts_what_the_tables_allow(case: Case) -> None:
    """A documented body can be built, and every field of it reaches the wire unchanged."""
    body = wire.loads(wire.encode(wire.build(case.endpoint.model, case.body)))

    assert isinstance(body, dict)
    assert case.body == {name: body[name] for name in case.body}


@pytest.mark.parametrize("case", REFUSED)
def test_model_refuses_what_the_tables_forbid(case: Case) -> None:
    """What the server would refuse is refused before it is sent, under its field and with the reason."""
    with pytest.raises(ValidationError) as refusal:
        wire.build(case.endpoint.model, case.body)

    reasons = " | ".join(reason for field, reason in refusal.value.problems if field == case.field)
    assert case.reason is not None
    assert case.reason in reasons


@pytest.mark.parametrize("case", FILLED_IN)
def test_model_fills_in_what_the_server_demands(case: Case) -> None:
    """What the server requires and the media decide need not be written by hand."""
    body = wire.loads(wire.encode(wire.build(case.endpoint.model, case.body)))

    assert isinstance(body, dict)
    assert {row.field for row in case.endpoint.rows if row.required == "Yes"} <= body.keys()
