"""`./dev demo`: a network of four departments, run for real and then attacked; exits non-zero when anything differs.

Chapters: make and start the network, play some weeks of a city (and, with --permits, record a real permit log), tell what
happened, verify offline, ask and check a provenance question, flip a byte, kill a node. `--engine cometbft` tells another
story, on nodes that order together (see `bft`). Not here: how any of it works.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ledger.core.genesis import COMETBFT, ENGINES, SEQUENCER
from ledger.errors import LedgerError, NotFoundError, UnavailableError
from ledger_node.demo import bft, faults, scenario
from ledger_node.demo.permits import ledger, permit_members, record_permits
from ledger_node.demo.stage import Stage, Told, make_network
from ledger_node.demo.tell import DemoError, Teller, stay

CERTIFIED_S = 60  # on a machine that is busy with other things
FOLLOWER = 3  # the node whose database is attacked


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; the exit code is 0 only when every check held."""
    parser = argparse.ArgumentParser(prog="./dev demo", description="四个部门的演示 · A demo of four departments.")
    parser.add_argument("--once", action="store_true", help="stop at the end 结束即停止")
    parser.add_argument(
        "--permits", type=Path, metavar="FILE", help="also record this permit log (CSV or .gz) 并导入许可日志"
    )
    parser.add_argument("--dir", type=Path, metavar="DIR", help="keep the network here (new or empty folder) 保存目录")
    parser.add_argument(
        "--engine", choices=ENGINES, default=SEQUENCER, help="what orders the events 共识引擎 (default: %(default)s)"
    )
    given = parser.parse_args(arguments)
    if given.engine == COMETBFT and given.permits is not None:
        parser.error("--permits goes with the sequencer only 仅适用于 sequencer")
    tell = Teller()
    folder = given.dir or Path(tempfile.mkdtemp(prefix="suyuan-demo-"))
    try:
        if given.engine == COMETBFT:
            return bft.run(tell, folder / "network", given.once)
        return _run(tell, folder / "network", given.permits, given.once)
    except (DemoError, LedgerError) as error:
        print(f"× {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(tell.pick("已中断", "interrupted"), file=sys.stderr)
        return 130
    finally:
        if given.dir is None:
            shutil.rmtree(folder, ignore_errors=True)


def _run(tell: Teller, folder: Path, permits: Path | None, once: bool) -> int:
    tell.chapter("建立网络：四个部门，各运行一个节点", "Make a network: four departments, a node each")
    extra = permit_members(permits) if permits is not None else []
    stage = Stage(make_network(folder, extra))
    tell.fact(f"网络标识 {stage.origin}", f"origin {stage.origin}")
    tell.fact("时钟为模拟时间", "the clock is simulated time")
    with stage.running():
        told = _play(tell, stage)
        if permits is not None:
            _permits(tell, stage, permits)
        _verify_offline(tell, stage, folder.parent / "export")
        _ask(tell, stage, folder.parent)
        _flip(tell, stage)
        _kill(tell, stage, told)
        tell.chapter("完成：以上各项均已核验", "Done: everything above was checked")
        tell.fact(
            "互不信任的四个部门（CometBFT，其一被杀，其一说谎）：./dev demo --engine cometbft",
            "four departments that trust nobody, one killed, one lying: ./dev demo --engine cometbft",
        )
        if not once:
            stay(tell, stage.sequencer.url, stage.origin)
    return 0


def _play(tell: Teller, stage: Stage) -> Told:
    tell.chapter("重放一座城市的七个星期", "Play seven weeks of a city")
    told = stage.play(scenario.story())
    stage.step_clock(scenario.day(scenario.DAYS))
    stage.wait_ready()
    for step, outcome in told.surprises[:5]:
        tell.fact(f"意外：{step.event.kind} 为 {outcome}", f"surprise: {step.event.kind} became {outcome}")
    tell.check(
        not told.surprises,
        f"{told.events} 个事件的裁决均符合预期",
        f"{told.events} events, each decided as it should be",
    )
    for kind in ("catalog.publish", "share.apply", "share.approve", "share.deliver", "use.access", "use.record"):
        counts = {outcome: count for (name, outcome), count in sorted(told.outcomes.items()) if name == kind}
        tell.fact(f"{kind:16} {_counts(tell, counts)}", f"{kind:16} {_counts(tell, counts)}")
    tell.chapter("值得一看的事", "What is worth a look")
    for step, verdict in told.notable:
        why = ", ".join(f"{rule} {code}" for rule, code, _ in verdict.get("reasons", []))
        why = why or ", ".join(finding["code"] for finding in verdict.get("findings", []))
        zh, en = step.note or ("", "")
        tell.fact(
            f"{zh} [{step.event.kind}{' ' + why if why else ''}]", f"{en} [{step.event.kind}{' ' + why if why else ''}]"
        )
    page = stage.client.get_json(["v1", "findings"], {"limit": 100})
    found: dict[str, int] = {}
    for finding in (item["finding"] for item in page["items"]):
        found[finding["code"]] = found.get(finding["code"], 0) + 1
        tell.fact(_finding(tell, finding), _finding(tell, finding))
    tell.check(
        found == scenario.PLANTED, "埋设的违规全部发现，别无其他", "every planted breach was found, and no other"
    )
    return told


def _counts(tell: Teller, counts: dict[str, int]) -> str:
    words = {"accepted": ("接受", "accepted"), "irregular": ("不合规", "irregular"), "refused": ("拒绝", "refused")}
    return ", ".join(f"{tell.pick(*words[outcome])} {count}" for outcome, count in counts.items())


def _finding(tell: Teller, finding: dict[str, Any]) -> str:
    return tell.pick(
        f"线索 {finding['code']} 涉及 {finding['about']},对象 {finding['on']}",
        f"finding {finding['code']} about {finding['about']}, on {finding['on']}",
    )


def _permits(tell: Teller, stage: Stage, file: Path) -> None:
    tell.chapter(f"导入真实日志 {file.name}", f"Record a real log, {file.name}")
    document = record_permits(stage, file)
    rows, groups, recorded = (f"{document[name]:,}" for name in ("rows_read", "groups", "recorded"))
    stated = ", ".join(f"{name} {count:,}" for name, count in document["statements"].items())
    tell.good(
        f"全部入账：{groups} 个部门的 {rows} 行，{recorded} 个事件({stated})",
        f"all of it is on the ledger: {rows} rows of {groups} groups, {recorded} events ({stated})",
    )


def _verify_offline(tell: Teller, stage: Stage, export: Path) -> None:
    tell.chapter("审计人员离线核验导出的账本", "An auditor verifies an export offline")
    _await_certified(stage)
    note = stage.client.get_bytes(["v1", "checkpoint"]).decode("utf-8").splitlines()
    tell.fact(
        f"检查点：{note[1]} 条，{len(note) - 5} 个联署",
        f"checkpoint over {note[1]} leaves, {len(note) - 5} cosignatures",
    )
    code, document = ledger("export", "archive", str(export), "--from", str(stage.sequencer.folder))
    if code:
        tell.fail(f"导出失败：{document}", f"export failed: {document}")
    code, document = ledger("verify", str(export), "--origin", stage.origin, "--no-remember")
    tell.check(code == 0, "全部层级核验通过，包括逐条重算规则", "every level holds, every verdict was computed again")


def _ask(tell: Teller, stage: Stage, folder: Path) -> None:
    dataset = "ga/hukou"
    tell.chapter(f"监管人员查询数据集 {dataset} 的全过程", f"A regulator asks for the history of dataset {dataset}")
    path = ["v1", "proofs", "completeness"]
    proof = stage.client.get_bytes(path, {"kind": "dataset", "id": dataset})
    file = folder / "completeness.json"
    file.write_bytes(proof)
    trust = folder / "genesis.json"
    trust.write_bytes(stage.made.genesis.data)
    code, document = ledger("proof", "verify", str(file), "--trust", str(trust))
    if code:
        tell.fail(f"证明不成立：{document}", f"the proof does not hold: {document}")
    counts = document["counts"]
    records = sum(counts.values()) - counts["timers"]
    tell.good(
        f"答案自证完整：{records} 条记录，{counts['timers']} 个时限",
        f"the answer proves itself and its completeness: {records} records, {counts['timers']} timer leaves",
    )


def _flip(tell: Teller, stage: Stage) -> None:
    node = stage.network.nodes[FOLLOWER]
    tell.chapter(
        f"篡改：在 {node.folder.name} 的数据库中改一个字节", f"Tamper: one byte in the database of {node.folder.name}"
    )
    node.stop()
    flip = faults.flip_byte(node.folder)
    code, document = ledger("verify", str(node.folder), "--origin", stage.origin, "--no-remember")
    # Of all blocks the audit names the one whose byte was changed, and accuses no other.
    findings = document.get("findings", [])
    named = {finding.get("height") for finding in findings}
    said = "".join(f"\n    {each['message']} [{each['code']}]: {each.get('got', '')}" for each in findings[:1])
    tell.check(
        code == 6 and named == {flip.height},
        f"被发现并指名，且未指向其他区块：区块 {flip.height}{said}",
        f"caught and named, and no other block accused: block {flip.height}{said}",
    )
    flip.undo()
    node.start()
    node.wait_listening()


def _kill(tell: Teller, stage: Stage, told: Told) -> None:
    tell.chapter("在写入负载下强行终止排序节点(kill -9)", "Kill the ordering node under load (kill -9)")
    del told
    now = scenario.day(scenario.DAYS)
    story = scenario.story()
    access = next(step for step in reversed(story) if step.event.kind == "use.access")
    refs, body = access.event.fields["refs"], access.event.content
    load, took = faults.kill_under_load(stage, refs["dataset"], refs["grant"], access.member, body["purpose"], now)
    _await_certified(stage)
    missing = sum(not _is_recorded(stage, access.member, event_id) for event_id in load.acknowledged)
    tell.fact(
        f"{len(load.acknowledged)} 个已确认事件，重试 {load.retries} 次，{took:.1f} 秒后恢复",
        f"{len(load.acknowledged)} acknowledged events, {load.retries} retries, back after {took:.1f} s",
    )
    tell.check(missing == 0, "已确认的事件一个不少", "nothing acknowledged was lost")
    recorded = stage.recorded("grant", refs["grant"])
    once = all(recorded[f"{access.member}/{event.id}"] == 1 for event in load.sent)
    tell.check(once and max(recorded.values()) == 1, "也没有一个重复", "and nothing was doubled")


def _await_certified(stage: Stage) -> None:
    """Answers stand on certified state, and the last blocks are certified a moment after they are recorded."""
    until = time.monotonic() + CERTIFIED_S
    while True:
        status = stage.client.get_json(["v1", "status"])
        if status["certified_size"] == status["size"]:
            return
        if time.monotonic() > until:
            raise UnavailableError("uncertified", "the head was not certified in time", size=status["size"])
        time.sleep(0.05)


def _is_recorded(stage: Stage, member: str, event_id: str) -> bool:
    try:
        return bool(stage.client.get_json(["v1", "events", member, event_id])["entry"]["head"]["id"] == event_id)
    except NotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(main())
