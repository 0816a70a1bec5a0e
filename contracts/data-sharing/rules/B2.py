"""B2 禁止转供 · No supply onward. Decree 809 Art. 25.

A copy goes to the user of the grant, to a third party that the provider consented to, or to a processor under a live
entrustment. A supply onward that happened is recorded irregular, and its copy comes into custody with an unlawful origin.
So is what a provider supplies under no grant at all (Art. 21), but for unconditional data where the law of its place asks
for no application. A copy that was returned stands under no grant either; nobody consented to its supply onward.
Nobody supplies out of a copy that somebody else holds, but a processor for its principal.
The user asks for that consent, with the purpose and the basis; the law sets no term for the reply.

副本提供给授权的数据需求部门、经数据提供部门同意的第三方，或者委托有效期间的受托方。已经发生的转供，记为不合规，
所形成的副本纳入在管，其来源记为违规。数据提供部门没有任何授权而提供数据的，亦同（第二十一条），但无条件共享的数据，
其所在地法规规定无须申请的除外。回流的副本同样不属于任何授权，其转供未经任何一方同意。
除受托方代委托方提供外，任何部门不得以他人持有的副本对外提供。
数据需求部门应当载明用途和依据，申请取得上述同意；法律未规定答复的期限。
"""

IN_FORCE = ["published", "change_due", "change_overdue", "updated"]
OPEN = ["agreed", "live", "provider_change"]


def on_share_deliver(event, state, env):
    grant = state["grant"]
    receiver = event.body["to"]
    source = state["copy"]
    allowed = is_entrusted(event, state) or (grant is not None and receiver in grant["onward"])
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


# Under no grant somebody entrusts only its own: the provider, or the holder of a copy that was returned to it.
def is_entrusted(event, state):
    held = state["entrustment"]
    if held is None or held["status"] != "active" or event.body["to"] != held["processor"]:
        return False
    if state["grant"] is not None:
        return True
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
