"""Idempotency keys: one for each operation, and the same one after a crash."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_async.batch import keys
from tests.batch.stores import draft, opened_store, plan

if TYPE_CHECKING:
    from pathlib import Path


KEY_PARTS = st.tuples(
    st.binary(min_size=32, max_size=32), st.text(max_size=20), st.integers(1, 10**6), st.binary(max_size=32)
)


@given(one=KEY_PARTS, other=KEY_PARTS)
def test_keys_are_equal_exactly_where_all_their_parts_are(
    one: tuple[bytes, str, int, bytes], other: tuple[bytes, str, int, bytes]
) -> None:
    """One operation, one key; and each survives the loss of its last record."""
    first, second = (
        keys.derive(nonce, name=name, generation=generation, digest=digest)
        for nonce, name, generation, digest in (one, other)
    )

    assert (one == other) == (first == second)
    assert 36 == len(first)
    assert first.isascii()


@pytest.mark.case(85)
def test_two_batches_never_share_a_key(tmp_path: Path) -> None:
    """Catalogue 84, 85: the nonce is drawn once for each journal, from the system's own randomness."""
    calls = []
    for name in ("one", "two"):
        with opened_store(tmp_path / name) as store:
            plan(store, [draft("boat")])
            calls.append(store.intend(1, now=1.0))

    assert calls[0].body == calls[1].body
    assert calls[0].idempotency_key != calls[1].idempotency_key
