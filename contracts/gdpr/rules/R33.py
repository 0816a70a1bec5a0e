"""R33 泄露通知时限 · Notification clock. GDPR Art. 33(1), 34(1).

Seventy-two hours run from becoming aware, by the clock. Where a risk is unlikely, also by a later assessment, the breach is
documented only, until it is assessed otherwise. A first notification after the term needs reasons; more may follow in phases. With a high risk the persons are told without undue delay, also before the
authority: no term and no order is set by law. Once the authority is notified the clock does not run again; a risk raised to
high after that owes the persons only, also where they were told before the rise. The law knows no closing: it is the
controller's own mark, ends nothing that is owed and stops no clock, and a closed breach may still be notified, communicated
and assessed anew.

七十二小时自知悉之时起算，按自然时间连续计算。不大可能产生风险的泄露（包括其后作此评估的），仅作记录，直至评估
结论改变。首次通知逾期的，须说明理由；其余信息可以分阶段提供。存在高风险的，应当告知数据主体，不得无故迟延，也可以先于监管机构告知：法律未规定期限，也未规定先后顺序。已经通知
监管机构的，不再重新计时；其后风险升为高风险的，只须告知数据主体，此前已经告知过的，亦须再次告知。法律未规定了
结：了结仅为控制者自己的标记，不免除任何义务，也不停止计时；已了结的泄露，仍可以通知、告知和重新评估。
"""


def on_breach_open(event, state, env):
    risk = event.body["risk"]
    # Nobody was aware later than when it was recorded as found.
    aware = min(ms(event.body["aware"]), event.time)
    effects = [write("incident", controller=event.member, risk=risk, aware=aware)]
    if risk != "unlikely":
        effects.append(clock(event.member, aware, env))
    if risk == "high":
        effects.append(persons(event.member))
    return effects


def on_breach_assess(event, state, env):
    incident = state["incident"]
    risk = event.body["risk"]
    effects = [write("incident", risk=risk)]
    if risk == "unlikely":
        effects.append(discharge("R33", on="incident"))
    # From another risk than an unlikely one the clock runs already.
    if incident["risk"] == "unlikely" and risk != "unlikely" and incident.get("notified") is None:
        effects.append(clock(incident["controller"], incident["aware"], env))
    if incident["risk"] != "high" and risk == "high":
        effects.append(persons(incident["controller"]))
    return effects


def on_breach_notify(event, state, env):
    effects = [discharge("R33", on="incident")]
    if state["incident"].get("notified") is not None:
        return effects  # what follows the first may be given in phases (Art. 33(4))
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


def clock(controller, aware, env):
    due = hours(env, env.params["notification_hours"], since=aware)
    return duty("R33", by=controller, on="incident", due=due)


def persons(controller):
    return duty("R33.persons", by=controller, on="incident", due=None)
