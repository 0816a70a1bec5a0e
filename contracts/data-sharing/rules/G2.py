"""G2 个人信息泄露通知 · Breach notice. Personal Information Protection Law Art. 57; Network Data Security Regulation Art. 11.

When personal information is concerned, the authority is told, and so are the persons unless measures effectively
avoid the harm. A notice has three contents; without them it does not discharge. The law says "at once" and sets no
number of hours: under the strict reading slowness is an alert. An incident closed with nobody told leaves a candidate
finding.

事件涉及个人信息的，应当通知主管部门，并通知个人；已采取措施有效避免危害的，可以不通知个人。通知应当包括三项内容；内
容不全的，通知义务不予解除。法律规定“立即”通知，未规定小时数：按从严理解，迟延的予以提醒。应当通知而未通知即结束事
件处置的，形成涉嫌违规的线索。
"""

CONTENTS = ["scope", "remedy", "contact"]


def on_incident_open(event, state, env):
    concerned = event.body["pi"] != "none"
    persons = concerned and not event.body.get("harm_avoided", False)
    kept = write("incident", pi=event.body["pi"], persons_due=persons, persons_told=False, authority_told=False)
    if not concerned:
        return kept
    due = hours(env, env.params["breach_notice_hours"]["strict"])
    effects = [
        kept,
        duty("G2", by=event.member, on="incident", due=None, label="authority"),
        set_timer("G2.slow", on="incident", due=due),
    ]
    if persons:
        effects.append(duty("G2", by=event.member, on="incident", due=None, label="persons"))
    return effects


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


def not_told(state):
    incident = state["incident"]
    untold = []
    if incident["pi"] != "none" and not incident["authority_told"]:
        untold.append("authority")
    if incident["persons_due"] and not incident["persons_told"]:
        untold.append("persons")
    return untold
