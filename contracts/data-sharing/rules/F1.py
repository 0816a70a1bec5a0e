# examined: article-missing: the articles of both documents on notice, objection and term have not been read; see the docstring
"""F1 确权登记 · Rights register. 数据二十条; 发改数据规〔2025〕26号, 27号 (articles to be confirmed).

Nobody grants beyond the own right: not another kind, not more items, not longer. A right is open to objection from its
notice; an objection opens a dispute, and what is disputed is not granted on. The right to operate is granted from a
registered right only. The first articles of both documents were read (what is registered, who authorises whom), not those
on the notice and its length: which articles these are is to be confirmed, the strict reading counts, and says so.

任何部门不得超出本权利授予权利：不得授予其他类型，不得增加数据项，不得延长期限。权利自公示时起可以提出异议；异议引起
争议，有争议的权利不得再行授予。经营权只能由已登记的权利授予。两份文件的前几条（登记何种权利、由谁授权给谁）已经查
阅，关于公示及其期限的条文尚未查阅：具体为哪些条文，有待确认；期间按从严理解计算，并予载明。
"""

DAY = 86400000
BELOW = {"hold": ["process", "operate"], "process": ["operate"], "operate": []}


def on_right_register(event, state, env):
    if "dept-head" not in env.signer.roles:
        return refuse("head-consent", role="dept-head")
    dataset = state["dataset"]
    if dataset["status"] != "published":
        return refuse("not-published", status=dataset["status"])
    beyond = [item for item in event.body["items"] if item not in dataset["items"]]
    if beyond:
        return refuse("right-scope", beyond=beyond)
    until = event.body.get("until")
    effects = [kept(event, end_of(until), event.member, None, None), notice(env), open_point(env)]
    if until is not None:
        effects.append(set_timer("F1.end", on="right", due=end_of(until)))
    return effects


def on_right_grant(event, state, env):
    own = state["parent"]
    until = end_of(event.body["until"])
    if own["status"] != "registered":
        return refuse("right-unregistered", status=own["status"])
    if event.body["type"] not in BELOW[own["type"]]:
        return refuse("right-kind", own=own["type"], granted=event.body["type"])
    beyond = [item for item in event.body["items"] if item not in own["items"]]
    if beyond:
        return refuse("right-scope", beyond=beyond)
    if until <= env.now or (own["until"] is not None and until > own["until"]):
        return refuse("right-term")
    if event.body["to"] == event.member:
        return refuse("right-self")
    return [
        kept(event, until, event.body["to"], event.member, event.refs["parent"]),
        write("parent", grants=own["grants"] + 1),
        notice(env),
        set_timer("F1.lapse", on="right", due=until),
        open_point(env),
    ]


def on_right_object(event, state, env):
    right = state["right"]
    if right["holder"] != event.body["respondent"] or right["holder"] == event.member:
        return refuse("wrong-parties")
    return write("right", objections=right["objections"] + 1)


def on_right_revoke(event, state, env):
    right = state["right"]
    parent = state["parent"]
    if event.member not in [right["grantor"], right["holder"]] and "authority" not in env.signer.roles:
        return refuse("not-authority")
    if right["grants"] > 0:
        return refuse("right-granted-on", grants=right["grants"])
    if parent is None:
        return clear_timer("F1.end", on="right")
    return [write("parent", grants=parent["grants"] - 1), clear_timer("F1.lapse", on="right")]


def on_dispute_negotiate(event, state, env):
    if state["right"] is not None and agreed(event, state):
        return closed(event)


def on_dispute_decide(event, state, env):
    if state["right"] is not None and (event.body["final"] or state["dispute"]["status"] == "government"):
        return closed(event)


def on_settle_statement(event, state, env):
    if event.body["price"] == 0:
        return None
    right = state["right"]
    if right is None or right["type"] != "operate" or right["holder"] != event.member:
        return refuse("not-operator")
    if right["status"] != "registered" or right["dataset"] != state["grant"]["dataset"]:
        return refuse("not-operator")


def on_timer_F1_notice(timer, state, env):
    return move("right", "register")


def on_timer_F1_end(timer, state, env):
    return move("right", "expire")


def on_timer_F1_lapse(timer, state, env):
    return [move("right", "expire"), write("parent", grants=state["parent"]["grants"] - 1)]


def kept(event, until, holder, grantor, parent):
    return write(
        "right",
        dataset=event.refs["dataset"],
        type=event.body["type"],
        holder=holder,
        grantor=grantor,
        parent=parent,
        items=event.body["items"],
        until=until,
    )


def notice(env):
    return set_timer("F1.notice", on="right", due=working_days(env, env.params["objection_days"]["strict"]))


def open_point(env):
    return alert("open-point", open=env.params["objection_days"]["open"])


def end_of(date):
    return None if date is None else ms(date) + DAY


def agreed(event, state):
    dispute = state["dispute"]
    other = dispute.get("agreed") is not None and dispute["agreed"] != event.member
    return other and event.body["result"] != "failed" and dispute["terms"] == event.body["result"]


def closed(event):
    return move("right", "annul") if event.body["result"] == "upheld" else move("right", "clear")
