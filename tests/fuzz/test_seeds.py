"""Tests of the targets on their seeds and on past failures; ``python -m tests.fuzz`` searches for more."""

from __future__ import annotations

import pytest

from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS

CASES = [
    pytest.param(name, seed, id=f"{name}-{number}")
    for name, seeds in SEEDS.items()
    for number, seed in enumerate(seeds)
]


@pytest.mark.parametrize(("name", "seed"), CASES)
def test_the_target_holds(name: str, seed: bytes) -> None:
    """What must hold for any bytes holds for these."""
    TARGETS[name](seed)


def test_every_target_has_seeds() -> None:
    """A search that begins with nothing finds little."""
    assert TARGETS.keys() == SEEDS.keys()
