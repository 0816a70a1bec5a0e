"""D1 质量目标先行 · Quality targets before publication. Decree 809 Art. 18.

An entry has a quality plan before it is submitted: a target for completeness, accuracy, consistency and timeliness,
in basis points (the law names no values; the plan's owner sets them). The provider or the sharing authority plans,
and what the authority planned it alone plans anew. While data is below target, a new plan lowers no target: a loop
ends by repair.

目录条目报送之前，应当有质量计划：对完整性、准确性、一致性、时效性各定目标，以万分之一为单位（法律未规定数值，由质量
计划的制定部门确定）。质量计划由数据提供部门或者政务数据共享主管部门制定；主管部门制定的，只能由主管部门重新制定。数
据未达标期间，新的质量计划不得降低任何目标：质量循环以修复终结。
"""

DIMENSIONS = ["completeness", "accuracy", "consistency", "timeliness"]


def on_quality_plan(event, state, env):
    dataset = state["dataset"]
    before = state["plan"]
    planner = dataset["provider"] if before is None else before["owner"]
    if event.member != planner and "authority" not in env.signer.roles:
        return refuse("no-party", role="authority")
    targets = {name: event.body[name] for name in DIMENSIONS}
    if before is not None and before["status"] in ["below_target", "returned", "fixed"]:
        lowered = [name for name in DIMENSIONS if targets[name] < before["targets"][name]]
        if lowered:
            return refuse("target-lowered", dimensions=lowered)
    return [
        write(
            "new",
            dataset=event.refs["dataset"],
            owner=event.member,
            source=dataset["provider"],
            evaluator=event.body.get("evaluator"),
            targets=targets,
        ),
        write("dataset", plan=event.name),
    ]


def on_catalog_submit(event, state, env):
    if state["dataset"].get("plan") is None:
        return refuse("plan-missing")
