"""B4 汇聚关联 · Aggregation and linkage. Decree 809 Art. 25; State Secrets Regulation Art. 43; GB/T 43697.

Each copy carries the datasets that it comes from (at most 16 by name, then `many`) and its grade. What is derived is never
graded below the highest of its sources. Where it combines several datasets it is classified anew before anything else is
made of it: the law names no number, so from the strict one on there are an alert and a duty without a term, and an alert at
each use before that.

每份副本载明其来源数据集（列名的至多十六个，多于十六个的记 `many`）和数据级别。
衍生数据的级别不得低于其来源的最高级别。汇聚多个数据集的，应当重新定级后方可再作他用：法律未规定数目，
因此自从严理解所定的数目起，予以提醒，并产生没有期限的重新定级义务；重新定级前每次使用，均予以提醒。
"""

RANK = {"general": 0, "important": 1, "core": 2}
NAMED = 16


def on_share_deliver(event, state, env):
    source = state["copy"]
    if source is None:
        level = state["dataset"]["level"]
        return write("new", level=level, floor=level, sources=[event.refs["dataset"]])
    kept = write(
        "new",
        level=source["level"],
        floor=source["floor"],
        sources=source["sources"],
        unclassed=source["unclassed"],
    )
    if not source["unclassed"]:
        return kept
    return [kept, too_early(env)]


def on_backflow_deliver(event, state, env):
    level = state["dataset"]["level"]
    return write("copy", level=level, floor=level, sources=[event.refs["dataset"]])


def on_custody_found(event, state, env):
    level = state["dataset"]["level"]
    return write("copy", level=level, floor=level, sources=[event.refs["dataset"]])


def on_use_derive(event, state, env):
    return combined(event, state, env)


def on_use_analyze(event, state, env):
    return combined(event, state, env)


def combined(event, state, env):
    parents = state["copy"]
    sources = together([parent["sources"] for parent in parents.values()])
    floor = highest([parent["level"] for parent in parents.values()])
    level = highest([floor, event.body["level"]])
    # The entries that are named tell today's grade (E4), which may be higher than that of the copies.
    today = [dataset["level"] for dataset in state["dataset"].values()]
    several = len(sources) >= env.params["aggregation_sources"]["strict"]
    effects = [
        write("new", level=highest(today + [level]), floor=highest(today + [floor])),
        write("new", sources=sources, unclassed=several),
    ]
    if level != event.body["level"]:
        effects.append(breach("D809/40-6", about=event.member, on="new", held=event.member, what="level", least=level))
    if several:
        effects.append(alert("aggregation", open=env.params["aggregation_sources"]["open"], sources=len(sources)))
        effects.append(duty("B4", by=event.member, on="new", due=None))
    if any([parent["unclassed"] for parent in parents.values()]):
        effects.append(too_early(env))
    return effects


def on_use_classify(event, state, env):
    copy = state["copy"]
    if "office-head" not in env.signer.roles and "dept-head" not in env.signer.roles:
        return refuse("head-consent", role="office-head")
    if not copy["unclassed"]:
        return refuse("nothing-to-classify")
    if RANK[event.body["level"]] < RANK[copy["floor"]]:
        return refuse("level-below-sources", floor=copy["floor"])
    return [write("copy", level=event.body["level"], unclassed=False), discharge("B4", on="copy")]


def too_early(env):
    return alert("unclassed-use", open=env.params["aggregation_sources"]["open"])


def highest(levels):
    found = "general"
    for level in levels:
        if RANK[level] > RANK[found]:
            found = level
    return found


# Names of the source datasets, each once; beyond sixteen the word `many` stands for the rest.
def together(lists):
    found = {}
    for listed in lists:
        for source in listed:
            found[source] = True
    names = [name for name in sorted(found) if name != "many"]
    if len(names) > NAMED or len(names) < len(found):
        return names[:NAMED] + ["many"]
    return names
