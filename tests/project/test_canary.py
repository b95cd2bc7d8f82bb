"""Tests of the search for API keys in the output and files of every test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from seedance_async.sandbox import Sandbox
from tests.canary import KEYS, clean, files_with_a_key

if TYPE_CHECKING:
    from pathlib import Path


def test_the_sandboxs_own_key_is_among_those_searched_for() -> None:
    """It is the key of nearly every test; under another one nothing would ever be found."""
    assert Sandbox().api_key in KEYS


@pytest.mark.parametrize("key", KEYS)
def test_a_key_in_what_a_program_said_is_found(key: str) -> None:
    """And what stands around it is not said once more."""
    assert "all is well" == clean("all is well")
    with pytest.raises(AssertionError, match="is in the output") as caught:
        clean(f"header: Bearer {key}_1 of mine")

    assert "of mine" not in str(caught.value)


@pytest.mark.parametrize("key", KEYS)
def test_a_key_in_a_file_is_found(key: str, tmp_path: Path) -> None:
    """However deep, and whatever stands around it."""
    (tmp_path / "harmless").write_bytes(b"sk_")
    leak = tmp_path / "a" / "b" / "state.sqlite"
    leak.parent.mkdir(parents=True)
    leak.write_bytes(b"\x00\xff" + key.encode() + b"\xfe")
    found = list(files_with_a_key(tmp_path))
    leak.unlink()

    assert [leak] == found
