"""D2 监测与退回 · Monitor and return. Decree 809 Art. 18.

A measurement below a target flags the entry; the plan's owner owes a return to the source, the source owes a repair, and
the owner a new measurement, until it passes. The law names no term: an order to repair may set one; without it slowness
is an alert under the strict reading. Nor does it name how often the loop may fail: from the third measurement below
target in a row on the strict reading escalates the case by an alert, and no finding rests on the number.

质量监测结果低于目标的，目录条目标记为未达标；质量计划的制定部门应当将数据退回数据源单位，数据源单位应当校核修复，制定
部门应当再次监测，直至达标。法律未规定期限：退回时可以要求在一定期限内修复；未要求的，按从严理解，迟延的，予以告警。质
量循环可以有多少次未达标，法律亦未规定：连续第三次监测未达标起，按从严理解，以提醒提请主管部门处理，不以次数为依据形成
线索。
"""

DIMENSIONS = ["completeness", "accuracy", "consistency", "timeliness"]


def on_quality_plan(event, state, env):
    # A new plan takes over where the old one stood: its loops count on.
    before = state["plan"]
    if before is None:
        return None
    return [
        write("new", loops=before["loops"]),
        discharge("D2.return", on="plan"),
        discharge("D2.measure", on="plan"),
        discharge("D2", on="plan"),
        clear_timer("D2.slow", on="plan"),
    ]


def on_quality_measure(event, state, env):
    plan = state["plan"]
    if plan["status"] not in ["deployed", "passed", "below_target", "fixed"]:
        return None
    below = [name for name in DIMENSIONS if event.body[name] < plan["targets"][name]]
    known = [write("dataset", below=below, measured=event.time), discharge("D2.measure", on="plan")]
    if not below:
        return known + [write("plan", loops=0), move("plan", "pass"), discharge("D2.return", on="plan")]
    loops = plan["loops"] + 1
    longest = env.params["quality_loops"]
    return known + [
        write("plan", loops=loops),
        move("plan", "below"),
        duty("D2.return", by=plan["owner"], on="plan", due=None, kinds=["quality.return"]),
        alert("quality-below", dimensions=below),
        alert("quality-escalated", loops=loops, open=longest["open"]) if loops >= longest["strict"] else None,
    ]


def on_quality_return(event, state, env):
    source = state["plan"]["source"]
    days = event.body.get("days")
    if days is not None:
        due = working_days(env, days)
        return duty("D2", by=source, on="plan", due=due, kinds=["quality.fix"])
    strict = env.params["repair_days"]["strict"]
    return [
        duty("D2", by=source, on="plan", due=None, kinds=["quality.fix"]),
        set_timer("D2.slow", on="plan", due=working_days(env, strict)),
    ]


def on_quality_fix(event, state, env):
    if state["plan"]["status"] != "returned":
        return None
    return [
        clear_timer("D2.slow", on="plan"),
        duty("D2.measure", by=state["plan"]["owner"], on="plan", due=None, kinds=["quality.measure"]),
    ]


def on_timer_D2(timer, state, env):
    return alert("repair-late", source=state["plan"]["source"])


def on_timer_D2_slow(timer, state, env):
    return alert("repair-slow", source=state["plan"]["source"], open=env.params["repair_days"]["open"])
