"""G1 事件报告时限 · Incident clock by kind of operator. 国家网络安全事件报告管理办法 Art. 4; Decree 809 Art. 35.

An incident graded larger or above is reported within hours of its discovery: critical infrastructure 1, central
organs 2, others 4; a department of several kinds has the shortest. The first receiver passes it on. Hours run by the
clock, and a term already past when the incident is recorded is past at once. Before the Measures the law said "at
once", set no number, and asked for no passing on. A report counts when somebody else receives it who is there to
receive it: an authority, a regulator or a government; told to anybody else it is recorded, and still owed. The term
of the summary has not been verified: under the strict reading lateness is an alert, and no finding rests on it.

较大以上等级的事件，应当自发现之时起在规定的小时数内报告：关键信息基础设施1小时，中央和国家机关2小时，其他4小时；一
个部门兼有多种类型的，适用其中最短的时限。首个接报单位应当续报。小时数按自然时间连续计算；记录事件时时限已过的，即为
逾期。办法施行前，法律仅规定“立即”报告，未规定小时数，也未要求续报。报告由事发部门以外负有接报职责的机关接收的，方
为有效，即主管部门、监管部门或者人民政府；向其他任何单位报告的，予以记录，仍须报告。事件总结报告的期限尚未核实：按从
严解释，逾期的予以提醒，不据此形成线索。
"""

MINUTE = 60000
RECEIVERS = ["authority", "regulator", "government"]


def on_incident_open(event, state, env):
    required = event.body["grade"] != "general"
    found = min(ms(event.body["found"]), event.time)
    effects = [
        write("incident", owner=event.member, grade=event.body["grade"], found=found, required=required, reported=None)
    ]
    if event.body.get("measure") is None:
        effects.append(duty("G1.act", by=event.member, on="incident", due=None, kinds=["incident.act"]))
        term = hours(env, env.params["incident_measure_hours"]["strict"], since=found)
        effects.append(set_timer("G1.slow", on="incident", due=term))
    if required:
        return effects + clock(event, state, env, found)
    return effects


def on_incident_act(event, state, env):
    incident = state["incident"]
    grade = event.body.get("grade", incident["grade"])
    kept = [clear_timer("G1.slow", on="incident")]
    if grade == "general" or incident["required"]:
        return kept + [write("incident", grade=grade)]
    # A report of the lower grade does not stand for the one that is owed now.
    return kept + [write("incident", grade=grade, required=True, reported=None)] + clock(event, state, env, event.time)


def on_incident_report(event, state, env):
    incident = state["incident"]
    to = event.body["to"]
    known = state["to"] is not None and any([role in RECEIVERS for role in state["to"]["roles"]])
    if not known or to in [event.member, incident["owner"]]:
        return alert("receiver-unknown", to=to)
    if event.member != incident["owner"]:
        return discharge("G1.onward", on="incident")
    if incident["reported"] is not None:
        return None
    told = [write("incident", reported=event.time, receiver=to), discharge("G1", on="incident")]
    if incident["status"] in ["open", "acting"]:
        told.append(move("incident", "reported"))
    limits = env.params["incident_onward_minutes"]
    if incident["required"] and "open" not in limits:
        due = env.now + shortest(state, limits) * MINUTE
        told.append(duty("G1.onward", by=to, on="incident", due=due))
    return told


def on_incident_close(event, state, env):
    if state["incident"]["required"]:
        strict = env.params["incident_summary_days"]["strict"]
        return [
            duty("G1.summary", by=event.member, on="incident", due=None, kinds=["incident.summary"]),
            set_timer("G1.wait", on="incident", due=natural_days(env, strict)),
        ]


def on_incident_summary(event, state, env):
    return clear_timer("G1.wait", on="incident")


def on_timer_G1(timer, state, env):
    incident = state["incident"]
    if incident["reported"] is None:
        late = finding("NCIR/4", about=incident["owner"], on="incident", what="report")
        return [late, alert("incident-unreported", grade=incident["grade"])]


def on_timer_G1_onward(timer, state, env):
    late = finding("NCIR/4", about=state["incident"]["receiver"], on="incident", what="onward")
    return [late, alert("incident-unreported", grade=state["incident"]["grade"])]


def on_timer_G1_slow(timer, state, env):
    if state["incident"]["status"] == "open":
        return alert("incident-unhandled", open=env.params["incident_measure_hours"]["open"])


def on_timer_G1_wait(timer, state, env):
    return alert("summary-late", open=env.params["incident_summary_days"]["open"])


def clock(event, state, env, since):
    limits = env.params["incident_hours"]
    if "open" in limits:
        at_once = duty("G1", by=event.member, on="incident", due=None)
        return [at_once, alert("open-point", open=limits["open"])]
    due = hours(env, shortest(state, limits), since=since)
    return [duty("G1", by=event.member, on="incident", due=due)]


def shortest(state, limits):
    member = state["self"]
    kinds = [] if member is None else member["attributes"].get("operator", [])
    return min([limits["other"]] + [limits[kind] for kind in kinds if kind in limits])
