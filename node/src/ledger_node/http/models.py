"""The answers as OpenAPI shows them. Rule: documentation only; answers are spliced bytes and never pass through a model.

Tests hold answers and models together (every answer of the contract test validates). Not here: parameters (see `asking`).
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Json = dict[str, Any]
Time = Annotated[int, Field(description="Unix milliseconds.", examples=[1795248000000])]
Hex = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Answer(BaseModel):
    """A closed answer."""

    model_config = ConfigDict(extra="forbid")


class ProblemBody(Answer):
    """RFC 9457: what happened, to which object, what to do. `code` is stable and never translated."""

    type: Annotated[str, Field(examples=["urn:suyuan:problem:malformed"])]
    title: str
    status: int
    detail: str
    code: Annotated[str, Field(examples=["canonical"])]
    reason: Annotated[str, Field(description="A technical remark, not translated.")]
    evidence: Json
    instance: str | None = None
    index: Annotated[int | None, Field(description="Number of the offending event in its submission.")] = None
    retry_after_s: int | None = None


class ProofFile(BaseModel):
    """A canonical JSON document."""

    model_config = ConfigDict(extra="allow")


class CheckpointBody(Answer):
    """What the answer stands on: the certified checkpoint with its certificate, a C2SP note."""

    certified: Literal[True]
    clock: Literal["wall", "scenario"]
    height: int
    note: str
    origin: str
    size: int
    time: Time


class EventPlace(Answer):
    """What became of one event."""

    duplicate: Annotated[bool, Field(description="It stood there before; this is its first record.")]
    id: str
    member: str
    outcome: Literal["accepted", "irregular", "refused"]
    seq: Annotated[int, Field(description="Leaf index.")]
    verdict: Json
    receipt: Annotated[Json | None, Field(description="Self-contained receipt proof, where asked for.")] = None


class Recorded(Answer):
    """What became of a submission."""

    certified: bool
    checkpoint: Annotated[str, Field(description="C2SP checkpoint note: log-signed, cosigned once certified.")]
    events: list[EventPlace]
    height: int
    size: int
    time: Time


class EntryBody(Answer):
    """One entry of the log; `leaf`, `head` and `body` are the hashed documents."""

    body: Json | None
    head: Json | None
    leaf: Json
    seq: int
    time: Annotated[int, Field(description="Block time, Unix milliseconds.")]
    type: Literal["record", "timer", "header"]


class StreamBody(Answer):
    """A stream in the certified state."""

    id: str
    kind: str
    refused: bool
    size: int
    refused_size: Annotated[int, Field(description="Records of the refused twin.")]
    first: int | None = None
    last: int | None = None
    time: Time | None = None


class TimelineBody(Answer):
    """Records [begin, end) of a stream of `count`. With `proof=full` the entries are in the proof."""

    begin: int
    checkpoint: CheckpointBody
    count: int
    end: int
    entries: list[EntryBody] | None = None
    proof: Annotated[Json | None, Field(description="A completeness proof file.")] = None
    next: int | None
    stream: StreamBody


class EventBody(Answer):
    """One event, and the refused records of other content under its id."""

    checkpoint: CheckpointBody
    conflicts: list[EntryBody]
    entry: EntryBody


class EventsBody(Answer):
    """A page of records."""

    checkpoint: CheckpointBody
    count: int
    entries: list[EntryBody]
    next: int | None


class ObjectItem(Answer):
    """A state object; `object` is its canonical JSON, its fields are the rulebook's."""

    id: str
    kind: str
    object: Json
    stream: StreamBody | None


class ObjectBody(ObjectItem):
    """One state object."""

    checkpoint: CheckpointBody


class ObjectsBody(Answer):
    """A page of objects of one kind."""

    checkpoint: CheckpointBody
    count: int
    items: list[ObjectItem]
    next: int | None


class FindingItem(Answer):
    """A candidate violation for a human."""

    finding: Json
    id: str
    seq: int


class FindingsBody(Answer):
    """A page of findings."""

    checkpoint: CheckpointBody
    count: int
    items: list[FindingItem]
    next: int | None


class DutyItem(Answer):
    """Who must do what by when."""

    duty: Json
    key: str
    seq: int


class DutiesBody(Answer):
    """A page of duties."""

    checkpoint: CheckpointBody
    count: int
    items: list[DutyItem]
    next: int | None


class TimerItem(Answer):
    """An armed timer, or the open duty behind one that passed."""

    due: Time | None
    key: str
    timer: Json | None = None
    duty: Json | None = None
    seq: int | None = None


class TimersBody(Answer):
    """A page of timers."""

    checkpoint: CheckpointBody
    count: int
    items: list[TimerItem]
    next: int | None
    now: Annotated[int, Field(description="Certified block time, Unix milliseconds.")]


class NodeItem(Answer):
    """An object in a lineage; `depth` is negative upstream."""

    depth: int
    id: str
    kind: str
    object: Json | None


class EdgeItem(Answer):
    """`to` was created by the event at leaf `seq`, which named `from` as its `via`."""

    from_: Annotated[str, Field(alias="from")]
    seq: int
    to: str
    via: str


class LineageBody(Answer):
    """Graph and table in one. `withheld`: how many neighbours this reader may not see; absent where there are none."""

    checkpoint: CheckpointBody
    edges: list[EdgeItem]
    nodes: list[NodeItem]
    root: str
    truncated: bool
    withheld: int | None = None


class KeyItem(Answer):
    """A registered public key."""

    entry: Json
    key_id: Hex


class MemberItem(Answer):
    """A member of the registry."""

    id: str
    member: Json
    keys: list[KeyItem]
    accepted: Annotated[int, Field(description="Accepted and irregular records in its stream.")]
    refused: int


class MemberBody(MemberItem):
    """One member."""

    checkpoint: CheckpointBody


class MembersBody(Answer):
    """All members."""

    checkpoint: CheckpointBody
    count: int
    items: list[MemberItem]


class SearchGroups(Answer):
    """What a text may mean."""

    members: list[Json]
    kinds: list[Json]
    objects: list[Json]
    events: list[Json]


class SearchBody(Answer):
    """Search results."""

    checkpoint: CheckpointBody
    found: SearchGroups
    truncated: bool


class InclusionBody(Answer):
    """An RFC 6962 inclusion path."""

    checkpoint: CheckpointBody
    leaf_hash: Hex
    path: list[Hex]
    root: Hex
    seq: int
    size: int


class ConsistencyBody(Answer):
    """An RFC 6962 consistency path."""

    checkpoint: CheckpointBody
    new: int
    new_root: Hex
    old: int
    old_root: Hex
    path: list[Hex]


class EpochsBody(Answer):
    """The ends of all epochs before the checkpoint, as proof files carry them (SPEC R-V12)."""

    checkpoint: CheckpointBody
    epochs: list[dict[str, Any]]


class StatusBody(Answer):
    """Where this node stands."""

    certified_height: int | None
    certified_size: int | None
    clock: Literal["wall", "scenario"]
    engine: Literal["sequencer", "cometbft"]
    height: int
    moves: int
    origin: str
    restored: int
    role: str
    signs_for: list[str]
    size: int
    time: Time
    version: str


class PeersBody(Answer):
    """The other nodes that this one knows: what a department needs to join."""

    http: list[str]
    p2p: list[str]


class Check(Answer):
    """One readiness check."""

    name: str
    ok: bool
    detail: str


class ReadyBody(Answer):
    """Every check."""

    ready: bool
    checks: list[Check]


class ClockBody(Answer):
    """The head after a step of a scenario clock."""

    height: int
    time: str


class DraftBody(BaseModel):
    """One event of a local system; the node adds id, time and salt where absent, and signs."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "example": {
                "kind": "use.access",
                "member": "rs",
                "refs": {"dataset": "ga/hukou", "grant": "ga/0192f5c2-0000-7000-8000-000000000001"},
                "body": {"count": 12, "purpose": "pension-check"},
            }
        },
    )

    kind: str
    refs: dict[str, str | list[str]] = {}
    body: Json = {}
    id: str | None = None
    time: str | None = None
    member: str | None = None
    intent: Literal[True] | None = None
    data_subjects: list[str] = []
    commitments: dict[str, str | list[str]] = {}


class DraftsBody(BaseModel):
    """Several events of one member under one signature."""

    model_config = ConfigDict(extra="forbid")

    events: Annotated[list[DraftBody], Field(min_length=1, max_length=1000)]
    member: str | None = None


class StepBody(BaseModel):
    """Where to step a scenario clock."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"example": {"time": "2026-12-01T00:00:00.000Z"}})

    time: str


class RulebooksBody(Answer):
    """What is in force."""

    config: Json
    config_hash: Hex
    height: int
    rulebooks: list[Json]


class ProposalItem(Answer):
    """A proposal to change what is in force."""

    name: Annotated[str, Field(examples=["sj/0192f5c2-0000-7000-8000-000000000001"])]
    proposal: Json


class Voters(Answer):
    """Who votes now, and how many of them decide."""

    checkpoint: CheckpointBody
    cosigners: list[tuple[str, Hex]]
    cosigners_needed: int
    electorate: list[str]
    needed: int


class ProposalsBody(Voters):
    """A page of proposals, and who votes."""

    count: int
    items: list[ProposalItem]
    next: int | None


class ProposalBody(Voters):
    """One proposal and the votes on it by member."""

    name: str
    needs_cosigners: bool
    proposal: Json
    votes: dict[str, Json]


class OfferedBody(Answer):
    """A bundle waits for its proposal."""

    digest: Hex


class KindsBody(Answer):
    """The rulebook's declarations by name."""

    bundle: Hex
    kinds: dict[str, Json]
    objects: dict[str, Json]
    texts: dict[str, Json]
