"""Tests of the sandbox against the vendor's tables: it charges for valid bodies and refuses others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import aiohttp
import pytest

from seedance_async.sandbox import Sandbox
from tests.contract.tables import accepted_cases, refused_cases

if TYPE_CHECKING:
    from tests.contract.tables import Case

ACCEPTED = [pytest.param(case, id=case.id) for case in accepted_cases()]
REFUSED = [pytest.param(case, id=case.id) for case in refused_cases("both", "server")]


async def post(sandbox: Sandbox, case: Case) -> tuple[int, dict[str, object]]:
    """Status and document that the sandbox answers a case's body with."""
    headers = {"Authorization": f"Bearer {sandbox.api_key}", "Idempotency-Key": "case"}
    url = f"{sandbox.base_url}{case.endpoint.path}"
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(url, json=case.body) as response,
    ):
        return response.status, await response.json()


@pytest.mark.parametrize("case", ACCEPTED)
async def test_what_the_tables_allow_is_accepted_and_charged(case: Case) -> None:
    """202 and a task id, for every valid example of every row."""
    async with Sandbox() as sandbox:
        status, document = await post(sandbox, case)

    assert (202, "processing") == (status, document.get("status")), document
    assert document["id"] in {task.id for task in sandbox.paid_tasks}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_the_tables_forbid_is_refused_and_free(case: Case) -> None:
    """400 ``invalid_request`` in the documented envelope, for every invalid example and combination."""
    async with Sandbox() as sandbox:
        status, document = await post(sandbox, case)

    error = document.get("error")
    assert isinstance(error, dict)
    assert (400, "invalid_request") == (status, error["code"])
    assert sandbox.paid_tasks == []
