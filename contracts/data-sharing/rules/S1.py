"""S1 数据源登记与断报 · Registered sources, and silence. Online litigation rules Art. 18: how facts were kept before chaining.

A department states for each of its systems how facts are kept before they are chained and, where it reports at regular
times, how often. Its events name the source that they come from. One that stays silent for longer than it declared is
an alert; after the grace, at most once a day, it is a candidate finding about the department, until it reports again.
The law sets no grace. To register a source anew is no report: what it missed stays; without a cadence it is no longer
waited for.
"""

DAILY = 24


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
    )
    if cadence is None:
        return [registered, clear_timer("S1", on="source")]
    return [registered, set_timer("S1", on="source", due=hours(env, cadence))]


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
        write("source", missed=missed),
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
