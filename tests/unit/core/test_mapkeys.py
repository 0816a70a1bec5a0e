"""Names and values of the state map."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.core.hashing import Digest
from ledger.core.mapkeys import (
    EMPTY_VALUE_HASH,
    bundle_key,
    config_key,
    key_hash,
    key_key,
    key_parts,
    member_key,
    next_blind,
    object_key,
    object_name,
    object_value,
    parse_object_value,
    stream_key,
    value_hash,
)
from ledger.errors import MalformedError

D1 = Digest(bytes(range(32)))


def test_keys_are_namespace_and_length_prefixed_parts():
    """Each namespace has its number and its parts stand behind their u16 lengths."""
    assert stream_key("dataset", "ga/hukou", refused=False) == b"\x01\x00\x07dataset\x00\x08ga/hukou\x00"
    assert stream_key("dataset", "ga/hukou", refused=True) == b"\x01\x00\x07dataset\x00\x08ga/hukou\x01"
    assert object_key("grant/ga/0192") == b"\x02\x00\x05grant\x00\x07ga/0192"
    assert object_key("timer/A3/application/x/y") == b"\x03\x00\x12A3/application/x/y"
    assert object_key("timers/A3") == b"\x02\x00\x06timers\x00\x02A3"
    assert member_key("ga") == b"\x04\x00\x02ga"
    assert key_key(D1) == b"\x05\x00\x20" + D1
    assert config_key() == b"\x06"
    assert bundle_key(D1) == b"\x07\x00\x20" + D1


@pytest.mark.parametrize("text", ["grant", "grant/", "/x", "", "timer/", "gränt/x", "grant/户"])
def test_object_key_needs_kind_and_id_in_ascii(text):
    """A name without kind or id, or with other than ASCII, names nothing."""
    with pytest.raises(MalformedError) as caught:
        object_key(text)
    assert caught.value.code == "map-key"


names = st.text("abc/!~", min_size=1, max_size=4)


@given(st.tuples(names, names, st.booleans()), st.tuples(names, names, st.booleans()))
def test_stream_keys_are_injective(one, other):
    """Two streams have one key only if they are the same."""
    assert (stream_key(*one) == stream_key(*other)) == (one == other)


@given(names, names)
def test_object_keys_are_injective(one, other):
    """Two state objects have one key only if they have one name, whatever is part of kind and id."""
    a, b = f"k/{one}", f"k/{other}"
    assert (object_key(a) == object_key(b)) == (a == b)


def test_hashes_carry_their_tags():
    """Key hash, value hash and blind show tag and preimage; the first blind follows 32 zero bytes."""
    assert key_hash(b"k") == hashlib.sha256(b"suyuan/mapkey/v1\0k").digest()
    assert value_hash(b"v") == hashlib.sha256(b"suyuan/mapvalue/v1\0v").digest()
    assert value_hash(b"") == EMPTY_VALUE_HASH
    first = next_blind(None, D1)
    assert first == hashlib.sha256(b"suyuan/blind/v1\0" + bytes(32) + D1).digest()
    assert next_blind(first, D1) == hashlib.sha256(b"suyuan/blind/v1\0" + first + D1).digest()


def test_object_value_round_trips():
    """A state object comes back out of its map value with its blind."""
    value = object_value(D1, b'{"a":1}')
    assert value == b'{"blind":"' + D1.hex().encode() + b'","object":{"a":1}}'
    assert parse_object_value(value) == (D1, b'{"a":1}')


def test_object_value_is_bounded():
    """An object above 4 KiB is no state object."""
    fits = object_value(D1, b'{"a":"%b"}' % (b"x" * (4096 - 8)))
    assert len(parse_object_value(fits)[1]) == 4096
    with pytest.raises(MalformedError) as caught:
        parse_object_value(object_value(D1, b'{"a":"%b"}' % (b"x" * (4097 - 8))))
    assert caught.value.code == "state-value"


@given(st.binary(max_size=120))
def test_parse_object_value_is_total(data):
    """Any bytes give a value that encodes to them, or `MalformedError`."""
    try:
        blind, content = parse_object_value(data)
    except MalformedError:
        return
    assert object_value(blind, content) == data


def test_every_changed_byte_of_the_frame_is_refused():
    """Around the object, no byte can be another."""
    value = object_value(D1, b"{}")
    for place in [*range(10), *range(74, len(value))]:
        changed = value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :]
        with pytest.raises(MalformedError):
            parse_object_value(changed)


def test_names_come_back_out_of_keys():
    """`object_name` and `key_parts` undo what made the key, for objects, timers and members."""
    assert object_name(object_key("grant/ga/0192")) == ("grant", "ga/0192")
    assert key_parts(object_key("timer/A3/application/x/y")) == ["A3/application/x/y"]
    assert key_parts(member_key("ga")) == ["ga"]


@given(st.binary(max_size=40))
def test_any_bytes_are_the_key_of_one_name_or_refused(data):
    """What `object_name` reads is spelled in no other way; everything else is malformed."""
    try:
        kind, identifier = object_name(data)
    except MalformedError:
        return
    assert object_key(f"{kind}/{identifier}") == data or "/" in kind or (kind == "timer")
