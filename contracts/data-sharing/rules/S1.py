"""S1 数据源登记与断报 · Registered sources, and silence. Online litigation rules Art. 18: how facts were kept before chaining.

A department states for each of its systems how facts are kept before they are chained and, where it reports at regular
times, how often. Its events name the source that they come from. One that stays silent for longer than it declared is
an alert; after the grace, at most once a day, it is a candidate finding about the department, until it reports again.
The law sets no grace. To register a source anew is no report: what it missed stays, and a term that runs goes on;
without a cadence it is no longer waited for.

各部门应当就其每一个系统说明事实在上链前如何保存；定期上报的，并应当说明上报周期。事件应当载明其所来自的数据源。数据
源断报超过所登记周期的，予以提醒；宽限期过后，形成涉及该部门的涉嫌违规的线索，每日最多一次，直至恢复上报。宽限期法律
未作规定。重新登记数据源不视为上报：此前断报的周期仍予计算，已经开始的周期继续计算；重新登记时未载明上报周期的，不再等待其上报。
"""

DAILY = 24
HOUR = 3600000


def on_source_register(event, state, env):
    cadence = event.body.get("cadence_hours")
    before = state["source"]
    awaited = before is not None and before.get("cadence_hours") is not None
    registered = write(
        "source",
        owner=event.member,
        system=event.body["system"],
        method=event.body["method"],
        storage=event.body["storage"],
        witness=event.body.get("witness"),
        cadence_hours=cadence,
        last=before["last"] if awaited else env.now,
        missed=0 if before is None else before["missed"],
        counted=before["counted"] if awaited else 0,
    )
    if cadence is None:
        return [registered, clear_timer("S1", on="source")]
    if not awaited:
        return [registered, set_timer("S1", on="source", due=hours(env, cadence))]
    # A term that runs goes on, however often the source is registered anew.
    since = max(before["last"] + cadence * HOUR, before["counted"] + max(cadence, DAILY) * HOUR)
    return [registered, set_timer("S1", on="source", due=max(since, env.now + 1))]


def on_use_access(event, state, env):
    return heard(event, state, env)


def on_use_record(event, state, env):
    return heard(event, state, env)


def on_collect_done(event, state, env):
    return heard(event, state, env)


def on_data_update(event, state, env):
    return heard(event, state, env)


def on_share_deliver(event, state, env):
    return heard(event, state, env)


def on_import_batch(event, state, env):
    return heard(event, state, env)


def on_timer_S1(timer, state, env):
    source = state["source"]
    cadence = source.get("cadence_hours")
    if cadence is None:
        return None
    if source["last"] + cadence * 3600000 > env.now:
        return set_timer("S1", on="source", due=hours(env, cadence, since=source["last"]))
    grace = env.params["report_grace"]
    missed = source["missed"] + 1
    effects = [
        write("source", missed=missed, counted=env.now),
        set_timer("S1", on="source", due=hours(env, max(cadence, DAILY))),
    ]
    if missed == 1 + grace["strict"]:
        effects.append(alert("source-late", system=source["system"], open=grace["open"]))
    if missed > grace["lenient"]:
        effects.append(finding("source-silent", about=source["owner"], on="source", hours=cadence))
    return effects


# Only the owner's events show that its source works.
def heard(event, state, env):
    source = state["source"]
    if source is not None and source["owner"] == event.member:
        return write("source", last=env.now, missed=0)
