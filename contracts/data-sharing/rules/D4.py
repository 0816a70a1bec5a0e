"""D4 更新及时 · Freshness. Decree 809 Art. 13, 19: data is updated as often as its catalogue entry says.

A period without an update makes the entry stale, which is an alert. A department that provides an item of which another
is the lead source (数源部门) helps that source update: one period is grace, and from the second in a row on each that passes
without an update is a candidate finding about it. Who leads is read when the entry is published or collected for. The law
sets no grace. Entries that are updated irregularly have no clock.

数据应当按照目录条目载明的更新频率更新（第十三条、第十九条）。一个更新周期内未更新的，目录条目为未按频率更新，予以告警。
部门所提供的数据项另有数源部门的，应当配合该数源部门更新数据：以一个周期为宽限，自连续第二个未更新的周期起，每有一个周
期届满仍未更新，形成涉及该部门的涉嫌违规的线索。何部门为数源部门，以目录条目发布时或者为其收集数据时的记录为准。宽限期
法律未规定。不定期更新的目录条目，不计算周期。
"""


def on_catalog_publish(event, state, env):
    dataset = state["dataset"]
    updated = dataset["status"] == "updated"
    frequency = state["revision"]["frequency"] if updated else dataset["frequency"]
    others = elsewhere(event, state, dataset["provider"])
    led = write("dataset", lead=others[0] if others else None)
    if updated and frequency == dataset["frequency"]:
        return led
    return [led, write("dataset", missed=0), armed(frequency, env, env.now)]


def on_collect_done(event, state, env):
    others = elsewhere(event, state, state["dataset"]["provider"])
    if others:
        return write("dataset", lead=others[0])


def on_data_update(event, state, env):
    dataset = state["dataset"]
    seen = write("dataset", updated=max(dataset["updated"], event.time), missed=0)
    if dataset["status"] in ["draft", "submitted", "returned", "withdrawn"]:
        return seen
    return [seen, armed(dataset["frequency"], env, env.now)]


def on_catalog_withdraw(event, state, env):
    return clear_timer("D4", on="dataset")


def on_timer_D4(timer, state, env):
    dataset = state["dataset"]
    missed = dataset["missed"] + 1
    grace = env.params["freshness_grace"]
    effects = [write("dataset", missed=missed)]
    if missed == 1 + grace["strict"]:
        effects.append(alert("stale", frequency=dataset["frequency"], open=grace["open"]))
    if dataset.get("lead") is None:
        return effects
    if missed > grace["lenient"]:
        effects.append(finding("D809/39-3", about=dataset["provider"], on="dataset", periods=missed))
    # The next period follows on the one that has just ended.
    return effects + [armed(dataset["frequency"], env, env.now - 1)]


def elsewhere(event, state, provider):
    leads = [state["item"][name].get("lead") for name in event.refs.get("item", [])]
    return [lead for lead in leads if lead is not None and lead != provider]


def armed(frequency, env, since):
    periods = env.params["update_months"]
    if frequency in periods:
        return set_timer("D4", on="dataset", due=months(env, periods[frequency], since=since))
    periods = env.params["update_periods"]
    if frequency in periods:
        return set_timer("D4", on="dataset", due=natural_days(env, periods[frequency], since=since))
    return clear_timer("D4", on="dataset")
