"""One account has one name, however its origin is spelled."""

from __future__ import annotations

import pytest

from seedance_async.credentials import ApiKey, normal_origin


@pytest.mark.case(168)
@pytest.mark.parametrize(
    ("spelling", "normal"),
    [
        ("https://seedance2ai.io", "https://seedance2ai.io"),
        ("https://www.seedance2ai.io", "https://seedance2ai.io"),
        ("HTTPS://WWW.Seedance2AI.io.:443", "https://seedance2ai.io"),
        ("https://seedance2ai.io:8443", "https://seedance2ai.io:8443"),
        ("http://localhost:80", "http://127.0.0.1"),
        *[
            (f"http://{host}:8080", "http://127.0.0.1:8080")
            for host in (
                "localhost",
                "LOCALHOST.",
                "127.0.0.1",
                "127.0.0.1.",
                "127.1",
                "127.0.0.2",
                "[::1]",
                "[0:0:0:0:0:0:0:1]",
                "[::ffff:127.0.0.1]",
            )
        ],
        ("https://[2001:DB8:0::1]", "https://[2001:db8::1]"),
        ("https://wwwhat.example", "https://wwwhat.example"),
    ],
)
def test_an_origin_has_one_normal_form(spelling: str, normal: str) -> None:
    """Budget file and journal are named after it, so two spellings would be two accounts."""
    assert normal == normal_origin(spelling)
    assert normal == normal_origin(normal)
    assert ApiKey("sk").account(spelling) == ApiKey("sk").account(normal)


@pytest.mark.case(168)
@pytest.mark.parametrize(
    "other", ["http://seedance2ai.io", "https://api.seedance2ai.io", "https://seedance2ai.io:444"]
)
def test_other_origins_stay_others(other: str) -> None:
    """Nothing that may be another server is folded."""
    assert normal_origin(other) != normal_origin("https://seedance2ai.io")
