"""C4 查阅权与查阅留痕 · The right to inspect, itself on record. Decree 809 Art. 29; NDSR Art. 50.

The authority, the provider of the entry, a party, a regulator, an auditor, or the person concerned may read. The node
that serves refuses others before it answers; what it served and refused it records in batches, which may be sealed up
to a date. This rule checks the batches: who read as a provider is the provider, every entry read is named, batches
follow one another, and a sealed one is opened in time with the root it had.

政务数据共享主管部门、目录条目的数据提供部门、当事方、监管部门、审计机关或者数据所涉及的个人，可以查阅。提供查阅的节
点对其他查阅在答复之前即予拒绝，并将所提供和所拒绝的查阅分批记录；各批查阅日志可以封存至某一日期。本规则核查各批查阅
日志：以数据提供部门身份查阅的，确为数据提供部门；所查阅的目录条目均已引用；各批前后相接；封存的查阅日志按时公开，且
其根哈希与封存时相同。
"""

DAY = 86400000


def on_audit_read(event, state, env):
    reads = event.body.get("reads", [])
    wrong = [read["reader"] for read in reads if not entitled(read, state["dataset"])]
    opened = state["readlog"]
    stated = [breach("D809/40-6", about=event.member, on="reads", what="read", readers=wrong[:4])] if wrong else []
    if opened is None:
        return stated + followed(event, state["reads"], env) + sealed_up(event, env)
    if opened["member"] != event.member or opened["root"] != event.body["root"]:
        return stated + [breach("D809/40-6", about=event.member, on="readlog", what="seal")]
    return stated + [write("readlog", opened=event.time), discharge("C4", on="readlog")]


def on_timer_C4(timer, state, env):
    return alert("log-sealed", due=timer.due)


def on_timer_C4_silent(timer, state, env):
    return alert("log-silent", until=state["reads"]["until"])


def entitled(read, datasets):
    named = read.get("dataset")
    if named is None:
        return read["capacity"] != "provider"
    dataset = datasets.get(named)
    if dataset is None:
        return False
    return read["capacity"] != "provider" or dataset["provider"] == read["reader"]


def followed(event, log, env):
    start = ms(event.body["from"])
    effects = [
        write("reads", until=max(log["until"], ms(event.body["to"])), served=log["served"] + event.body["count"]),
        set_timer("C4.silent", on="reads", due=hours(env, env.params["read_log_hours"]["strict"])),
    ]
    if log["until"] > 0 and start > log["until"]:
        effects.append(alert("log-gap", since=log["until"], until=start))
    return effects


def sealed_up(event, env):
    sealed = event.body.get("sealed")
    if sealed is None:
        return []
    last = ms(sealed) + DAY
    due = last + env.params["unseal_days"]["strict"] * DAY
    return [
        write("new", member=event.member, root=event.body["root"], until=last),
        duty("C4", by=event.member, on="new", due=due),
    ]
