"""D5 更正到达各持有方 · Corrections reach every holder. Decree 809 Art. 26.

The entry counts who holds copies of its data, supplied or derived. When the provider corrects, each other holder owes
a refresh, and says so by an event of its own; one that has disposed of its copies says that. The law sets no term; a
late refresh is an alert under the strict reading. Holders are told in batches, one timer after the other, so that no
correction is too wide for one event.

目录条目对持有其数据副本的各方计数，副本包括提供的和衍生的。数据提供部门更正数据的，其他各持有方均应当刷新，并以各自
的事件说明；已经处置其副本的，说明处置情况。法律未规定期限；按从严理解，逾期刷新的，予以提醒。各持有方分批通知，定时
逐一接续，因此任何更正均不致超出一个事件所能容纳的范围。
"""

BATCH = 24
HOLDERS_ROOM = 1024


def on_share_deliver(event, state, env):
    return [write("new", counted=[event.refs["dataset"]]), counted(state["dataset"], event.body["to"])]


def on_backflow_deliver(event, state, env):
    return [write("copy", counted=[event.refs["dataset"]]), counted(state["dataset"], state["demand"]["by"])]


def on_custody_found(event, state, env):
    return [write("copy", counted=[event.refs["dataset"]]), counted(state["dataset"], event.body["holder"])]


def on_use_derive(event, state, env):
    return derived(event, state)


def on_use_analyze(event, state, env):
    return derived(event, state)


def on_dispose_verify(event, state, env):
    return ended(event, state)


def on_custody_release(event, state, env):
    return ended(event, state)


def on_correct_result(event, state, env):
    if event.body["outcome"] != "corrected" or state["correction"]["outcome"] is not None:
        return None
    told = reached(state, env, "")
    if state["dataset"]["holders_more"]:
        return told + [alert("holders-uncounted", entry=event.refs["dataset"])]
    return told


def on_timer_D5_reach(timer, state, env):
    return reached(state, env, timer.data["after"])


def on_correct_refresh(event, state, env):
    waiting = state["correction"]["waiting"]
    if event.member not in waiting:
        return None
    left = {name: True for name in waiting if name != event.member}
    effects = [write("correction", waiting=left)]
    if not left and state["correction"]["told"]:
        effects.append(move("correction", "refreshed"))
    return effects


def on_timer_D5(timer, state, env):
    return alert("refresh-late", holder=timer.label, open=env.params["refresh_days"]["open"])


def derived(event, state):
    # What is derived holds data of every entry named that its sources come from.
    known = [source for parent in state["copy"].values() for source in parent["sources"]]
    named = [name for name in sorted(event.refs.get("dataset", [])) if name in known]
    effects = [write("new", counted=named)]
    for entry in named:
        holders = more(state["dataset"][entry], event.member)
        if holders is None:
            effects.append(write("dataset", entry, holders_more=True))
        else:
            effects.append(write("dataset", entry, holders=holders))
    return effects


def counted(dataset, holder):
    holders = more(dataset, holder)
    if holders is None:
        return write("dataset", holders_more=True)
    return write("dataset", holders=holders)


def more(dataset, holder):
    # None where the entry has no room for another name.
    holders = {name: dataset["holders"][name] for name in dataset["holders"]}
    if holder not in holders and sum([len(name) + 6 for name in holders]) + len(holder) > HOLDERS_ROOM:
        return None
    holders[holder] = holders.get(holder, 0) + 1
    return holders


def ended(event, state):
    # Each entry that counts the copy is named: one left out would count its holder for ever.
    copy = state["copy"]
    left = [name for name in copy["counted"] if name not in event.refs.get("dataset", [])]
    if left:
        return refuse("still-counted", entries=left[:4])
    effects = [write("copy", counted=[])]
    for source in copy["counted"]:
        before = state["dataset"][source]["holders"]
        after = {name: before[name] - (1 if name == copy["holder"] else 0) for name in before}
        effects.append(write("dataset", source, holders={name: after[name] for name in after if after[name] > 0}))
    return effects


def reached(state, env, after):
    correction = state["correction"]
    named = sorted(state["dataset"]["holders"].keys())
    left = [name for name in named if name > after and name != correction["provider"]]
    waiting = {name: True for name in correction["waiting"]}
    effects = []
    for holder in left[:BATCH]:
        waiting[holder] = True
        due = working_days(env, env.params["refresh_days"]["strict"])
        effects.append(duty("D5", by=holder, on="correction", due=due, kinds=["correct.refresh"], label=holder))
    effects.append(write("correction", waiting=waiting, told=len(left) <= BATCH))
    if len(left) > BATCH:
        effects.append(set_timer("D5.reach", on="correction", due=env.now + 1, after=left[BATCH - 1]))
    elif not waiting:
        effects.append(move("correction", "refreshed"))
    return effects
