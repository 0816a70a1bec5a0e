"""B1 授权内使用 · Use inside the grant. Decree 809 Art. 25.

Purpose, items and time of an access lie inside the live grant. An access that happened is recorded whatever it was: outside
the grant it is irregular, counts, and leaves a candidate finding. So does a derivation for a purpose that one of its grants
does not name. A wider scope is asked for, and stands only when the provider consents: the law sets no term for the reply.
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
    if event.time >= grant["until"]:
        outside.append("time")
    counted = write(
        "use",
        accesses=use["accesses"] + 1,
        records=use["records"] + event.body["count"],
        last=max(use["last"], event.time),
        outside=use["outside"] + (1 if outside else 0),
    )
    if not outside:
        return counted
    return [counted, breach("D809/40-2", about=event.member, on="grant", held=event.member, outside=outside)]


def on_use_derive(event, state, env):
    return purpose_of_all(event, state)


def on_use_analyze(event, state, env):
    return purpose_of_all(event, state)


def purpose_of_all(event, state):
    purpose = event.body["purpose"]
    others = [name for name, grant in state["grant"].items() if purpose not in grant["purposes"]]
    return [
        breach("D809/40-2", about=event.member, on="grant", of=name, held=event.member, outside=["purpose"])
        for name in others
    ]


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
