"""B1 授权内使用 · Use inside the grant. Decree 809 Art. 25.

Purpose, items, method (where it is said) and time of an access lie inside the grant. An access that happened is recorded
whatever it was: outside the grant it is irregular, counts, and leaves a candidate finding. Its own time decides, from the
delivery to the end, but for a suspension until it is lifted: one of before that is recorded afterwards is inside, and an
alert, since that time is the user's word; one of the latest suspension is outside, whenever it is recorded. So it is with
a derivation and an analysis, under each of their grants. A record of use that names a purpose not granted is outside as
well. The finding is about the user, also where its processor was the one who used it (A10 finds about that). A wider
scope is asked for, and stands only when the provider consents: the law sets no term for the reply.

调用的用途、数据项、方式（载明的）和时间，应当在授权之内。已经发生的调用，无论情形如何均予记录：超出授权的，记为不合规，
计入次数，并形成涉嫌违规线索。以调用发生的时间为准，自提供数据时起，至授权终止时止，暂停期间除外：在此期间发生、授权终
止或者暂停后才记录的，属于授权之内，但予以提醒，因其时间仅凭数据需求部门声称；最近一次暂停期间发生的，无论何时记录，均
属越界。衍生数据和分析数据亦同，并按所属的各项授权逐一判断。使用记录所载用途未获授权的，同属越界。线索涉及使用的部门；
由受托方使用的，涉及其委托方（受托方另依A10形成线索）。扩大使用范围应当提出申请，经数据提供部门同意后方为有效：法律未
规定答复的期限。
"""

OPEN = ["agreed", "live", "provider_change"]


def on_use_access(event, state, env):
    grant = state["grant"]
    use = state["use"]
    outside = []
    if event.body["purpose"] not in grant["purposes"]:
        outside.append("purpose")
    if not all([item in grant["items"] for item in event.body["items"]]):
        outside.append("items")
    if event.body.get("method", grant["method"]) != grant["method"]:
        outside.append("method")
    if not ran_at(grant, event.time):
        outside.append("time")
    counted = write(
        "use",
        accesses=use["accesses"] + 1,
        records=use["records"] + event.body["count"],
        last=max(use["last"], event.time),
        outside=use["outside"] + (1 if outside else 0),
    )
    if outside:
        return [counted, breach("D809/40-2", about=grant["user"], on="grant", held=event.member, outside=outside)]
    if grant["status"] in OPEN:
        return counted
    return [counted, alert("recorded-after-end", status=grant["status"])]


# A record of use that says for what: a purpose that was not granted is no less outside for being on record.
def on_use_record(event, state, env):
    purpose = event.body.get("purpose")
    if purpose is not None and purpose not in state["grant"]["purposes"]:
        return breach("D809/40-2", about=event.member, on="grant", held=event.member, outside=["purpose"])


# Nothing runs before it is delivered, nor from the earliest end on: the time limit, that of an emergency, the day of an end
# that was filed, the end of the purpose; nor in the latest suspension.
def ran_at(grant, time):
    if time >= grant["until"] or time < grant.get("delivered", time if grant["status"] in OPEN else time + 1):
        return False
    emergency = grant.get("emergency_until")
    if emergency is not None and time >= emergency:
        return False
    filed = grant.get("change_at")
    if filed is not None and grant.get("change") == "end" and time >= filed:
        return False
    ended = grant.get("ended")
    if ended is not None and time >= ended:
        return False
    suspended = grant.get("suspended_at")
    if suspended is None or time < suspended:
        return True
    resumed = grant.get("resumed_at")
    return resumed is not None and time >= resumed


def on_use_derive(event, state, env):
    return inside_all(event, state)


def on_use_analyze(event, state, env):
    return inside_all(event, state)


def inside_all(event, state):
    held = state["entrustment"]
    about = event.member if held is None else held["principal"]
    effects = []
    for name, grant in state["grant"].items():
        outside = []
        if event.body["purpose"] not in grant["purposes"]:
            outside.append("purpose")
        if not ran_at(grant, event.time):
            outside.append("time")
        if outside:
            effects.append(breach("D809/40-2", about=about, on="grant", of=name, held=event.member, outside=outside))
        elif grant["status"] not in OPEN:
            effects.append(alert("recorded-after-end", status=grant["status"]))
    return effects


def on_scope_apply(event, state, env):
    body = event.body
    if "office-head" not in env.signer.roles:
        return refuse("head-consent", role="office-head")
    if state["grant"]["status"] not in OPEN:
        return refuse("grant-not-open", status=state["grant"]["status"])
    if body.get("purposes") is None and body.get("items") is None and body.get("until") is None:
        return refuse("nothing-asked")
    return [
        write(
            "scope",
            grant=event.refs["grant"],
            purposes=body.get("purposes", []),
            items=body.get("items", []),
            until=body.get("until"),
            key=env.signer.key,
        ),
        duty("B1", by=state["grant"]["provider"], on="scope", due=None, kinds=["scope.reply"]),
    ]


def on_scope_reply(event, state, env):
    if event.body["decision"] == "approve" and state["grant"]["status"] not in OPEN:
        return refuse("grant-not-open", status=state["grant"]["status"])
