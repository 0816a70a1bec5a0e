"""B2 禁止转供 · No supply onward. Decree 809 Art. 25.

A copy goes to the user of the grant, or to a third party that the provider consented to. A supply onward that happened is
recorded irregular, and its copy comes into custody with an unlawful origin.
"""


def on_share_deliver(event, state, env):
    grant = state["grant"]
    receiver = event.body["to"]
    source = state["copy"]
    if source is None:
        lawful = receiver == grant["user"]
        kept = write("new", source=None, origin_ok=lawful)
        if lawful:
            return kept
        return [kept, breach("D809/39-9", about=event.member, on="grant", what="receiver", to=receiver)]
    lawful = source["origin_ok"] and receiver in grant["onward"]
    kept = write("new", source=event.refs["copy"], origin_ok=lawful)
    if lawful:
        return kept
    return [kept, breach("D809/40-3", about=event.member, on="copy", held=source["holder"], to=receiver)]
