"""Governance on the ledger: the `sys.*` kinds and the timers at which their changes take effect (SPEC R-G10 to R-G20).

Rules: a change is proposed, approved by more than two thirds (of the authority members; of the cosigners too where the
set or the protocol changes), and takes effect at a timer of its own, later than the vote that passed it and never before
the moment it asked for. Events of one block see each other's effect in order, so verdicts do not depend on block
boundaries. Three kinds need no vote: a member ends or rotates its own key, and proves what a validator signed.
Not here: what a change does (see `changes`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any, Final

from ledger.core import canonical
from ledger.core.bundle import bundle_hash, parse_bundle
from ledger.core.config import Config
from ledger.core.engine import ENGINE_KEY, Engine, chain_id, parse_engine
from ledger.core.event import Event
from ledger.core.hashing import Digest, parse_hex_digest
from ledger.core.ident import parse_time
from ledger.core.leaf import TimerLeaf, encode_timer, timer_streams
from ledger.core.mapkeys import config_key, key_key, member_key
from ledger.core.proposal import (
    ANNOUNCED,
    APPROVE,
    ENACTED,
    FAILED,
    OPEN,
    PASSED,
    REJECT,
    REJECTED,
    TIMER_PREFIX,
    WITHDRAWN,
    Proposal,
    Vote,
    approval_message,
    parse_proposal,
    parse_vote,
    proposal_hash,
    proposal_key,
    proposal_of_timer,
    retired_key,
    timer_key,
    vote_key,
)
from ledger.core.quorum import threshold
from ledger.core.registry import Registry
from ledger.core.submission import Submission
from ledger.errors import MalformedError, RejectedError, VerificationError, invariant
from ledger.limits import STATE_OBJECT_BYTES_MAX
from ledger.machine import changes, configchanges, misbehaviour, ownkeys
from ledger.machine.admit import Admitted
from ledger.machine.block import ACCEPTED, REFUSED, BlockInput, Head, Item
from ledger.machine.standing import Refused, Standing

PREFIX: Final = "sys."
HOUR_MS: Final = 3_600_000
VOTING_MS: Final = 30 * 24 * HOUR_MS
"""How long a proposal stays open when it does not say."""
VOTING_MS_MAX: Final = 366 * 24 * HOUR_MS
REASON_CHARS_MAX: Final = 2_000
_HEAD_FIELDS: Final = frozenset({"id", "kind", "refs", "time", "v"})
_BODY_FIELDS: Final = frozenset({"action", "args", "salt"})
_BODY_OPTIONAL: Final = frozenset({"effective", "reason", "until"})

ReadObjects = Callable[[Collection[str]], Mapping[str, bytes]]
"""State objects after the block before, by state key."""

Compile = Callable[[str, Mapping[str, Any]], tuple[Digest, int]]
"""(action, its arguments) to (program hash, language version) of the rulebook that would be in force; raises
`MalformedError` for a bundle that does not compile. None where bundles are not at hand: the proposal's word is taken."""


def is_governance(fields: Mapping[str, Any]) -> bool:
    """True for kinds that the ledger decides itself."""
    return bool(fields["kind"].startswith(PREFIX))


def is_governance_timer(key: str) -> bool:
    """True for timers that the ledger itself set."""
    return key.startswith(TIMER_PREFIX)


def electorate(registry: Registry, config: Config) -> tuple[str, ...]:
    """The members that vote, sorted: the authorities; in a network without any, the cosigners (R-G13)."""
    cosigners = sorted({name for name, _ in config.cosigners if not registry.members[name].status})
    return registry.authorities() or tuple(cosigners)


class Governance:
    """Members, keys and config while a block is decided; `writes` are (map key, object bytes, touching hash).

    `read` gives state objects after the block before; `time` is the block's, unix ms.
    """

    def __init__(
        self,
        head: Head,
        height: int,
        time: int,
        read: ReadObjects,
        compile_bundle: Compile | None = None,
    ) -> None:
        self.registry: Registry = head.registry
        self.config: Config = head.config
        self.writes: list[tuple[bytes, bytes, Digest]] = []
        self._height, self._time, self._read = height, time, read
        self._compile = compile_bundle
        self._written: dict[str, bytes] = {}

    # --- events ------------------------------------------------------------------------------------------------------

    def decide(self, entry: Admitted, origin: str, *, alone: bool = True) -> Item:
        """The item of one governance event; `alone` says that it is the only event of its submission."""
        item = Item(
            verdict=_ACCEPTED,
            outcome=ACCEPTED,
            refused_streams=False,
            extra_streams=(),
            writes=[],
            timers=[],
            streams=entry.streams,
            event=entry.event,
            member=entry.member,
            place=entry.place,
        )
        try:
            self._event(entry, origin, item, alone)
        except (Refused, MalformedError) as error:
            code = error.code if isinstance(error, Refused) else "shape"
            item.verdict, item.outcome, item.refused_streams = _refusal(code), REFUSED, True
            item.extra_streams, item.writes, item.timers = (), [], []
            return item
        if item.timers:
            item.verdict = canonical.encode({"outcome": "accepted", "timers": [list(each) for each in item.timers]})
        self._written.update(item.writes)
        return item

    def _event(self, entry: Admitted, origin: str, item: Item, alone: bool) -> None:
        event, kind = entry.event, entry.event.fields["kind"]
        if not event.fields.keys() <= _HEAD_FIELDS:
            raise Refused("shape")
        # Who replays has not read the body; governance is rare enough to read it here.
        body = canonical.parse(event.body) if event.body else {}
        if kind == "sys.propose":
            self._propose(entry, body, origin, item, alone)
        elif kind in ("sys.approve", "sys.reject"):
            self._vote(entry, body, origin, item)
        elif kind == "sys.key.revoke":
            standing = self._standing(None)
            ownkeys.revoke(standing, entry)
            self._take(standing, entry.event.hash)
        elif kind == "sys.key.rotate":
            standing = self._standing(origin)
            ownkeys.rotate(standing, entry, body)
            self._take(standing, entry.event.hash)
        elif kind == misbehaviour.KIND:
            self._accuse(entry, body, origin, item)
        else:
            raise Refused("shape")

    def _propose(self, entry: Admitted, body: dict[str, Any], origin: str, item: Item, alone: bool) -> None:
        """R-G11: open a proposal. What could not be done now is refused now."""
        if not _BODY_FIELDS <= set(body) <= _BODY_FIELDS | _BODY_OPTIONAL or not isinstance(body["args"], dict):
            raise Refused("shape")
        action, refs, args = body["action"], entry.event.fields["refs"], body["args"]
        if not isinstance(body.get("reason", ""), str) or len(body.get("reason", "")) > REASON_CHARS_MAX:
            raise Refused("shape")
        if not isinstance(action, str) or action not in changes.ACTIONS:
            raise Refused("shape")
        if not self._may_propose(entry.member, action, refs):
            raise Refused("author")
        if not self._electorate():
            raise Refused("no-electorate")
        if action in changes.BUNDLE_ACTIONS:
            if not alone:
                raise Refused("shape")
            self._check_program(action, args)
        self._check_retired(action, args)
        standing = self._standing(origin)
        changes.apply(standing, action, refs, args)
        if action == changes.RUNTIME_SET and args["language"] == self.config.language:
            self._check_program(action, args)  # a newer language is for newer software to compile
        validators = "validators" in args or standing.registry.validators() != self.registry.validators()
        until, effective = self._times(body, self._notice(action, validators))
        event = entry.event
        name = f"{entry.member}/{event.fields['id']}"
        base = configchanges.program_base(self.config) if action in changes.BASED_ACTIONS else ()
        proposal = Proposal(
            name, action, refs, args, proposal_hash(event.hash), self._time, until, self.config.epoch,
            effective=effective, base=base, validators=validators,
        )  # fmt: skip
        self._put(proposal, item)
        item.extra_streams = (("proposal", name),)

    def _may_propose(self, member: str, action: str, refs: Mapping[str, Any]) -> bool:
        """Who votes may propose; every member may ask for a change of its own keys."""
        return member in self._electorate() or (action in changes.KEY_ACTIONS and refs.get("member") == member)

    def _times(self, body: Mapping[str, Any], notice: int) -> tuple[int, int | None]:
        """(last moment for votes, earliest effect) of a new proposal; never retroactive (R-G15)."""
        until = parse_time(body["until"]) if "until" in body else self._time + VOTING_MS
        effective = parse_time(body["effective"]) if "effective" in body else None
        if not self._time <= until <= self._time + VOTING_MS_MAX:
            raise Refused("retroactive" if until < self._time else "shape")
        if effective is None:
            return until, None
        latest = effective - notice - 1
        if latest < self._time:
            raise Refused("retroactive")
        # Votes that come too late for the moment that was voted on do not move it: they are refused.
        return min(until, latest), effective

    def _notice(self, action: str, validators: bool) -> int:
        needed = changes.needs_cosigners(action, validators_change=validators)
        return self.config.parameters["notice_hours"] * HOUR_MS if needed else 0

    def _check_program(self, action: str, args: Mapping[str, Any]) -> None:
        """Its bundle, or its step budget, compiles here and now to the program that the proposal names."""
        try:
            claimed = parse_hex_digest(args["program"]), args["language"]
            if action in changes.BUNDLE_ACTIONS:
                parse_hex_digest(args["bundle"])
        except KeyError as error:
            raise Refused("shape") from error
        if self._compile is None:
            return
        try:
            compiled = self._compile(action, args)
        except MalformedError as error:
            raise Refused("bundle") from error
        if compiled != claimed:
            raise Refused("program")

    def _check_retired(self, action: str, args: Mapping[str, Any]) -> None:
        """A retired bundle neither takes effect nor is retired twice."""
        bundle = args.get("bundle")
        if action in changes.BUNDLE_ACTIONS or action == changes.RETIRE:
            key = retired_key(parse_hex_digest(bundle).hex())
            if self._objects([key]):
                raise Refused("retired")

    def _vote(self, entry: Admitted, body: dict[str, Any], origin: str, item: Item) -> None:
        """R-G14: one vote, bound to the proposal's hash; the one that completes a majority decides."""
        event, member = entry.event, entry.member
        approves = event.fields["kind"] == "sys.approve"
        allowed = {"proposal_hash", "salt", "cosign"} if approves else {"proposal_hash", "salt"}
        if not {"proposal_hash", "salt"} <= set(body) <= allowed or set(event.fields["refs"]) != {"proposal"}:
            raise Refused("shape")
        proposal = self._proposal(event.fields["refs"]["proposal"])
        if parse_hex_digest(body["proposal_hash"]) != proposal.hash:
            raise Refused("proposal-hash")
        if proposal.status != OPEN:
            raise Refused("proposal-closed")
        if self._time > proposal.until:
            raise Refused("proposal-late")
        if not approves and proposal.name.startswith(f"{member}/"):
            self._put(replace(proposal, status=WITHDRAWN), item)
            return
        cosign = self._cosign(body.get("cosign"), member, origin, proposal)
        electorate = self._electorate()
        if member not in electorate and not cosign:
            raise Refused("author")
        votes = self._votes(proposal)
        before = votes.get(member)
        if before is not None and not (approves and before.vote == APPROVE and cosign and not before.cosign):
            raise Refused("vote-twice")
        name = f"{member}/{event.fields['id']}"
        votes[member] = vote = Vote(APPROVE if approves else REJECT, name, self._time, cosign)
        item.writes.append((vote_key(proposal.name, member), vote.encode()))
        self._count(proposal, votes, electorate, item)

    def _cosign(self, value: object, member: str, origin: str, proposal: Proposal) -> str:
        """The key id (hex) of the cosigner that signed this approval, "" for none. Raises `Refused`."""
        if value is None:
            return ""
        if not isinstance(value, dict) or set(value) != {"key", "signature"}:
            raise Refused("shape")
        key_id = parse_hex_digest(value["key"])
        if (member, key_id) not in self.config.cosigners:
            raise Refused("cosigner")
        try:
            signature = bytes.fromhex(value["signature"])
            self.registry.keys[key_id].public.verify(approval_message(origin, proposal.hash), signature)
        except (VerificationError, TypeError, ValueError) as error:
            raise Refused("approval-signature") from error
        return key_id.hex()

    def _count(self, proposal: Proposal, votes: Mapping[str, Vote], electorate: tuple[str, ...], item: Item) -> None:
        """Pass or reject the proposal where the votes say so already."""
        cast = [votes[member].vote for member in electorate if member in votes]
        needed = threshold(len(electorate)) if electorate else 1
        if len(electorate) - cast.count(REJECT) < needed:
            self._put(replace(proposal, status=REJECTED), item)
            return
        if cast.count(APPROVE) < needed or not self._cosigned(proposal, votes):
            return
        due = max(self._time + 1 + self._notice(proposal.action, proposal.validators), proposal.effective or 0)
        self._put(replace(proposal, status=PASSED, due=due), item)
        self._arm(proposal.name, due, None, item)

    def _cosigned(self, proposal: Proposal, votes: Mapping[str, Vote]) -> bool:
        """R-G13: changes of sets, protocol and engine need more than two thirds of the cosigners' own keys too."""
        if not changes.needs_cosigners(proposal.action, validators_change=proposal.validators):
            return True
        cosigners = self.config.cosigners
        signed = sum(1 for name, key in cosigners if name in votes and votes[name].cosign == key.hex())
        return bool(cosigners) and signed >= threshold(len(cosigners))

    def _electorate(self) -> tuple[str, ...]:
        return electorate(self.registry, self.config)

    def _accuse(self, entry: Admitted, body: dict[str, Any], origin: str, item: Item) -> None:
        """R-N54: votes that prove a validator's guilt, once."""
        engine = self._engine()
        chain = chain_id(origin, 0) if engine is None else engine.chain_id
        key, data = misbehaviour.accuse(entry, body, self.registry, chain)
        if self._objects([key]):
            raise Refused("misbehaviour-known")
        item.writes.append((key, data))

    # --- timers ------------------------------------------------------------------------------------------------------

    def fire(self, key: str, due: int) -> Item:
        """The item of a timer of the ledger's own: the proposal takes effect, or it cannot any more (R-G16, R-G17)."""
        proposal = self._proposal(proposal_of_timer(key))
        item = Item(
            verdict=_ACCEPTED,
            outcome=ACCEPTED,
            refused_streams=False,
            extra_streams=(),
            writes=[],
            timers=[],
            streams=list(timer_streams(key)),
            timer_key=key,
            timer_due=due,
        )
        standing, again = self._standing(None), None
        try:
            again = self._enact(standing, proposal)
        except Refused as refused:
            item.verdict, item.outcome, item.refused_streams = _refusal(refused.code), REFUSED, True
            standing = self._standing(None)
            if proposal.status == ANNOUNCED:
                configchanges.cancel_epoch(standing)
            proposal = replace(proposal, status=FAILED, reason=refused.code)
        else:
            if again is None:
                proposal = replace(proposal, status=ENACTED, height=self._height + 1)
                item.writes.extend(standing.objects)
                if proposal.action == changes.RETIRE:
                    name = canonical.encode({"proposal": proposal.name})
                    item.writes.append((retired_key(proposal.args["bundle"]), name))
            else:
                proposal = replace(proposal, status=ANNOUNCED, due=again)
        self._put(proposal, item)
        self._arm(proposal.name, again, due, item)
        if again is not None:
            item.verdict = canonical.encode({"outcome": "accepted", "timers": [[key, again]]})
        self._written.update(item.writes)
        leaf = encode_timer(TimerLeaf(self._height, due, key, item.verdict, ()))
        self._take(standing, Digest(sha256(b"\x00" + leaf).digest()))
        return item

    def _enact(self, standing: Standing, proposal: Proposal) -> int | None:
        """Change `standing`; the due of a second step, where there is one. Raises `Refused`."""
        if proposal.status == ANNOUNCED:
            changes.end_epoch(standing, proposal.args)
            return None
        config = self.config
        if proposal.action == changes.SET_CHANGE and proposal.epoch != config.epoch:
            raise Refused("stale")
        if proposal.base and proposal.base != configchanges.program_base(config):
            raise Refused("stale")
        self._check_retired(proposal.action, proposal.args)
        changes.apply(standing, proposal.action, proposal.refs, proposal.args)
        # Members and keys may have moved since: nobody slips into the set, or out of it, without the cosigners.
        if standing.registry.validators() != self.registry.validators() and not proposal.validators:
            raise Refused("stale")
        return self._time + 1 if proposal.action == changes.SET_CHANGE else None

    # --- state -------------------------------------------------------------------------------------------------------

    def _standing(self, origin: str | None) -> Standing:
        return Standing(self.registry, self.config, self._height, origin, self._engine())

    def _engine(self) -> Engine | None:
        """The engine that governance put in force, None before any did."""
        data = self._objects([ENGINE_KEY]).get(ENGINE_KEY)
        return parse_engine(data) if data else None

    def _take(self, standing: Standing, touch: Digest) -> None:
        """Take over what changed; the config comes last, for sealing gives it the last write's blind."""
        for member in dict.fromkeys(standing.members):
            self.writes.append((member_key(member), standing.registry.members[member].encode(), touch))
        for key_id in dict.fromkeys(standing.keys):
            self.writes.append((key_key(key_id), standing.registry.keys[key_id].encode(), touch))
        if standing.config != self.config:
            self.writes.append((config_key(), standing.config.encode(), touch))
        self.registry, self.config = standing.registry, standing.config

    def _objects(self, keys: Collection[str]) -> dict[str, bytes]:
        found = dict(self._read([key for key in keys if key not in self._written]))
        found.update((key, self._written[key]) for key in keys if key in self._written)
        return found

    def _proposal(self, name: object) -> Proposal:
        if not isinstance(name, str):
            raise Refused("shape")
        data = self._objects([proposal_key(name)]).get(proposal_key(name))
        if data is None:
            raise Refused("proposal-unknown")
        return parse_proposal(name, data)

    def _votes(self, proposal: Proposal) -> dict[str, Vote]:
        """The votes of everybody whose vote counts now."""
        members = dict.fromkeys([*self._electorate(), *(name for name, _ in self.config.cosigners)])
        keys = {vote_key(proposal.name, member): member for member in members}
        return {keys[key]: parse_vote(data) for key, data in self._objects(list(keys)).items()}

    def _put(self, proposal: Proposal, item: Item) -> None:
        data = proposal.encode()
        if len(data) > STATE_OBJECT_BYTES_MAX:
            raise Refused("size")
        item.writes.append((proposal_key(proposal.name), data))

    def _arm(self, name: str, due: int | None, fired: int | None, item: Item) -> None:
        """Set the proposal's timer (R-T01); None clears it."""
        key = timer_key(name)
        fields: dict[str, Any] = {}
        if due is not None:
            fields = {"due": due, "on": f"proposal/{name}", "rule": "sys"}
            item.timers.append((key, due))
        if fired is not None:
            fields["fired"] = fired
        item.writes.append((key, canonical.encode(fields)))


def check_attachments(block: BlockInput) -> dict[Digest, bytes]:
    """The bundles that the block brings along, by hash: exactly those that its proposals name, in their order (R-G19).

    Raises `RejectedError` for a block with others, more or fewer.
    """
    wanted = list(dict.fromkeys(carried_bundles(block.submissions)))
    if not wanted and not block.attachments:
        return {}
    try:
        found = [bundle_hash(parse_bundle(data)) for data in block.attachments]
    except MalformedError as error:
        raise RejectedError("attachments", "an attachment is no bundle", height=block.height) from error
    if found != wanted:
        raise RejectedError(
            "attachments",
            "the attachments are not the bundles that the block's proposals name",
            height=block.height,
            expected=[digest.hex() for digest in wanted],
            got=[digest.hex() for digest in found],
        )
    return dict(zip(found, block.attachments, strict=True))


def carried_bundles(submissions: Sequence[Submission]) -> Iterator[Digest]:
    """The bundle of each submission that brings one."""
    for submission in submissions:
        if len(submission.events) == 1:
            found = carried_bundle(submission.events[0])
            if found is not None:
                yield found


def carried_bundle(event: Event) -> Digest | None:
    """The bundle that a submission of just this event brings along as attachment (R-G19), None for most events."""
    if event.fields["kind"] != "sys.propose":
        return None
    try:
        body = canonical.parse(event.body)
        if body.get("action") not in changes.BUNDLE_ACTIONS or not isinstance(body.get("args"), dict):
            return None
        return parse_hex_digest(body["args"].get("bundle"))
    except MalformedError:
        return None


_ACCEPTED: Final = b'{"outcome":"accepted"}'


def _refusal(code: str) -> bytes:
    # The codes are those of R-G24.
    invariant(code.replace("-", "").isalnum(), "a reason code is a name")
    return b'{"outcome":"refused","reasons":[["ledger","%b",{}]]}' % code.encode()
