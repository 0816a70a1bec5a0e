"""SC24 四川共享答复 · Reply in Sichuan. Sichuan data regulation Art. 24: the data authority replies in 5 working days.

Where the provider is of a jurisdiction whose own law gives the reply to the data authority, that authority owes it, and
the nation's clock of the reply stands aside (A3). An authority that cannot determine whether to share asks the provider,
which answers in 3; asking adds 5 to the term, once and before it has passed; a supplement starts the term anew, with what
asking added. When the authority has consented the provider supplies in 2, or refuses as the Decree allows; the Decree's
own clock of the delivery (A5) runs beside. A provider that replies by itself ends the procedure. Silence has no effect
but a candidate finding about whoever owes; while the applicant has not answered a notice of what is lacking, it is an
alert (the open point of A3).

提供单位所属地区的地方法规规定由数据管理机构答复的，由该机构承担答复义务，不再适用全国程序的答复期限（A3）。数据管理机
构无法确定是否共享的，征求提供单位意见，提供单位应当在3个工作日内反馈；征求意见的，答复期限延长5个工作日，限一次，且须
在期限届满前征求；申请部门补正的，期限重新起算，征求意见所延长的工作日一并计入。数据管理机构同意共享的，提供单位应当在
2个工作日内提供数据，或者依照条例的规定不同意共享；条例规定的提供期限（A5）同时计算。提供单位自行答复的，本程序终结。
逾期不作答复，除形成涉及义务单位的涉嫌违规的线索外，不产生其他效力；申请部门收到补正告知而尚未补正期间，仅予提醒（A3所
列开放点）。
"""


def on_share_apply(event, state, env):
    days = days_of(state, env)
    if days is None:
        return None
    place = state["obligor"]["attributes"]["jurisdiction"]
    authority = state["obligor"]["attributes"].get("authority")
    if authority is None:
        return alert("authority-unknown", place=place)
    return [
        write("application", decider=authority, place=place, clock=env.now),
        reply_duty(authority, working_days(env, days)),
    ]


def on_share_supplement(event, state, env):
    application = state["application"]
    days = days_of(state, env)
    if application.get("decider") is None or days is None:
        return None
    term = days
    if application["consulted"]:
        term = days + env.params["local.reply_extension_days"][application["place"]]
    return [write("application", clock=env.now), reply_duty(application["decider"], working_days(env, term))]


def on_share_consult(event, state, env):
    application = state["application"]
    if "authority" not in env.signer.roles:
        return refuse("not-authority")
    if application["consulted"]:
        return refuse("consulted-once")
    effects = [
        write("application", consulted=True),
        duty(
            "SC24.opinion",
            by=application["provider"],
            on="application",
            due=working_days(env, env.params["local.opinion_days"][application["place"]]),
            kinds=["share.opinion"],
        ),
    ]
    if application["status"] == "under_review":
        term = days_of(state, env) + env.params["local.reply_extension_days"][application["place"]]
        effects.append(reply_duty(event.member, working_days(env, term, since=application["clock"])))
    return effects


def on_share_opinion(event, state, env):
    if not state["application"]["consulted"]:
        return refuse("not-asked")
    if event.body["opinion"] == "withhold" and event.body.get("law") is None:
        return refuse("no-law")
    return write("application", opinion=event.body["opinion"])


def on_share_direct(event, state, env):
    application = state["application"]
    if "authority" not in env.signer.roles:
        return refuse("not-authority")
    answered = [write("application", directed=env.now), discharge("SC24.opinion", on="application")]
    if event.body["decision"] == "deny":
        if event.body.get("reason") is None:
            return refuse("no-reason")
        return answered + [move("application", "deny")]
    days = env.params["local.delivery_days"].get(application["place"], env.params["delivery_days"])
    return answered + [
        duty(
            "SC24.supply",
            by=application["provider"],
            on="application",
            due=working_days(env, days),
            kinds=["share.approve", "share.deny"],
        )
    ]


def on_share_approve(event, state, env):
    application = state["application"]
    if application.get("decider") is None:
        return None
    if application["directed"] == 0 or application["supply_late"]:
        return ended()
    days = env.params["local.delivery_days"].get(application["place"], env.params["delivery_days"])
    due = working_days(env, days, since=application["directed"])
    supply = duty("SC24.deliver", by=application["provider"], on="grant", due=due, kinds=["share.deliver"])
    return ended() + [supply]


def on_share_deny(event, state, env):
    if state["application"].get("decider") is not None:
        return ended()


def on_share_withdraw(event, state, env):
    if state["application"].get("decider") is not None:
        return ended() + [discharge("SC24.supply", on="application")]


def on_purpose_end(event, state, env):
    return discharge("SC24.deliver", on="grant")


def on_timer_SC24(timer, state, env):
    application = state["application"]
    late = finding("SC/69-1", about=application["decider"], on="application", what="reply")
    if application["status"] == "incomplete" and application["noticed"]:
        return alert("open-point", open=env.params["supplement_clock"]["open"])
    if application["status"] in ["under_review", "incomplete"]:
        return [write("application", late=env.now), move("application", "overdue"), late]


def on_timer_SC24_opinion(timer, state, env):
    return finding("SC/69-1", about=state["application"]["provider"], on="application", what="opinion")


def on_timer_SC24_supply(timer, state, env):
    return [
        write("application", supply_late=True, late=state["application"].get("late", env.now)),
        finding("SC/69-1", about=state["application"]["provider"], on="application", what="supply"),
    ]


def on_timer_SC24_deliver(timer, state, env):
    return finding("SC/69-1", about=state["grant"]["provider"], on="grant", what="delivery")


# None where the nation's procedure holds: the obligor's own entry decides, and the class of the data.
def days_of(state, env):
    if state["obligor"] is None:
        return None
    terms = env.params["local.reply_days"].get(state["obligor"]["attributes"].get("jurisdiction", ""), {})
    return terms.get(state["dataset"]["sharing"])


def reply_duty(authority, due):
    return duty("SC24", by=authority, on="application", due=due, kinds=["share.direct"])


def ended():
    return [discharge("SC24", on="application"), discharge("SC24.opinion", on="application")]
