"""B2 禁止转供 · No supply onward. Decree 809 Art. 25.

A copy goes to the user of the grant, to a third party that the provider consented to, or to a processor under a live
entrustment of that grant. What stands under several grants goes where each of them allows it, and nothing is supplied out
of a copy under a grant that has ended or is suspended by then; a provider's own late delivery is not meant. A supply
onward that happened is recorded irregular, and its copy comes into custody with an unlawful origin. So is what a provider
supplies under no grant at all (Art. 21), but for unconditional data where the law of its place asks for no application. A
copy that was returned stands under no grant either; nobody consented to its supply onward. Nobody supplies out of a copy
that somebody else holds, but a processor for its principal. The user asks for that consent, with the purpose and the
basis; the law sets no term for the reply.

副本提供给授权的数据需求部门、经数据提供部门同意的第三方，或者依该授权委托且委托有效期间的受托方。副本属于多项授权的，
须每一项授权均允许；提供之时授权已经终止或者处于暂停期间的，不得以副本对外提供，但不涉及数据提供部门自行迟延提供的情
形。已经发生的转供，记为不合规，所形成的副本纳入在管，其来源记为违规。数据提供部门没有任何授权而提供数据的，亦同（第
二十一条），但无条件共享的数据，其所在地法规规定无须申请的除外。回流的副本同样不属于任何授权，其转供未经任何一方同意。
除受托方代委托方提供外，任何部门不得以他人持有的副本对外提供。数据需求部门应当载明用途和依据，申请取得上述同意；法律
未规定答复的期限。
"""

IN_FORCE = ["published", "change_due", "change_overdue", "updated"]
OPEN = ["agreed", "live", "provider_change"]


def on_share_deliver(event, state, env):
    grant = state["grant"]
    receiver = event.body["to"]
    source = state["copy"]
    allowed = is_allowed(event, state)
    if source is not None:
        kept = write("new", source=event.refs["copy"])
        if allowed and is_holders(event, state) and source.get("origin") != "unlawful":
            return kept
        return [kept, breach("D809/40-3", about=event.member, on="copy", held=source["holder"], to=receiver)]
    kept = write("new", source=None)
    if grant is None:
        if allowed or is_unapplied(state, env):
            return kept
        return [kept, breach("D809/39-9", about=event.member, on="dataset", what="no-grant", to=receiver)]
    if allowed or receiver == grant["user"]:
        return kept
    return [kept, breach("D809/39-9", about=event.member, on="grant", what="receiver", to=receiver)]


# Nobody supplies out of what somebody else holds, but a processor for its principal.
def is_holders(event, state):
    held = state["entrustment"]
    holder = state["copy"]["holder"]
    return event.member == holder or (held is not None and held["principal"] == holder)


# Every grant that the data stands under allows the receiver.
def is_allowed(event, state):
    grants = {name: root for name, root in state["root"].items() if state["copy"] is not None}
    if state["grant"] is not None:
        grants[event.refs["grant"]] = state["grant"]
    if not grants:
        return is_entrusted(event, state) and is_own(event, state)
    return all([allows(name, grants[name], event, state) for name in grants])


# A provider's own delivery, late as it may be, is taken from no copy: it is no supply onward under what is over.
def allows(name, grant, event, state):
    if state["copy"] is not None and is_over(grant, event.time):
        return False
    if event.body["to"] in grant["onward"]:
        return True
    return is_entrusted(event, state) and is_under(state["entrustment"], name, grant)


# By the earliest end or in a suspension, as B1 has it.
def is_over(grant, time):
    ends = [grant["until"], grant.get("emergency_until"), grant.get("ended")]
    if grant.get("change") == "end":
        ends.append(grant.get("change_at"))
    if any([end is not None and time >= end for end in ends]):
        return True
    suspended = grant.get("suspended_at")
    resumed = grant.get("resumed_at")
    return suspended is not None and suspended <= time and (resumed is None or time < resumed)


def is_entrusted(event, state):
    held = state["entrustment"]
    return held is not None and held["status"] == "active" and event.body["to"] == held["processor"]


# Entrusted under this very grant, or by the provider as its own.
def is_under(held, name, grant):
    return held["grant"] == name or (held["grant"] is None and held["principal"] == grant["provider"])


# Under no grant somebody entrusts only its own: the provider, or the holder of a copy that was returned to it.
def is_own(event, state):
    held = state["entrustment"]
    own = state["dataset"] if state["copy"] is None else state["copy"]
    if held["principal"] == own.get("holder") and own.get("entrustment") is not None:
        # What is held for somebody is no holder's own: it is passed on only by that one's consent (A10).
        return own["entrustment"] in [event.refs["entrustment"], held.get("parent")]
    return held["grant"] is None and held["principal"] in [own["provider"], own.get("holder")]


def is_unapplied(state, env):
    # The law of the provider's place decides, as in SC24.
    if state["obligor"] is None or state["dataset"]["sharing"] != "unconditional":
        return False
    if state["dataset"]["status"] not in IN_FORCE:
        return False
    return state["obligor"]["attributes"].get("jurisdiction", "") in env.params["local.unapplied"]


def on_onward_apply(event, state, env):
    grant = state["grant"]
    if "office-head" not in env.signer.roles:
        return refuse("head-consent", role="office-head")
    if grant["status"] not in OPEN:
        return refuse("grant-not-open", status=grant["status"])
    if event.body["purpose"] not in grant["purposes"]:
        return refuse("other-purpose", purpose=event.body["purpose"])
    return [
        write("onward", grant=event.refs["grant"], receiver=event.body["receiver"], key=env.signer.key),
        duty("B2", by=grant["provider"], on="onward", due=None, kinds=["onward.reply"]),
    ]


def on_onward_reply(event, state, env):
    if event.body["decision"] == "approve" and state["grant"]["status"] not in OPEN:
        return refuse("grant-not-open", status=state["grant"]["status"])
