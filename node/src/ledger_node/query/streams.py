"""Timelines: the ordered records of one thing, page by page, each page exact and, where asked for, proved complete.

Rule: a cursor is a position in the stream, so pages never shift; the count is the stream's own size in the certified state.
A stream that nobody ever joined is an answer too, and its absence is provable. Not here: what the records mean.
"""

from __future__ import annotations

from dataclasses import dataclass

from ledger.core.ident import check_identifier
from ledger.core.mapkeys import stream_key
from ledger.core.proof import Absence, StreamName
from ledger.core.stream import StreamValue, parse_stream_value
from ledger.errors import MalformedError
from ledger.limits import HTTP_PAGE_MAX
from ledger_node.query.blocktimes import BlockTimes
from ledger_node.query.entries import encode_entries, join
from ledger_node.query.proving import prove_absence, prove_completeness, read_page
from ledger_node.query.standing import Standing


@dataclass(frozen=True, slots=True)
class Range:
    """Positions [begin, end) of a stream."""

    begin: int
    end: int


def key_of(name: StreamName) -> bytes:
    """The stream's key in the state map; raises `MalformedError` for what is no identifier."""
    return stream_key(check_identifier(name.kind, "stream kind"), check_identifier(name.id, "stream id"), name.refused)


def stream_value(standing: Standing, name: StreamName) -> StreamValue | None:
    """The stream in the certified state, None where nothing ever joined it."""
    row = standing.row(key_of(name))
    return None if row is None else parse_stream_value(row.value)


def page_of(value: StreamValue | None, after: int, limit: int) -> Range:
    """The page of at most `limit` records behind the first `after`; raises `MalformedError` beyond the stream's end."""
    size = 0 if value is None else value.size
    if after > size:
        raise MalformedError("cursor", "beyond the end of the stream", after=after, count=size)
    return Range(after, min(after + limit, size))


def timeline(standing: Standing, times: BlockTimes, name: StreamName, *, after: int, limit: int, proof: bool) -> bytes:
    """The answer of a timeline.

    Without a proof the page's entries are a list in the answer; with one they are inside the proof, which a client reads
    after it has checked it.
    """
    value = stream_value(standing, name)
    page = page_of(value, after, limit)
    following = b"null" if value is None or page.end >= value.size else b"%d" % page.end
    if proof:
        content = b'"proof":%b' % prove_completeness(standing, name, key_of(name), value, page.begin, page.end)
    else:
        leaves = [] if value is None else read_page(standing.snap, key_of(name), value, page.begin, page.end).leaves
        content = b'"entries":%b' % join(encode_entries(standing.snap, times, leaves))
    return b'{"begin":%d,"checkpoint":%b,"count":%d,"end":%d,%b,"next":%b,"stream":%b}' % (
        page.begin,
        standing.encode(),
        0 if value is None else value.size,
        page.end,
        content,
        following,
        encode_stream(standing, name, value),
    )


def encode_stream(standing: Standing, name: StreamName, value: StreamValue | None) -> bytes:
    """What the certified state says of a stream and of its refused twin, without their blinds."""
    twin = stream_value(standing, StreamName(name.kind, name.id, not name.refused))
    sizes = [0 if each is None else each.size for each in (value, twin)]
    if name.refused:
        sizes.reverse()
    ends = b"" if value is None else b'"first":%d,"last":%d,' % (value.first, value.last)
    last = b"" if value is None else b',"time":%d' % value.time
    return b'{%b"id":"%b","kind":"%b","refused":%b,"refused_size":%d,"size":%d%b}' % (
        ends,
        name.id.encode("ascii"),
        name.kind.encode("ascii"),
        b"true" if name.refused else b"false",
        sizes[1],
        sizes[0],
        last,
    )


def prove_range_of(standing: Standing, kind: str, identifier: str, refused: bool, begin: int, end: int | None) -> bytes:
    """The completeness proof of records [begin, end) of a stream (`end` None: up to its last, at most one page)."""
    name = StreamName(kind, identifier, refused)
    value = stream_value(standing, name)
    size = 0 if value is None else value.size
    if end is None:
        end = min(size, begin + HTTP_PAGE_MAX)
    if not begin <= end <= size or end - begin > HTTP_PAGE_MAX:
        raise MalformedError("range", "not a range of this stream, or too long", begin=begin, end=end, count=size)
    return prove_completeness(standing, name, key_of(name), value, begin, end)


def prove_no_stream(standing: Standing, kind: str, identifier: str) -> Absence:
    """The proof that no accepted record ever joined a stream of this name; raises `NotFoundError` where one did."""
    plain, refused = (key_of(StreamName(kind, identifier, twin)) for twin in (False, True))
    return prove_absence(standing, kind, identifier, plain, refused)
