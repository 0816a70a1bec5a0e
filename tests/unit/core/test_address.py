"""Texts that name a place in a network, and texts that do not."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.core.address import encode_address, is_host, parse_address, parse_peer
from ledger.errors import MalformedError

ID = "0a" * 20


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("10.0.0.1:26656", "10.0.0.1", 26656),
        ("node-1.gov.example:1", "node-1.gov.example", 1),
        ("[::1]:65535", "::1", 65535),
    ],
)
def test_addresses_round_trip(text: str, host: str, port: int) -> None:
    """Names, IPv4 and IPv6 hosts give their parts, and the parts give the text back; a peer has its id before them."""
    assert parse_address(text) == (host, port) and encode_address(host, port) == text
    assert parse_peer(f"{ID}@{text}") == (ID, host, port)


@pytest.mark.parametrize(
    "text",
    ["", "host", ":1", "host:", "host:0", "host:65536", "host:+1", "::1:1", "a b:1", "a,b:1", "http://a:1", "a:1/x", "a:1\n",
     "-a:1", "[]:1", "a:１", None, 1, f"{ID}@a:1"],
)  # fmt: skip
def test_what_is_no_address(text: object) -> None:
    """Anything else is refused, alone and as a peer's."""
    with pytest.raises(MalformedError) as caught:
        parse_address(text)
    assert caught.value.code == "address"
    for peer in (f"{ID}@{text},", f"{ID.upper()}@a:1", f"{ID}0@a:1", "a:1", text if text != f"{ID}@a:1" else None):
        with pytest.raises(MalformedError):
            parse_peer(peer)


@given(st.text(max_size=60))
def test_parsers_are_total(text: str) -> None:
    """Any text is an address or refused."""
    for parse in (parse_address, parse_peer):
        with contextlib.suppress(MalformedError):
            parse(text)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("localhost", True), ("10.0.0.1", True), ("2001:db8::1", True), ("a.example.", True), ("数据.cn", True),
        ("a" * 63 + ".cn", True), ("a" * 64 + ".cn", False), ("x..y", False), (".x", False), ("", False), ("a b", False),
        ("a\n", False), ("a\0", False), ("\udc80", False), ("数" * 60, False),
        ("a." * 127, False), ("a" * 10_000_000, False),
    ],
)  # fmt: skip
def test_which_hosts_can_be_looked_up(name: str, expected: bool) -> None:
    """Names in IDNA's bounds and IP addresses; what a resolver or `http.client` would choke on is none."""
    assert is_host(name) is expected
