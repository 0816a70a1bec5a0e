"""Accepting a head by one match and judging it field by field are the same function."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from ledger.core import canonical, event
from ledger.errors import MalformedError

identifiers = st.from_regex(r"[a-z0-9][a-z0-9._:~/-]{0,6}", fullmatch=True) | st.sampled_from(["a" * 128, "a" * 129])
odd = st.sampled_from(
    ["", "A", "a b", "é", 0, None, True, [], {}, ["a", "a"], [[]], "ab" * 32, ["ab" * 32], ["x"] * 70]
)
digests = st.sampled_from(["ab" * 32, "cd" * 32, "AB" * 32, "ab" * 31])
days = st.builds("{:04d}-{:02d}-{:02d}".format, st.integers(1960, 2040), st.integers(0, 14), st.integers(0, 33))
times = st.builds("{}T{:02d}:{:02d}:{:02d}.{:03d}Z".format, days, *(st.integers(0, n) for n in (25, 61, 61, 999)))
uuids = st.sampled_from(["01a1fd1e-8c7b-7a00-8000-0123456789ab", "01a1fd1e-8c7b-4a00-8000-0123456789ab"])


def or_odd(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Mostly the right thing."""
    return st.integers(0, 9).flatmap(lambda die: odd if die == 0 else strategy)


heads = st.fixed_dictionaries(
    {
        "id": or_odd(uuids),
        "kind": or_odd(identifiers),
        "refs": or_odd(
            st.dictionaries(
                or_odd(identifiers).map(str), or_odd(identifiers | st.lists(identifiers, max_size=9)), max_size=18
            )
        ),
        "time": or_odd(times),
        "v": or_odd(st.just(1)),
    },
    optional={
        "commitments": or_odd(
            st.dictionaries(identifiers, or_odd(digests | st.lists(digests, max_size=3)), max_size=3)
        ),
        "data_subjects": or_odd(st.lists(identifiers, max_size=18)),
        "intent": or_odd(st.just(True)),
        "other": st.just(1),
    },
)


@given(heads)
def test_both_ways_of_judging_a_head_agree(fields: dict[str, Any]) -> None:
    """parse_head accepts exactly what check_fields accepts, with the same code of refusal."""
    try:
        data = canonical.encode(fields)
    except MalformedError:
        return
    results: list[object] = []
    for judge in (lambda: event.parse_head(data) and None, lambda: event.check_fields(canonical.parse(data))):
        try:
            results.append(judge())
        except MalformedError as error:
            results.append(error.code)
    assert results[0] == results[1]


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_bytes_are_refused_as_malformed(head: bytes, body: bytes) -> None:
    """No two byte strings make parse_event raise anything but MalformedError."""
    try:
        event.parse_event(head, body)
    except MalformedError:
        return
