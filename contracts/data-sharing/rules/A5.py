"""A5 提供时限 · Delivery clock. Decree 809 Art. 22: 20 working days after consent.

Delivery by the provider stops the clock; the receipt is the receiver's duty, and a slow receiver never makes the
provider late. The law sets no term for the receipt; a receiver that contests what came says so in it. Nothing is owed
to a user whose purpose has ended.
"""


def on_share_approve(event, state, env):
    due = working_days(env, env.params["delivery_days"])
    return duty("A5", by=state["application"]["provider"], on="grant", due=due, kinds=["share.deliver"])


def on_share_deliver(event, state, env):
    return duty("A5.receipt", by=event.body["to"], on="new", due=None, kinds=["share.receive"])


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
