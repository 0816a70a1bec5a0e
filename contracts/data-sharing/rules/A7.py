"""A7 职权法定与一数一源 · Lawful power and a single source. Decree 809 Art. 19; DSL Art. 38; PIPL Art. 34.

A collection cites the power and the procedure that it rests on; without them it is irregular. When several
departments collect one item, the authority names one lead source, by a policy document and a published entry; whoever
else collects it then is an alert. The law sets no term for the naming: under the strict reading slowness is an alert,
and a candidate finding about the authority follows only where a term is set. The authority is the one that the
registry states for the collector (attribute `authority`), else the one that announced an entry with the item.

收集数据应当载明所依据的法定职权和法定程序；未载明的，记为不合规。多个部门收集同一数据项的，
由政务数据共享主管部门依据政策文件和已发布的目录条目，明确一个数源部门；此后其他部门再收集该数据项的，予以提醒。
法律未规定明确数源部门的期限：按从严理解，迟延的，予以提醒；只有在设定了期限的情况下，才形成涉及主管部门的线索。
主管部门为收集部门的登记信息所载明的主管部门（属性 `authority`）；未载明的，为发布含有该数据项的目录条目的主管部门。
"""

COLLECTORS = 24  # departments kept for one item


def on_catalog_publish(event, state, env):
    return [write("item", one, authority=event.member) for one in event.refs.get("item", [])]


def on_collect_done(event, state, env):
    entry = state["dataset"]
    cited = event.body.get("power") is not None and event.body.get("procedure") is not None
    effects = []
    if not cited and entry.get("pi") in ["pi", "sensitive"]:
        effects = effects + [breach("PIPL/34", about=event.member, on="dataset")]
    elif not cited:
        effects = effects + [breach("DSL/38", about=event.member, on="dataset")]
    known = [by for one in event.refs["item"] for by in state["item"][one]["collectors"].keys()]
    several = any([by != event.member for by in known])
    for name in event.refs["item"]:
        item = state["item"][name]
        collectors = {member: source for member, source in item["collectors"].items()}
        if event.member in collectors or len(collectors) < COLLECTORS:
            collectors[event.member] = event.refs["dataset"]
        effects = effects + [write("item", name, collectors=collectors)]
        if item.get("lead") is not None and item.get("lead") != event.member:
            effects = effects + [alert("not-the-source", item=name, lead=item.get("lead"))]
        if item.get("lead") is None and several and event.member not in item["collectors"]:
            effects = effects + name_one(name, authority_of(state["self"], item, entry), env)
    return effects


def on_item_synonym(event, state, env):
    items = state["item"]
    leads = [items[one].get("lead") for one in event.refs["item"] if items[one].get("lead") is not None]
    if any([other != leads[0] for other in leads]):
        return refuse("leads-differ")
    collectors = {}
    for name in event.refs["item"]:
        for member, source in items[name]["collectors"].items():
            if len(collectors) < COLLECTORS:
                collectors[member] = source
    effects = []
    for name in event.refs["item"]:
        lead = leads[0] if leads else None
        effects = effects + [write("item", name, collectors=collectors, lead=lead, authority=event.member)]
        if not leads and len(items[name]["collectors"]) < 2 and len(collectors) > 1:
            effects = effects + name_one(name, event.member, env)
    return effects


def on_lead_designate(event, state, env):
    entry = state["dataset"]
    if "authority" not in env.signer.roles:
        return refuse("not-authority")
    if entry["status"] != "published":
        return refuse("not-published", status=entry["status"])
    effects = []
    for name in event.refs["item"]:
        item = state["item"][name]
        if any([other not in event.refs["item"] for other in item["synonyms"]]):
            return refuse("synonyms-left")
        if name not in entry["items"] and not any([other in entry["items"] for other in item["synonyms"]]):
            return refuse("item-not-in-entry", items=1)
        if item.get("lead") is not None and event.body.get("replaces") != item.get("lead"):
            return refuse("lead-exists", lead=item.get("lead"))
        effects = effects + [
            write("item", name, lead=event.refs["member"], lead_dataset=event.refs["dataset"]),
            write("item", name, policy=event.body["policy"]),
            discharge("A7", on="item", of=name),
            clear_timer("A7.slow", on="item", of=name),
        ]
    return effects


# examined: timer-not-shown: no law sets a term, so it is set only where members vote one (the lenient value of lead_days)
def on_timer_A7(timer, state, env):
    item = state["item"]
    if item.get("lead") is None:
        return finding("D809/41-1", about=item.get("authority"), on="item", open=env.params["lead_days"]["open"])


def on_timer_A7_slow(timer, state, env):
    if state["item"].get("lead") is None:
        return alert("lead-slow", open=env.params["lead_days"]["open"])


def authority_of(member, item, entry):
    if member is not None and member["attributes"].get("authority") is not None:
        return member["attributes"]["authority"]
    return item.get("authority", entry.get("announced"))


def name_one(name, known, env):
    if known is None:
        return [alert("no-authority", item=name)]
    days = env.params["lead_days"]
    due = working_days(env, days["lenient"]) if days["lenient"] >= 0 else None
    return [
        write("item", name, authority=known),
        duty("A7", by=known, on="item", of=name, due=due, kinds=["lead.designate"]),
        set_timer("A7.slow", on="item", of=name, due=working_days(env, days["strict"])),
    ]
