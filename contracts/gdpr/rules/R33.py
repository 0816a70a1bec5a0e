"""R33 泄露通知时限 · Notification clock. GDPR Art. 33(1), 34(1).

Seventy-two hours run from becoming aware, by the clock. Where a risk is unlikely the breach is documented only, until it is
assessed otherwise. A later notification needs reasons. With a high risk the persons are told without undue delay, also before the
authority: no term and no order is set by law.

七十二小时自知悉之时起算，按自然时间连续计算。不大可能产生风险的泄露，仅作记录，直至评估结论改变。逾期通知须说明理
由。存在高风险的，应当告知数据主体，不得无故迟延，也可以先于监管机构告知：法律未规定期限，也未规定先后顺序。
"""


def on_breach_open(event, state, env):
    risk = event.body["risk"]
    # Nobody was aware later than when it was recorded as found.
    aware = min(ms(event.body["aware"]), event.time)
    effects = [write("incident", controller=event.member, risk=risk, aware=aware)]
    return effects + owed(risk, event.member, aware, env)


def on_breach_assess(event, state, env):
    incident = state["incident"]
    risk = event.body["risk"]
    effects = [write("incident", risk=risk)]
    if incident["risk"] == "unlikely" or (risk == "high" and incident["risk"] != "high"):
        known = incident.get("notified") is not None
        effects = effects + [
            each for each in owed(risk, incident["controller"], incident["aware"], env) if not known or risk == "high"
        ]
    return effects


def on_breach_notify(event, state, env):
    effects = [discharge("R33", on="incident")]
    if state["incident"].get("notified") is None:
        effects.append(write("incident", notified=event.time))
    late = event.time >= state["incident"]["aware"] + 3600000 * env.params["notification_hours"]
    if late and not event.body.get("delay"):
        effects.append(alert("late-without-reasons"))
    return effects


def on_breach_communicate(event, state, env):
    return discharge("R33.persons", on="incident")


def on_timer_R33(timer, state, env):
    if state["incident"].get("notified") is None:
        return finding("GDPR/33-1", about=state["incident"]["controller"], on="incident")


def owed(risk, controller, aware, env):
    effects = []
    if risk != "unlikely":
        due = hours(env, env.params["notification_hours"], since=aware)
        effects.append(duty("R33", by=controller, on="incident", due=due))
    if risk == "high":
        effects.append(duty("R33.persons", by=controller, on="incident", due=None))
    return effects
