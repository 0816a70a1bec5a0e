"""B2 禁止转供 · No supply onward. Decree 809 Art. 25.

A copy goes to the user of the grant, to a third party that the provider consented to, or to a processor under a live
entrustment. A supply onward that happened is recorded irregular, and its copy comes into custody with an unlawful origin.
The user asks for that consent, with the purpose and the basis; the law sets no term for the reply.
"""

OPEN = ["agreed", "live", "provider_change"]


def on_share_deliver(event, state, env):
    grant = state["grant"]
    receiver = event.body["to"]
    source = state["copy"]
    held = state["entrustment"]
    entrusted = held is not None and held["status"] == "active" and receiver == held["processor"]
    if source is None:
        kept = write("new", source=None)
        if entrusted or receiver == grant["user"] or receiver in grant["onward"]:
            return kept
        return [kept, breach("D809/39-9", about=event.member, on="grant", what="receiver", to=receiver)]
    lawful = source.get("origin") != "unlawful" and (entrusted or receiver in grant["onward"])
    kept = write("new", source=event.refs["copy"])
    if lawful:
        return kept
    return [kept, breach("D809/40-3", about=event.member, on="copy", held=source["holder"], to=receiver)]


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
