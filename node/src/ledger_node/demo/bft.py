"""`./dev demo --engine cometbft`: four departments that trust nobody; one is killed, one lies, and the ledger goes on.

Chapters: make and start the network, record a matter through all four nodes, show that all decided the same, kill a
department under load, let one alter a record, verify everything offline, flip a byte. CometBFT has no simulated time, so
all of it happens now. Not here: how nodes are compared (see `bft_nodes`), and how any of it works.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ledger.core.genesis import COMETBFT
from ledger.core.nativecommit import COMMIT
from ledger.errors import LedgerError
from ledger_node.comet.binary import check_binary, find_binary
from ledger_node.demo import bft_story, city, liar
from ledger_node.demo.bft_nodes import Load, await_agreement, await_lie, await_native, kill_department, wait
from ledger_node.demo.bft_story import Story
from ledger_node.demo.permits import ledger
from ledger_node.demo.stage import Stage, make_network
from ledger_node.demo.tell import Teller, stay
from ledger_node.local import NodeProcess

MEMBERS: Final = tuple(each.id for each in city.DEPARTMENTS)
KILLED: Final = "ws"
LIAR: Final = "rs"
HONEST: Final = tuple(member for member in MEMBERS if member != LIAR)
AUDITED: Final = "ga"
LOAD_EVENTS: Final = 30
KILL_AFTER: Final = 8  # acknowledged events before the kill
LOAD_S: Final = 60.0
LIE_COUNT: Final = 5_000
BROKEN: Final = 6  # exit code of `ledger verify`


def name_of(tell: Teller, member: str) -> str:
    """A department's name with its id."""
    zh, en = next((each.zh, each.en) for each in city.DEPARTMENTS if each.id == member)
    return f"{tell.pick(zh, en)} {member}"


def run(tell: Teller, folder: Path, once: bool) -> int:
    """The whole of it; the exit code is 0. Raises `DemoError`, `LedgerError` where anything differs."""
    version = _engine(tell)
    tell.chapter(
        "建立网络：四个部门，各运行一个节点，无人独自排序", "Make a network: four departments, and nobody orders alone"
    )
    stage = Stage(make_network(folder, engine=COMETBFT))
    tell.fact(f"网络标识 {stage.origin}", f"origin {stage.origin}")
    with stage.running():
        stage.wait_ready()
        tell.good(
            f"四个节点均已就绪，各自带有一个 CometBFT {version}",
            f"four nodes are ready, each with a CometBFT {version}",
        )
        story = _play(tell, stage)
        _agree(tell, stage)
        _kill(tell, stage, story)
        _lie(tell, stage, story)
        _verify_offline(tell, stage, folder.parent / "export")
        tell.chapter("完成：以上各项均已核验", "Done: everything above was checked")
        if not once:
            stay(tell, stage.sequencer.url, stage.origin)
    return 0


def _engine(tell: Teller) -> str:
    try:
        return check_binary(find_binary())
    except LedgerError as error:
        tell.fail(
            f"本机没有可用的 CometBFT({error.code}): 请先运行 ./dev engine;不加 --engine 的演示无需它",
            f"no CometBFT on this machine ({error.code}): run ./dev engine first; the demo without --engine needs none",
        )


def _play(tell: Teller, stage: Stage) -> Story:
    tell.chapter(
        "一件事的始末，每一步都经由本部门的节点", "A matter from catalogue to disposal, each step through its own node"
    )
    story = Story(_now())
    clients = {member: stage.client_of(member) for member in MEMBERS}
    surprises: list[str] = []
    began = time.monotonic()
    for step in story.steps:
        became = stage.record(step.member, step.key, [step.event], clients[step.member]).events[0]
        if became.outcome != step.expect:
            surprises.append(
                f"{step.event.kind}: {became.outcome} {json.dumps(became.verdict, ensure_ascii=False)[:300]}"
            )
        if step.note is not None:
            why = _why(became.verdict)
            tell.fact(f"{step.note[0]} [{step.event.kind}: {why}]", f"{step.note[1]} [{step.event.kind}: {why}]")
    took = time.monotonic() - began
    for surprise in surprises:
        tell.fact(f"意外：{surprise}", f"surprise: {surprise}")
    through = ", ".join(f"{member} {count}" for member, count in bft_story.members_of(story.steps))
    tell.check(
        not surprises,
        f"{len(story.steps)} 个事件的裁决均符合预期({through}),平均 {took / len(story.steps):.2f} 秒",
        f"{len(story.steps)} events, each decided as it should be ({through}), {took / len(story.steps):.2f} s each",
    )
    return story


def _why(verdict: dict[str, Any]) -> str:
    """The reasons of a verdict, or its findings."""
    reasons = [
        " ".join([rule, code, *(str(value) for _, value in sorted(given.items()))])
        for rule, code, given in verdict.get("reasons", [])
    ]
    return ", ".join(reasons or [finding["code"] for finding in verdict.get("findings", [])])


def _agree(tell: Teller, stage: Stage) -> None:
    tell.chapter("四个节点各自算出了什么", "What each of the four computed")
    _same(tell, stage, MEMBERS)
    checkpoint = await_agreement(stage, MEMBERS)[0].checkpoint
    natives = {member: await_native(stage, member, checkpoint) for member in MEMBERS}
    votes = ", ".join(
        f"{member} {sum(vote.flag == COMMIT for vote in native.votes)}" for member, native in natives.items()
    )
    heights = ", ".join(sorted({str(native.height) for native in natives.values()}))
    tell.check(
        len({native.block_id for native in natives.values()}) == 1,
        f"CometBFT 自身在高度 {heights} 的提交(第二份证明)与之相符；各节点所存票数：{votes}",
        f"CometBFT's own commit of its height {heights}, a second proof, says the same; votes kept: {votes}",
    )
    _findings(tell, stage, MEMBERS, bft_story.PLANTED)


def _same(tell: Teller, stage: Stage, members: Sequence[str]) -> int:
    """Show where the nodes stand, and that it is the same place; the size of their log."""
    stood = await_agreement(stage, members)
    for each in stood:
        size, root, names = each.checkpoint.size, each.checkpoint.root.hex()[:16], ", ".join(each.signers)
        tell.fact(
            f"{each.member}: 区块 {each.height}, {size} 条，根 {root}…, 联署 {names}",
            f"{each.member}: block {each.height}, {size} leaves, root {root}…, certified by {names}",
        )
    tell.check(
        len({(each.height, each.checkpoint) for each in stood}) == 1,
        "高度、条数与根完全一致",
        "the same height, the same size, the same root",
    )
    return stood[0].checkpoint.size


def _findings(tell: Teller, stage: Stage, members: Sequence[str], expected: dict[str, int]) -> None:
    for member in members:
        found: dict[str, int] = {}
        page = stage.client_of(member).get_json(["v1", "findings"], {"limit": 100})
        for item in page["items"]:
            found[item["finding"]["code"]] = found.get(item["finding"]["code"], 0) + 1
        if found != expected:
            tell.fail(f"{member} 的线索为 {found}", f"{member} has the findings {found}")
    shown = ", ".join(f"{code} ({count})" for code, count in sorted(expected.items()))
    tell.good(f"各节点的线索相同：{shown}", f"every node has the same findings: {shown}")


def _kill(tell: Teller, stage: Stage, story: Story) -> None:
    tell.chapter(
        f"在写入负载下断掉一个部门：对 {name_of(tell, KILLED)} 的节点及其 CometBFT 执行 kill -9",
        f"Kill a department under load: kill -9 of the node of {name_of(tell, KILLED)} and of its CometBFT",
    )
    now = _now()
    steps = [story.access(story.register, now + number, bft_story.PURPOSE, 1) for number in range(LOAD_EVENTS)]
    load = Load(stage, steps)
    load.start()
    wait(lambda: len(load.acknowledged) >= KILL_AFTER, LOAD_S, "the load did not begin")
    kill_department(stage, KILLED)
    at_kill = len(load.acknowledged)
    load.join(LOAD_S)
    after = len(load.acknowledged) - at_kill
    tell.check(
        after > 0,
        f"其余三个部门继续：此后又确认 {after} 个事件，最慢一个 {load.slowest_s:.1f} 秒",
        f"the other three go on: {after} more events acknowledged, the slowest in {load.slowest_s:.1f} s",
    )
    _same(tell, stage, [member for member in MEMBERS if member != KILLED])
    began = time.monotonic()
    node = stage.node_of(KILLED)
    node.start()
    node.wait_listening()
    await_agreement(stage, MEMBERS)
    tell.good(
        f"{KILLED} 重新启动，{time.monotonic() - began:.1f} 秒后已追上",
        f"{KILLED} is started again and has caught up after {time.monotonic() - began:.1f} s",
    )
    _same(tell, stage, MEMBERS)
    counts = stage.recorded("grant", story.register.id, stage.client_of(KILLED))
    once = all(counts[f"{step.member}/{step.event.id}"] == 1 for step in steps)
    tell.check(
        once, "已确认的事件在其账本中不多不少，各一次", "in its ledger every acknowledged event stands exactly once"
    )


def _lie(tell: Teller, stage: Stage, story: Story) -> None:
    tell.chapter(
        f"一个部门说谎：{name_of(tell, LIAR)} 换上篡改程序 (demo/liar.py)",
        f"A department lies: {name_of(tell, LIAR)} runs an altered build (demo/liar.py)",
    )
    stage.node_of(LIAR).stop()
    node = stage.replace_node(LIAR, NodeProcess(stage.made.folders[LIAR], liar.PROGRAM))
    node.start()
    node.wait_listening()
    node.wait_ready()
    step = story.access(story.register, _now(), bft_story.OTHER_PURPOSE, LIE_COUNT)
    became = stage.record(step.member, step.key, [step.event], stage.client_of(AUDITED)).events[0]
    tell.fact(
        f"它为其他用途调用了 {LIE_COUNT} 条：裁决 {became.outcome}；全体作出裁决后，它在自己的账本里记为 "
        f"{LIE_COUNT // liar.LARGE} 条",
        f"it reads {LIE_COUNT} records for another purpose: {became.outcome}; when all have decided, it writes down "
        f"{LIE_COUNT // liar.LARGE} of them",
    )
    true = await_agreement(stage, HONEST)[0]
    guilty = f"{name_of(tell, LIAR)}"
    for member in HONEST:
        lie = await_lie(stage, member)
        named = lie.signers == (LIAR,) and lie.checkpoint.size == true.checkpoint.size
        tell.check(
            named and lie.checkpoint.root != true.checkpoint.root,
            f"{member} 发现 {guilty} 签署了另一本账(根 {lie.checkpoint.root.hex()[:16]}…),存证 {lie.file.name}",
            f"{member} notices that {guilty} signed another ledger (root {lie.checkpoint.root.hex()[:16]}…), "
            f"evidence in {lie.file.name}",
        )
    _falls_out(tell, stage, story)
    _findings(tell, stage, HONEST, {**bft_story.PLANTED, bft_story.LIE_FINDING: 1})
    _convict(tell, stage, step.event.id)


def _falls_out(tell: Teller, stage: Stage, story: Story) -> None:
    """The others record more without the liar, which has nobody to agree with."""
    for number in range(3):
        step = story.access(story.register, _now(), bft_story.PURPOSE, number + 1)
        stage.record(step.member, step.key, [step.event], stage.client_of(HONEST[number]))
    size = _same(tell, stage, HONEST)
    signers = await_agreement(stage, HONEST)[0].signers
    status = stage.client_of(LIAR).get_json(["v1", "status"])
    tell.check(
        LIAR not in signers and status["size"] < size and status["certified_size"] < status["size"],
        f"{LIAR} 停在 {status['size']} 条，无人为它联署；其余三家已到 {size} 条，没有分叉",
        f"{LIAR} stands still at {status['size']} leaves that nobody certifies; the other three are at {size}: no fork",
    )


def _convict(tell: Teller, stage: Stage, event_id: str) -> None:
    stage.node_of(LIAR).stop()
    code, document = ledger("verify", str(stage.made.folders[LIAR]), "--origin", stage.origin, "--no-remember")
    named = any(finding.get("event") == f"{LIAR}/{event_id}" for finding in document.get("findings", []))
    tell.check(
        code == BROKEN and named,
        f"核验它自己的数据目录，被改的记录即被指名：{_first(document)}",
        f"verifying its own data directory names the altered record: {_first(document)}",
    )


def _first(document: dict[str, Any]) -> str:
    """What the first finding of a report says, and of what."""
    finding: dict[str, Any] = next(iter(document.get("findings", [])), {})
    return " · ".join(str(finding[name]) for name in ("code", "event", "place", "got") if finding.get(name))[:150]


def _verify_offline(tell: Teller, stage: Stage, export: Path) -> None:
    tell.chapter("审计人员离线核验导出的账本", "An auditor verifies an export offline")
    code, document = ledger("export", "archive", str(export), "--from", str(stage.made.folders[AUDITED]))
    if code:
        tell.fail(f"导出失败：{document}", f"export failed: {document}")
    code, document = ledger("verify", str(export), "--origin", stage.origin, "--no-remember")
    natives = document.get("counts", {}).get("natives", 0)
    if code or not natives:
        tell.fail(f"核验未通过：{document}", f"it does not hold: {document}")
    tell.good(
        f"全部层级核验通过：逐条重算规则，法定联署，{natives} 份 CometBFT 原生提交",
        f"every level holds: every verdict computed again, the certificates, {natives} native commits of CometBFT",
    )
    target = export / "segments" / "000000.gz"
    data = bytearray(target.read_bytes())
    data[len(data) // 2] ^= 0x20
    target.write_bytes(data)
    code, document = ledger("verify", str(export), "--origin", stage.origin, "--no-remember")
    tell.check(
        code == BROKEN,
        f"改动其中一个字节，即被发现并指名：{_first(document)}",
        f"one byte of it changed is caught and named: {_first(document)}",
    )


def _now() -> int:
    return time.time_ns() // 1_000_000
