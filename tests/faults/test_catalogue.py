"""A check that every number of the fault catalogue is proved by a test."""

from __future__ import annotations

from tests.faults.catalogue import FAULTS, proofs


def test_every_number_is_proven() -> None:
    """And no test claims a number that is not there, which would hide that another is not proven."""
    assert 188 == len(FAULTS)
    assert FAULTS.keys() == proofs().keys()
