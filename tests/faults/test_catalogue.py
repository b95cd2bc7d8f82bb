"""Every number of the catalogue is proven by a test, or argued."""

from __future__ import annotations

from tests.faults.catalogue import ARGUED, FAULTS, proofs


def test_every_number_is_proven_or_argued() -> None:
    """And none is both: an argument that a test has overtaken is out of date."""
    proven = proofs().keys()

    assert 157 == len(FAULTS)
    assert set() == FAULTS.keys() - proven - ARGUED.keys()
    assert set() == proven & ARGUED.keys()


def test_no_test_proves_a_number_that_is_not_there() -> None:
    """A typing error would hide that something is not proven."""
    assert set() == proofs().keys() - FAULTS.keys()


def test_most_numbers_are_proven() -> None:
    """An argument is for what this package has no part in."""
    assert 150 <= len(proofs())
