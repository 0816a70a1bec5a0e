"""E4 就高定级 · The highest grade wins. Data Security Law Art. 21; GB/T 43697.

Set or changed without a review, the grade of an entry is at least that of each part stated; it goes down, below these
too, only after a valid review by another department. A change counts the version of the grade up; users and holders learn
of it when they next act: lazily, so that a change touches the entry alone. What is derived is graded at least as its
sources are graded on that day.

未经复核而定级或者变更级别的，目录条目的级别不得低于所列各数据项的级别；经其他部门有效复核后方可降低，包括降至各数据项
的级别以下。级别变更的，定级版本加一；数据需求部门和持有部门在其下一次行为时获知变更：不逐一通知，因此一次变更只涉及该
目录条目本身。衍生数据的级别，不得低于其来源数据当日的级别。
"""

RANK = {"general": 0, "important": 1, "core": 2}
REVIEW = "classification"


def on_catalog_draft(event, state, env):
    level = event.body["level"]
    before = state["dataset"]
    if before is None or before["class_version"] == 0:
        return write("dataset", level=level)
    if RANK[level] < RANK[before["level"]]:
        return refuse("downgrade-unreviewed", level=level, before=before["level"])
    return regraded(before, level)


def on_catalog_update(event, state, env):
    level = event.body["level"]
    if RANK[level] < RANK[state["dataset"]["level"]]:
        return refuse("downgrade-unreviewed", level=level, before=state["dataset"]["level"])
    return write("revision", level=level)


def on_catalog_publish(event, state, env):
    dataset = state["dataset"]
    if dataset["status"] == "updated":
        raised = state["revision"]["level"]
        return regraded(dataset, raised) if RANK[raised] > RANK[dataset["level"]] else None
    return write("dataset", class_version=max(1, dataset["class_version"]))


def on_class_set(event, state, env):
    if state["dataset"]["class_version"] > 0:
        return refuse("graded-already")
    if RANK[event.body["level"]] < highest(event.body["parts"]):
        return refuse("below-parts", level=event.body["level"])
    return write("dataset", level=event.body["level"], class_version=1)


def on_class_change(event, state, env):
    dataset = state["dataset"]
    level = event.body["level"]
    if dataset["class_version"] == 0:
        return refuse("not-graded")
    if reviewed(event, state["assessment"], env):
        return regraded(dataset, level)
    if RANK[level] < highest(event.body["parts"]):
        return refuse("below-parts", level=level)
    if RANK[level] < RANK[dataset["level"]]:
        return refuse("downgrade-unreviewed", level=level, before=dataset["level"])
    return regraded(dataset, level)


def on_share_approve(event, state, env):
    return write("grant", class_version=state["dataset"]["class_version"])


def on_share_deliver(event, state, env):
    return write("new", class_version=state["dataset"]["class_version"])


def on_use_access(event, state, env):
    dataset = state["dataset"]
    known = max(state["grant"]["class_version"], state["use"]["class_version"])
    if dataset["class_version"] <= known:
        return None
    return [
        write("use", class_version=dataset["class_version"]),
        alert("regraded", level=dataset["level"], version=dataset["class_version"]),
    ]


def on_use_derive(event, state, env):
    return derived(event, state)


def on_use_analyze(event, state, env):
    return derived(event, state)


def derived(event, state):
    # The copies carry the grade of the day they were made; the entries that are named tell today's.
    sources = [source for parent in state["copy"].values() for source in parent["sources"]]
    least = highest([{"level": dataset["level"]} for dataset in state["dataset"].values()])
    floor = highest(state["copy"].values())
    versions = [dataset["class_version"] for dataset in state["dataset"].values()]
    effects = [write("new", class_version=max([0] + versions))]
    if least > floor and RANK[event.body["level"]] < least:
        effects.append(breach("D809/40-6", about=event.member, on="new", held=event.member, what="regraded"))
    unnamed = [source for source in sources if source not in event.refs.get("dataset", [])]
    if unnamed:
        effects.append(alert("sources-unnamed", entries=unnamed[:4]))
    return effects


def regraded(dataset, level):
    if level == dataset["level"]:
        return None
    return write("dataset", level=level, class_version=dataset["class_version"] + 1)


def highest(parts):
    return max([0] + [RANK[part["level"]] for part in parts])


def reviewed(event, assessment, env):
    if assessment is None or assessment["type"] != REVIEW or assessment["result"] != "passed":
        return False
    if assessment["member"] == event.member or env.now >= assessment["until"]:
        return False
    return assessment["dataset"] == event.refs["dataset"]
