# examined: article-missing: the articles of both documents on notice, objection and term have not been read; see the docstring
"""F1 确权登记 · Rights register. 数据二十条; 发改数据规〔2025〕26号, 27号 (articles to be confirmed).

Nobody grants beyond the own right: not another kind, not more items, not longer. A right is open to objection from its
notice; an objection opens a dispute, and what is disputed is not granted on; one that is cleared before the notice has
ended leaves the right in its notice. The right to operate is granted from a registered right only. A statement with a
price names the right to operate and those that it was granted from: when one of them was revoked nothing is charged. A
new grant, and a release for operation (F4), look at the right that they name and not above it. The first
articles of both documents were read (what is registered, who authorises whom), not those on the notice and its length:
which articles these are is to be confirmed, the strict reading counts, and says so.

任何部门不得超出本权利授予权利：不得授予其他类型，不得增加数据项，不得延长期限。权利自公示时起可以提出异议；异议引起争
议，有争议的权利不得再行授予；公示期满前异议被排除的，权利继续公示。经营权只能由已登记的权利授予。收费的结算单应当列明
经营权以及其所源自的各级权利：其中任何一项已被撤销的，不得收费。再行授予和为授权运营而开放（F4）的，仅审查所列明的权利，
不审查其上级权利。两份文件的前几条（登记何种权利、由谁授权给谁）已经查阅，关于公示及其期限的条文尚未查阅：具体为哪些条
文，有待确认；期间按从严理解计算，并予载明。
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
        return closed(event, state["right"])


def on_dispute_decide(event, state, env):
    if state["right"] is not None and (event.body["final"] or state["dispute"]["status"] == "government"):
        return closed(event, state["right"])


def on_settle_statement(event, state, env):
    if event.body["price"] == 0:
        return None
    right = state["right"]
    if right is None or right["type"] != "operate" or right["holder"] != event.member:
        return refuse("not-operator")
    if right["status"] != "registered" or right["dataset"] != state["grant"]["dataset"]:
        return refuse("not-operator")
    # A right to operate stands under one to process, and that under one to hold: there is no fourth.
    if any([own is not None and own["status"] == "revoked" for own in [state["parent"], state["above"]]]):
        return refuse("right-annulled")


def on_timer_F1_notice(timer, state, env):
    return [move("right", "register"), write("right", notice_over=True)]


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


def closed(event, right):
    if event.body["result"] == "upheld":
        return move("right", "annul")
    return move("right", "clear") if right.get("notice_over", True) else move("right", "notice")
