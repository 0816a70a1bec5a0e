"""R17 删除权时限 · Erasure clock. GDPR Art. 12(3), 17(1), 17(3); R1182 Art. 3(4).

One month from receipt; once extended by two further months where that is told, with reasons, within the first. Erasing,
or refusing on a ground of Art. 17(3), ends the clock; silence is a candidate finding and changes nothing else.

期限为自收到请求之日起一个月；在首月内告知延长并说明理由的，可以延长一次，再加两个月。予以删除，或者依据第十七条第三
款所列理由拒绝的，期限终止；逾期不作处理的，形成涉嫌违规的线索，不产生其他变化。
"""


def on_erasure_receive(event, state, env):
    due = months(env, env.params["erasure_months"])
    return [
        write("demand", controller=event.member, received=env.now),
        duty("R17", by=event.member, on="demand", due=due, kinds=["erasure.done", "erasure.refuse"]),
    ]


def on_erasure_extend(event, state, env):
    demand = state["demand"]
    if not event.body.get("reasons"):
        return refuse("reasons-missing")
    if demand["extended"]:
        return refuse("extended-before")
    total = env.params["erasure_months"] + env.params["erasure_extension_months"]
    due = months(env, total, since=demand["received"])
    return [
        write("demand", extended=True),
        duty("R17", by=demand["controller"], on="demand", due=due, kinds=["erasure.done", "erasure.refuse"]),
    ]


def on_timer_R17(timer, state, env):
    if state["demand"]["status"] == "open":
        return [
            move("demand", "overdue"),
            finding("GDPR/12-3", about=state["demand"]["controller"], on="demand"),
        ]
