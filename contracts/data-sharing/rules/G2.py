"""G2 个人信息泄露通知 · Breach notice. Personal Information Protection Law Art. 57; Network Data Security Regulation Art. 11.

When personal information is concerned, the authority is told, and so are the persons unless measures effectively avoid
the harm. A notice has three contents; without them it does not discharge. The law says "at once" and sets no number of
hours: under the strict reading slowness is an alert. Personal information that is found later is stated when the incident
is acted on: whoever was not told by then is owed the notice, counted from that statement; it is never taken back. An
incident closed while anybody who is owed the notice is untold leaves a candidate finding.

事件涉及个人信息的，应当通知主管部门，并通知个人；已采取措施有效避免危害的，可以不通知个人。通知应当包括三项内容；内容
不全的，通知义务不予解除。法律规定“立即”通知，未规定小时数：按从严理解，迟延的予以提醒。事后查明涉及个人信息的，在事件
处置中载明：此前尚未通知的，自载明时起负有通知义务并计算时间；载明后不得撤回。应当通知而未通知即结束事件处置的，形成涉
嫌违规的线索。
"""

CONTENTS = ["scope", "remedy", "contact"]


def on_incident_open(event, state, env):
    concerned = event.body["pi"] != "none"
    persons = concerned and not event.body.get("harm_avoided", False)
    kept = write("incident", pi=event.body["pi"], persons_due=persons, persons_told=False, authority_told=False)
    return [kept] + owed(event, concerned, persons, env)


def on_incident_act(event, state, env):
    incident = state["incident"]
    pi = event.body.get("pi")
    if pi is None:
        return None
    if incident["pi"] != "none":
        return write("incident", pi=pi)
    persons = not event.body.get("harm_avoided", False)
    kept = write("incident", pi=pi, persons_due=persons)
    return [kept] + owed(event, not incident["authority_told"], persons and not incident["persons_told"], env)


def on_incident_notify(event, state, env):
    missing = [name for name in CONTENTS if event.body.get(name) is None]
    if missing:
        return alert("notice-incomplete", missing=missing)
    if event.body["to"] == "authority":
        return [write("incident", authority_told=True), discharge("G2", on="incident", label="authority")]
    return [write("incident", persons_told=True), discharge("G2", on="incident", label="persons")]


def on_incident_close(event, state, env):
    untold = not_told(state)
    if untold:
        return breach("PIPL/57", about=event.member, on="incident", held=event.member, untold=untold)
    return clear_timer("G2.slow", on="incident")


def on_timer_G2_slow(timer, state, env):
    untold = not_told(state)
    if untold:
        return alert("breach-notice-slow", open=env.params["breach_notice_hours"]["open"], untold=untold)


def owed(event, authority, persons, env):
    effects = []
    if authority:
        effects.append(duty("G2", by=event.member, on="incident", due=None, label="authority"))
    if persons:
        effects.append(duty("G2", by=event.member, on="incident", due=None, label="persons"))
    if effects:
        due = hours(env, env.params["breach_notice_hours"]["strict"])
        effects.append(set_timer("G2.slow", on="incident", due=due))
    return effects


def not_told(state):
    incident = state["incident"]
    untold = []
    if incident["pi"] != "none" and not incident["authority_told"]:
        untold.append("authority")
    if incident["persons_due"] and not incident["persons_told"]:
        untold.append("persons")
    return untold
