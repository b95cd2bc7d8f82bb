"""Which URLs count as public, judged by their form alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seedance_async.network import public_host_fault, public_url_fault


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.png",
        "HTTPS://CDN.EXAMPLE.COM/A.PNG",
        "https://example.com./a.png",
        "https://bucket.s3.eu-central-1.amazonaws.com/key?X-Amz-Signature=ab%2Bcd#page",
        "https://my_bucket.example.com:8443/a",
        "https://b\u00fccher.example.com/\u56fe.png",
        "https://cdn\u3002example\u3002com/a.png",
        "https://8.8.8.8/a",
        "https://[2001:4860:4860::8888]/a",
        "https://[::ffff:8.8.8.8]/a",
        "https://example.com/redirect?to=http://localhost/#@127.0.0.1",
    ],
)
def test_public_url_is_accepted(url: str) -> None:
    """Ports, signatures, international names and public addresses are all fine."""
    assert public_url_fault(url) is None


@pytest.mark.parametrize(
    "host",
    [
        *("localhost", "LOCALHOST", "localhost.", "cdn.localhost", "printer.local", "intranet", "nas.lan"),
        *("metadata.google.internal", "router.home.arpa", "wiki.corp", "git.intranet", "tv.home"),
    ],
)
def test_name_of_a_private_network_is_refused(host: str) -> None:
    """The vendor's server cannot reach what only the caller's network can name."""
    assert "exists only inside a private network" in (public_url_fault(f"https://{host}/a.png") or "")


@pytest.mark.parametrize(
    "address",
    [
        *("127.0.0.1", "127.8.9.10", "0.0.0.0", "10.1.2.3", "172.16.0.1", "192.168.0.1", "100.64.0.1"),
        *("169.254.169.254", "168.63.129.16", "192.0.0.192", "198.18.0.1", "224.0.0.1", "255.255.255.255"),
        *("[::1]", "[::]", "[fe80::1]", "[fe80::1%25eth0]", "[fd00:ec2::254]", "[fec0::1]", "[ff02::1]"),
        *("[::ffff:127.0.0.1]", "[::ffff:a00:1]", "[::127.0.0.1]", "[2002:7f00:1::]", "[64:ff9b::7f00:1]"),
    ],
)
def test_address_that_is_not_public_is_refused(address: str) -> None:
    """Loopback, private, link-local, metadata and reserved addresses, also those wrapped in IPv6."""
    assert "is not a public address" in (public_url_fault(f"https://{address}/a.png") or "")


@pytest.mark.parametrize("host", ["2130706433", "127.1", "0x7f.1", "0177.0.0.1", "0x7f000001", "10.0.1"])
def test_address_in_disguise_is_refused(host: str) -> None:
    """Resolvers read these as IPv4 addresses, so they are none of the names they look like."""
    assert "not written in the usual four numbers" in (public_url_fault(f"https://{host}/a.png") or "")


@pytest.mark.parametrize(
    "host",
    [
        "127\u30020\u30020\u30021",
        "\uff11\uff12\uff17.0.0.1",
        "\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3",
    ],
    ids=["ideographic-stops", "wide-digits", "circled-localhost"],
)
def test_host_in_look_alike_letters_is_refused(host: str) -> None:
    """IDNA folds these letters into plain ones before the name is resolved; so do we before judging it."""
    assert public_url_fault(f"https://{host}/a.png") is not None


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("https://mia:secret@example.com/a", "user name or password"),
        ("https://mia@example.com/a", "user name or password"),
        ("https://example.com:0/a", "port 0"),
        ("https://example.com:99999/a", "is not a URL"),
        ("https://example.com:http/a", "is not a URL"),
        ("https://[::1/a", "is not a URL"),
        ("https:///a", "no usable host name"),
        ("https:example.com/a", "no usable host name"),
        ("https://a..example.com/a", "no usable host name"),
        ("https://-a.example.com/a", "no usable host name"),
        ("https://ex%61mple.com/a", "no usable host name"),
        (f"https://{'a' * 64}.com/a", "no usable host name"),
        ("https://example.com/a b", "percent-encoded"),
        (" https://example.com/a", "percent-encoded"),
        ("https://example.com/a\n", "percent-encoded"),
        ("https://example.com\\@localhost/a", "percent-encoded"),
        ("https://example.com/\ud800", "percent-encoded"),
        ("wss://example.com/a", "got wss://"),
        ("example.com/a", "got no scheme"),
        ("Asset://a", "is an asset:// URL"),
    ],
)
def test_malformed_url_is_refused_with_its_reason(url: str, reason: str) -> None:
    """Whoever pasted the URL learns what to change."""
    assert reason in (public_url_fault(url) or "")


@given(st.text())
def test_any_text_gets_a_verdict(text: str) -> None:
    """No text, however strange, makes the judgement itself fail."""
    assert public_url_fault(text) or text.lower().startswith("https://")
    assert public_url_fault(f"https://{text}") or public_host_fault("example.com") is None


@given(st.ip_addresses(network="10.0.0.0/8") | st.ip_addresses(network="fc00::/7"))
def test_no_private_address_passes(address: object) -> None:
    """Every spelling that ``ipaddress`` gives a private address is recognised."""
    assert public_host_fault(str(address)) is not None
