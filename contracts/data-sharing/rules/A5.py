"""A5 提供时限 · Delivery clock. Decree 809 Art. 22: 20 working days after consent.

Delivery, by the provider or its processor, to the user, or to whom the user has entrusted with its processing under this
grant, stops the clock and opens the grant; a copy that goes to anybody else does neither. By another method than granted
it is an alert. The receipt is the receiver's duty, and a slow receiver never makes the provider late. The law sets no
term for the receipt; a receiver that contests what came says so in it. Nothing is owed to a user whose purpose has ended.

数据提供部门或者其受托方向数据需求部门提供数据，或者向数据需求部门就本授权委托处理的受托方提供数据的，提供期限停止计算，
授权开始执行；向其他任何一方提供副本的，均不产生上述效力。提供方式与授权方式不一致的，予以提醒。接收确认是接收部门的义
务，接收迟延不使数据提供部门逾期。法律未规定接收确认的期限；接收部门对收到的数据有异议的，在接收确认中载明。数据需求部
门的使用目的已经终止的，数据提供部门不再负有提供义务。
"""


def on_share_approve(event, state, env):
    due = working_days(env, env.params["delivery_days"])
    return duty("A5", by=state["application"]["provider"], on="grant", due=due)


def on_share_deliver(event, state, env):
    effects = [duty("A5.receipt", by=event.body["to"], on="new", due=None, kinds=["share.receive"])]
    grant = state["grant"]
    if grant is None or state["copy"] is not None or not reaches_user(event, grant, state["entrustment"]):
        return effects
    effects.append(discharge("A5", on="grant"))
    effects.append(write("grant", delivered=min(event.time, grant.get("delivered", event.time))))
    if grant["status"] == "agreed":
        effects.append(move("grant", "live"))
    if event.body["method"] != grant["method"]:
        effects.append(alert("other-method", given=event.body["method"], granted=grant["method"]))
    return effects


def reaches_user(event, grant, held):
    if event.body["to"] == grant["user"]:
        return True
    if held is None or held["status"] != "active" or held["grant"] != event.refs["grant"]:
        return False
    return held["principal"] == grant["user"] and held["processor"] == event.body["to"]


def on_share_receive(event, state, env):
    if event.body.get("contested") is not None:
        return [move("copy", "contest"), alert("delivery-contested", by=event.member)]


def on_purpose_end(event, state, env):
    return discharge("A5", on="grant")


def on_timer_A5(timer, state, env):
    if state["grant"]["status"] == "agreed":
        return [
            write("grant", late=True),
            finding("D809/39-4", about=state["grant"]["provider"], on="grant", what="delivery"),
        ]
