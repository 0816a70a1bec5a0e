"""B6 使用记录 · Records of use. Decree 809 Art. 26, 29.

The user keeps records of scenario, process, effect, storage and destruction. One clock runs per grant, from the oldest use
that no record covers: no law sets its length, so slowness is an alert under the strict reading. Effect and storage are due
when the purpose ends, not after each access: what is still lacking by the lenient reading after that is a candidate finding.
Destruction is recorded by the disposal (C2). A grant under which nothing was accessed owes no record.

数据需求部门应当对使用场景、使用过程、应用成效、存储情况、销毁情况进行记录。每项授权只有一个计时，自最早未记录的使用
起算：期限长短法律未规定，按从严理解，迟延的，予以提醒。应用成效和存储情况应当在使用目的终止时记录齐全，无须每次调用
后逐次记录；目的终止后，至从宽理解所定的期限届满仍有欠缺的，形成涉嫌违规的线索。销毁情况由处置记录（C2）。授权之下未
发生调用的，无须使用记录。
"""

DAY = 86400000
BEIJING = 28800000
SLOTS = 31
OVER = ["expired", "purpose_ended", "terminated", "closed"]


def on_share_approve(event, state, env):
    if state["application"]["lacking"]:
        return None
    return set_timer("B6.end", on="grant", due=ms(state["application"]["until"]) + DAY)


def on_scope_reply(event, state, env):
    until = state["scope"].get("until")
    if event.body["decision"] == "approve" and until is not None:
        return set_timer("B6.end", on="grant", due=ms(until) + DAY)


def on_service_file(event, state, env):
    if state["grant"].get("change") == "end":
        ends = max(ms(state["grant"]["change_from"]), env.now)
        return set_timer("B6.end", on="grant", due=min(ends, state["grant"]["until"]))


def on_use_access(event, state, env):
    use = state["use"]
    if use["oldest"] > 0 or event.time < use["covered"]:
        return None
    kept = [write("use", oldest=event.time), lag(env)]
    grant = state["grant"]
    # Used in time and recorded after the end: it is owed as if it had been recorded before.
    if grant["status"] in OVER and event.time < grant.get("ended", grant["until"]) and not lacking(grant, use):
        return kept + closing(grant, env)
    return kept


def on_use_record(event, state, env):
    use = state["use"]
    covered = max(use["covered"], min(ms(event.body["covers"]), today(event.time)) + DAY)
    oldest = first_after(use, covered) if use["last"] >= covered else 0
    effects = state["grant"]["effects"] + (1 if event.body.get("effect") else 0)
    stored = use["stored"] + (1 if event.body.get("storage") else 0)
    return [
        write("use", recorded=use["recorded"] + 1, covered=covered, oldest=oldest, stored=stored),
        write("grant", effects=effects),
        lag(env) if oldest > 0 else clear_timer("B6.lag", on="grant"),
        discharge("B6", on="grant") if oldest == 0 and effects > 0 and stored > 0 else None,
    ]


def on_use_effect(event, state, env):
    return [
        write("grant", effects=state["grant"]["effects"] + 1),
        discharge("B6", on="grant") if state["use"]["oldest"] == 0 and state["use"]["stored"] > 0 else None,
    ]


def on_purpose_end(event, state, env):
    if state["grant"]["status"] in ["expired", "purpose_ended", "terminated", "closed"]:
        return None
    return [clear_timer("B6.end", on="grant")] + owed(state["grant"], state["use"], env)


def on_grant_terminate(event, state, env):
    if state["grant"]["status"] in ["expired", "purpose_ended", "closed"]:
        return None
    return [clear_timer("B6.end", on="grant")] + owed(state["grant"], state["use"], env)


def on_timer_B6_end(timer, state, env):
    return owed(state["grant"], state["use"], env)


def owed(grant, use, env):
    return closing(grant, env) if lacking(grant, use) else []


def closing(grant, env):
    days = env.params["use_closing_days"]
    return [
        duty("B6", by=grant["user"], on="grant", due=working_days(env, days["lenient"])),
        set_timer("B6.slow", on="grant", due=working_days(env, days["strict"])),
    ]


def on_timer_B6(timer, state, env):
    found = lacking(state["grant"], state["use"])
    if found:
        return finding("D809/40-5", about=state["grant"]["user"], on="grant", lacking=found)


def on_timer_B6_slow(timer, state, env):
    found = lacking(state["grant"], state["use"])
    if found:
        return alert("record-late", open=env.params["use_closing_days"]["open"], lacking=found)


def on_timer_B6_lag(timer, state, env):
    if state["use"]["oldest"] > 0:
        return alert("record-late", open=env.params["use_record_days"]["open"], lacking=["use"])


def lacking(grant, use):
    if use["accesses"] == 0:
        return []
    found = ["use"] if use["oldest"] > 0 else []
    found = found + (["effect"] if grant["effects"] == 0 else [])
    return found + (["storage"] if use["stored"] == 0 else [])


# The beginning of that day in Beijing: a record covers no use that is still to come.
def today(time):
    return day(time) * DAY - BEIJING


def lag(env):
    return set_timer("B6.lag", on="grant", due=working_days(env, env.params["use_record_days"]["strict"]))


# The first day, from `covered` on, on which something was read: from the ring of B3, which reaches back 31 days.
def first_after(use, covered):
    start = day(covered)
    for number in range(max(start, use["ring_day"] - SLOTS + 1), use["ring_day"] + 1):
        if use["ring"][number % SLOTS] > 0 or number == use["ring_day"]:
            return covered + (number - start) * DAY
    return covered
