"""JSON objects as the code makes them, by the name of their schema in docs/SPEC.md: what the schema tests look at."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from functools import cache
from typing import Any

from ledger import archiveformat
from ledger.adapters.memory import MemoryStore
from ledger.core.checkpoint import parse_checkpoint_text
from ledger.core.genesis import Genesis, Predecessor
from ledger.core.mapkeys import NS_MEMBER, key_key, object_key, parse_object_value, stream_key
from ledger.core.nativecommit import BlockId
from ledger.core.note import parse_note
from ledger.core.proof import Consistency, Fork, History, LogKey, Receipt, StreamName
from ledger.core.registry import genesis_registry
from ledger.machine.block import Item
from ledger.rules.program import Outcome
from tests.models import accept_all
from tests.models.epoch_proofs import Changed
from tests.models.governed import HOUR_MS, NEW_RULEBOOK, Governed
from tests.models.native_commits import consensus_signer, make_commit, make_header, sign_commit
from tests.models.small_ledger import SmallLedger, digest, make_genesis, signer
from tests.models.tiny_ledger import MEMBERS
from tests.unit.machine.test_enginemove import move_parts
from tests.unit.machine.test_misbehaviour import accusation, vote
from tests.unit.machine.test_validators import key_id
from tests.unit.rules.books import NOW, Ledger, rule, tiny

Samples = dict[str, list[Any]]
DAY = 86_400_000

RULES = (
    rule(
        "def on_thing_do(event, state, env):\n"
        "    return [\n"
        "        breach('LAW/1', on='thing', held=event.member, why='x'),\n"
        "        duty('R1', by=event.member, on='thing', due=working_days(env, 1), kinds=['thing.stop']),\n"
        "        alert('look', why='x'),\n"
        "    ]\n\n\n"
        "def on_thing_ask(event, state, env):\n"
        "    return [refuse('no'), alert('look'), finding('LAW/2')] if event.body.get('n') == 1 else None\n\n\n"
        "def on_timer_R1(timer, state, env):\n"
        "    return finding('LAW/2', about=state['thing']['owner'], on='thing')\n"
    )
    | rule(
        "def on_thing_do(event, state, env):\n"
        "    return [\n"
        "        duty('R2', by=event.member, on='thing', due=years(env, 9), label='far'),\n"
        "        duty('R2', by=event.member, on='thing', due=None, label='open'),\n"
        "    ]\n\n\n"
        "def on_timer_R2(timer, state, env):\n    return finding('LAW/2', about='rs', on='thing')\n",
        "R2",
    )
    | rule(
        "def on_thing_do(event, state, env):\n    return set_timer('R3', on='thing', due=env.now + 5, label='t', n=1)\n\n\n"
        "def on_timer_R3(timer, state, env):\n    return None\n",
        "R3",
    )
)


@cache
def collect() -> Samples:
    """Everything, by schema."""
    found: Samples = defaultdict(list)
    for add in (_rules, _log, _governance, _native, _proofs, _files):
        add(found)
    return found


def _rules(found: Samples) -> None:
    """Verdicts and state objects of a rulebook that uses every effect."""
    program = tiny(RULES)

    def run(call: dict[str, Any]) -> list[Outcome]:
        outcomes = program.run_block(call)
        for outcome in outcomes:
            _outcome(found, outcome)
        return outcomes

    ledger = Ledger(program, run)
    thing = ledger.thing()
    refs = {"thing": thing}
    ledger.do("thing.do", refs, {})
    ledger.do("thing.do", refs, {}, at=NOW + 3)
    ledger.do("thing.ask", refs, {"n": 1}, at=NOW + 4)
    name, step = ledger.event("thing.ask", refs, {}, at=NOW + 5, intent=True)
    found["head"].append(json.loads(step.head))
    ledger.scratch.block(NOW + 5, [step])
    ledger.do("thing.ask", {**refs, "ticket": name}, {}, at=NOW + 10)
    late = NOW + 20 * DAY
    ledger.scratch.advance(late)
    ledger.do("thing.stop", refs, {}, at=late + 5, claimed=NOW + 20)
    ledger.scratch.advance(NOW + 4000 * DAY)


def _outcome(found: Samples, outcome: Outcome) -> None:
    """What one leaf says and writes."""
    verdict = json.loads(outcome[3])
    found["verdict"].append(verdict)
    for name, item in (("findings", "finding-item"), ("duties", "duty-item"), ("alerts", "alert-item")):
        found[item] += verdict.get(name, [])
    for key, data in outcome[7]:
        kind = key.partition("/")[0]
        if data and kind in ("finding", "duty", "timer", "ticket"):
            found[kind].append(json.loads(data))


def _genesis(found: Samples, genesis: Genesis) -> None:
    document = json.loads(genesis.data)
    found["genesis"].append(document)
    found["continues"] += [document["continues"]] if "continues" in document else []
    for member in document["members"]:
        found["member"].append(member)
        found["title"].append(member["title"])
        found["key"] += member["keys"]
    registry = genesis_registry(genesis)
    found["member-entry"] += [json.loads(entry.encode()) for entry in registry.members.values()]
    found["key-entry"] += [json.loads(entry.encode()) for entry in registry.keys.values()]


def _log(found: Samples) -> None:
    """Leaves, headers, config, genesis and streams, and what an application keeps beside them."""
    ledger = SmallLedger()
    _genesis(found, ledger.genesis)
    events = [
        ledger.event(data_subjects=["t:1"], commitments={"list": digest("a").hex(), "more": [digest("b").hex()]}),
        ledger.event(),
    ]
    found["head"] += [json.loads(event.head) for event in events]
    leaves = [entry.leaf for entry in ledger.block(events=events, extra=(("finding", "law/1"),))]
    leaves += [entry.leaf for entry in ledger.block(events=[ledger.event()])]
    leaves += [entry.leaf for entry in ledger.block(timers=["timer/R1/thing/ga/x"])]
    leaves += [entry.leaf for entry in ledger.block(timers=["timer/R1/thing/ga/y"], extra=(("finding", "law/1"),))]
    last = ledger.note()
    _genesis(found, make_genesis("next", Predecessor(parse_checkpoint_text(parse_note(last).text), last, digest("s"))))
    for leaf in leaves:
        found["record" if leaf[0] == 1 else "timer-leaf"].append(json.loads(leaf[2:]))
    for leaf in ledger.leaves:
        if leaf[0] == 0:
            header = json.loads(leaf[2:])
            found["header"].append(header)
            found["header-prev"].append(header["prev"])
            found["header-state"].append(header["state"])
    config = json.loads(ledger.config.encode())
    found["config"].append(config)
    found["runtime"].append(config["runtime"])
    found["stream-value"].append(json.loads(ledger.values[stream_key("dataset", "ga/hukou", False)]))
    network = accept_all.Network(MemoryStore())
    sealed, _ = network.seal([network.submission("ga", [network.event()])])
    day = sealed.header.time // DAY
    found["quota"].append(json.loads(parse_object_value(sealed.rows[object_key(f"quota/ga/{day}")].value)[1]))
    revoked = next(iter(genesis_registry(ledger.genesis).keys.values()))
    found["key-entry"].append(json.loads(type(revoked)(**{**_slots(revoked), "until_height": 7}).encode()))


def _slots(value: Any) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__slots__}


def _governance(found: Samples) -> None:
    """Proposals that end in each way, votes with and without a cosigner's key, and members that were there."""
    ledger = Governed()
    _, fields = ledger.new_key("zx", "event", "first")
    title = {"en": "Newcomer", "zh": "新成员"}
    args = {"attributes": {}, "keys": [fields], "roles": ["department"], "title": title}
    ledger.change("sys.member.admit", {"member": "zx"}, args, reason="a new department")
    ledger.change("sys.member.succeed", {"member": ["zx", "wj"]}, {})
    ledger.change("sys.param.set", {}, {"parameters": {"skew_ms": 1}}, cosign=True, wait_ms=25 * HOUR_MS)
    bundle, attachment = ledger.bundle_args(NEW_RULEBOOK)
    later = ledger.app.head.time + HOUR_MS
    for _ in range(2):
        ledger.change(
            "sys.rulebook.publish", {}, bundle, attachments=(attachment,), effective=later, until=later - 2, wait_ms=1
        )
    ledger.block(ms=HOUR_MS)
    ledger.block(ms=1)
    ledger.change("sys.rulebook.retire", {}, {"bundle": ledger.app.genesis.rulebook.hex()})
    comet = _engine()
    for sealed in (*ledger.sealed, *comet.sealed):
        for item in sealed.decision.items:
            _governance_item(found, item)
        members = [data for map_key, data, _ in sealed.decision.registry_writes if map_key[0] == NS_MEMBER]
        found["member-entry"] += [json.loads(data) for data in members]


def _engine() -> Governed:
    """A validator that voted twice, one that leaves, and a move to another chain."""
    ledger = Governed(validators=MEMBERS)
    votes = [vote(ledger, number) for number in (0, 1)]
    ledger.record("ga", accusation(ledger, votes))
    refs = {"key": key_id("wj"), "member": "wj"}
    ledger.change("sys.key.revoke", refs, {"below_four": True}, cosign=True, wait_ms=25 * HOUR_MS)
    ledger.change(*move_parts(ledger, below_four=True), cosign=True, wait_ms=25 * HOUR_MS)
    return ledger


def _governance_item(found: Samples, item: Item) -> None:
    """The event, and what it writes."""
    if item.event is not None:
        body = json.loads(item.event.body)
        kind = "misbehaviour-body" if "votes" in body else "propose-body" if "action" in body else "vote-body"
        found[kind].append(body)
        found["accused-vote"] += body.get("votes", [])
        found["cosign"] += [body["cosign"]] if "cosign" in body else []
    for name, data in item.writes:
        for kind in ("engine", "misbehaviour", "proposal", "retired", "vote"):
            if name.startswith(f"sys-{kind}/"):
                found[kind].append(json.loads(data))


def _native(found: Samples) -> None:
    """A commit of CometBFT with every kind of vote, and one of the first height."""
    signers = [consensus_signer(member) for member in MEMBERS]
    header = make_header("suyuan-x", 1, signers, digest("state"))
    first = sign_commit(replace(header, last_block_id=BlockId(b"", 0, b"")), signers)
    for native in (make_commit("suyuan-x", digest("state"), signers, flags=[2, 2, 3, 1]), first):
        document = json.loads(native.encode())
        found["native"].append(document)
        found["native-commit"].append(document["commit"])
        found["native-header"].append(document["header"])
        found["native-block"] += [document["commit"]["block_id"], document["header"]["last_block_id"]]
        found["native-vote"] += document["commit"]["votes"]


def _proofs(found: Samples) -> None:
    """Every kind of proof, with and without its optional parts."""
    ledger = SmallLedger()
    joined = ledger.block(events=[ledger.event(), ledger.event()])
    old, old_root = ledger.size, ledger.root()
    ledger.block(events=[ledger.event()], refused=True)
    ledger.block(events=[ledger.event(refs={"dataset": "ga/refused"})], refused=True)
    ledger.block(timers=["timer/R1/dataset/ga/hukou"])
    name = StreamName("dataset", "ga/hukou")
    ledger.fill(80, into=stream_key("dataset", "ga/none", False))
    ledger.block(events=[ledger.event()])
    history = History(old, ledger.consistency(old))
    proofs = [
        ledger.receipt(joined[0]),
        ledger.receipt(joined[1], body=False, registered=False, history=history),
        ledger.completeness(name, levels=("full", "head", "record", "hash")),
        ledger.completeness(StreamName("dataset", "ga/none"), state=ledger.state_proof(history)),
        ledger.absence("dataset", "ga/none"),
        ledger.absence("dataset", "ga/refused"),
    ]
    absent = ledger.absence("purpose", "ga/none")
    proofs.append(replace(absent, state=ledger.state_proof(history)))
    for proof in proofs:
        _proof(found, json.loads(proof.encode()))
    consistency = Consistency(ledger.note(old), ledger.note(), ledger.consistency(old))
    found["consistency"].append(json.loads(consistency.encode()))
    other = ledger.note(old, root=digest("another tree"))
    assert old_root != digest("another tree")
    found["fork"].append(json.loads(Fork(ledger.note(old), other).encode()))
    made = Changed()
    ends = made.epochs()
    extension = made.extension(made.ledger.sealed[made.ends[0]].size)
    found["consistency"].append(json.loads(extension.encode()))
    found["fork"].append(json.loads(Fork(extension.old, extension.new, epochs=ends).encode()))
    for proof in (proofs[0], proofs[2], proofs[4]):
        led = (
            replace(proof, epochs=ends)
            if isinstance(proof, Receipt)
            else replace(proof, state=replace(proof.state, epochs=ends))
        )
        _proof(found, json.loads(led.encode()))
    _later_log(found)
    for end in json.loads(extension.encode())["epochs"]:
        found["epoch-end"].append(end)
        found["epoch-announced"].append(end["announced"])
        found["epoch-effect"].append(end["effect"])
        found["epoch-key"] += end["keys"]


def _later_log(found: Samples) -> None:
    """Proofs after a vote registered another key for ordering."""
    ledger, key = SmallLedger(), signer("ba", "another log")
    ledger.add_log_key(key)
    joined = ledger.block(events=[ledger.event()])
    name = key_key(key.public.key_id)
    logs = (LogKey(ledger.values[name], ledger.map_proof(name)),)
    receipt, complete = ledger.receipt(joined[0]), ledger.completeness(StreamName("dataset", "ga/hukou"))
    absent = ledger.absence("dataset", "ga/none")
    assert receipt.registration is not None
    for proof in (
        replace(receipt, registration=replace(receipt.registration, logs=logs)),
        replace(complete, state=replace(complete.state, logs=logs)),
        replace(absent, state=replace(absent.state, logs=logs)),
    ):
        document = json.loads(proof.encode())
        _proof(found, document)
        found["log-key"] += document.get("logs", ())


def _proof(found: Samples, document: dict[str, Any]) -> None:
    kind = document["kind"]
    found[kind].append(document)
    if "history" in document:
        found["history"].append(document["history"])
    if kind == "receipt":
        for part in ("event", "record", "submission"):
            found[f"receipt-{part}"].append(document[part])
        if "registration" in document:
            found["registration"].append(document["registration"])
            found["header-part"].append(document["registration"]["header"])
            _map_proof(found, document["registration"]["map"])
        return
    found["header-part"].append(document["header"])
    if kind == "completeness":
        found["range"].append(document["range"])
        found["stream-state"].append(document["stream"])
        found["entry"] += document["entries"]
        _map_proof(found, document["stream"]["map"])
    else:
        for part in ("stream", "plain", "refused"):
            found[f"absence-{part}"].append(document[part])
        _map_proof(found, document["plain"]["map"])


def _map_proof(found: Samples, document: dict[str, Any]) -> None:
    found["map-proof"].append(document)
    if "window" in document:
        found["window"].append(document["window"])


def _files(found: Samples) -> None:
    """Manifest of an export, and a trust file with everything in it."""
    listed = archiveformat.ListedFile(1, digest("x").hex())
    files = {"genesis.json": listed, "segments/000000.gz": listed}
    manifest = json.loads(archiveformat.encode_manifest(archiveformat.Manifest("o/" + digest("o").hex(), 1, 2, files)))
    found["manifest"].append(manifest)
    found["manifest-file"] += manifest["files"].values()
    found["manifest-head"].append(manifest["head"])
    ledger = SmallLedger()
    origin = ledger.origin
    full = {"anchor": ledger.note().decode(), "max_age_s": 600, "origin": origin, "witnesses": []}
    found["trust"] += [{"origin": origin}, full]
