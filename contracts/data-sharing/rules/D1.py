"""D1 质量目标先行 · Quality targets before publication. Decree 809 Art. 18.

An entry has a quality plan before it is submitted: a target for completeness, accuracy, consistency and timeliness,
in basis points (the law names no values; the plan's owner sets them). The provider or the sharing authority plans,
and what the authority planned it alone plans anew. While data is below target, a new plan lowers no target: a loop
ends by repair.
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
