"""Lineage: what an object was made from, and what was made from it, hop by hop.

An edge leads from every object that an event named to the one it created: dataset → application → grant →
copy → derived copy. It carries the event, whose receipt proves it. Nodes show their certified state; graph and table come
from one answer. Breadth first, bounded in nodes. From a reader who may not see all of it the others are withheld: counted,
and neither named nor joined. Not here: completeness of a node's history (see `streams`), and who may see what.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from ledger.core.ident import check_identifier
from ledger_node.query.candidates import Candidates
from ledger_node.query.entries import join
from ledger_node.query.index import object_number
from ledger_node.query.objects import object_name
from ledger_node.query.standing import Standing

NODES_DEFAULT: Final = 200
NODES_MAX: Final = 1_000
_IN_MAX: Final = 500  # values in one SQL list

Sight = Callable[[Standing, str, str], bool]
"""Whether the reader may see the object of this kind and id."""

Edge = tuple[int, int, int, int]
"""(parent, child, name of the ref, leaf index of the event) by the index's numbers."""


@dataclass(slots=True)
class Graph:
    """Found nodes by number with their distance (negative upwards), edges, and whether some were left out."""

    depths: dict[int, int]
    edges: set[Edge] = field(default_factory=set)
    truncated: bool = False


def lineage(
    candidates: Candidates,
    kind: str,
    identifier: str,
    *,
    up: bool,
    down: bool,
    depth: int,
    nodes: int,
    sees: Sight | None = None,
) -> bytes:
    """The answer: nodes and edges around one object, those that `sees` lets through (None: all) beside the object itself.

    Raises `NotFoundError` for an object that nothing ever named.
    """
    check_identifier(kind, "object kind")
    check_identifier(identifier, "object id")
    start = object_number(candidates.connection, (kind, identifier), candidates.size)
    graph = Graph({start: 0})
    if up:
        _walk(candidates, graph, start, -1, depth, nodes)
    if down:
        _walk(candidates, graph, start, 1, depth, nodes)
    return _encode(candidates, graph, start, sees)


def _walk(candidates: Candidates, graph: Graph, start: int, step: int, depth: int, nodes_max: int) -> None:
    """Add everything within `depth` hops in one direction, level by level."""
    sql = (
        "SELECT parent, child, via, seq FROM down WHERE parent IN ({}) AND seq<?"
        if step > 0
        else "SELECT parent, child, via, seq FROM up WHERE child IN ({}) AND seq<?"
    )
    level = [start]
    for distance in range(1, depth + 1):
        following: list[int] = []
        for edge in _select(candidates.connection, sql, level, candidates.size):
            far = edge[1] if step > 0 else edge[0]
            if far not in graph.depths:
                if len(graph.depths) >= nodes_max:
                    graph.truncated = True
                    continue
                graph.depths[far] = step * distance
                following.append(far)
            graph.edges.add(edge)
        if not following:
            return
        level = following


def _select(connection: sqlite3.Connection, sql: str, numbers: list[int], size: int) -> Iterable[Edge]:
    for start in range(0, len(numbers), _IN_MAX):
        part = numbers[start : start + _IN_MAX]
        yield from connection.execute(sql.format(",".join("?" * len(part))), (*part, size))


def _encode(candidates: Candidates, graph: Graph, start: int, sees: Sight | None) -> bytes:
    connection, standing = candidates.connection, candidates.standing
    numbers = sorted(graph.depths)
    names: dict[int, tuple[str, str]] = {}
    words = dict(connection.execute("SELECT no, word FROM words").fetchall()) if numbers else {}
    for at in range(0, len(numbers), _IN_MAX):
        part = numbers[at : at + _IN_MAX]
        marks = ",".join("?" * len(part))
        for number, kind, identifier in connection.execute(
            f"SELECT no, kind, id FROM objects WHERE no IN ({marks})",  # noqa: S608 - placeholders only
            part,
        ):
            names[number] = (words[kind], identifier)
    withheld = {number for number in numbers if sees and number != start and not sees(standing, *names[number])}
    nodes = [
        b'{"depth":%d,"id":"%b","kind":"%b","object":%b}'
        % (
            graph.depths[number],
            names[number][1].encode(),
            names[number][0].encode(),
            standing.object(object_name(*names[number])) or b"null",
        )
        for number in sorted(numbers, key=lambda number: (abs(graph.depths[number]), number))
        if number not in withheld
    ]
    edges = [
        b'{"from":"%b","seq":%d,"to":"%b","via":"%b"}'
        % ("/".join(names[parent]).encode(), seq, "/".join(names[child]).encode(), words[via].encode())
        for parent, child, via, seq in sorted(graph.edges, key=lambda edge: (edge[3], edge[0], edge[1]))
        if not withheld & {parent, child}
    ]
    return b'{"checkpoint":%b,"edges":%b,"nodes":%b,"root":"%b","truncated":%b%b}' % (
        standing.encode(),
        join(edges),
        join(nodes),
        "/".join(names[start]).encode(),
        b"true" if graph.truncated else b"false",
        b',"withheld":%d' % len(withheld) if withheld else b"",
    )
