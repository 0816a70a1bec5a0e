"""A4 答复有据 · Reasoned reply, no added conditions. Decree 809 Art. 14, 15, 20, 21, 25.

An approval is signed by the provider's office head, not by the key that applied, and adds no condition that the catalogue
does not list; it makes the grant, of no item, method or (conditional class) purpose but those of the entry as it stands.
Of an entry that is not to be shared nothing is granted before the catalogue says otherwise: only law puts it there
(Art. 14). A denial has a reason; one for lacking papers needs the notice first. A wider scope and a supply onward are
answered in the same way (Art. 25), and change what the grant allows; items are added at its end. The grant keeps the key
that applied and the key that approved: neither verifies a disposal later (C2).
"""

DAY = 86400000


def on_share_approve(event, state, env):
    application = state["application"]
    dataset = state["dataset"]
    if "office-head" not in env.signer.roles:
        return refuse("head-consent", role="office-head")
    if env.signer.key == application["applicant_key"]:
        return refuse("same-key")
    if application["lacking"]:
        return refuse("still-lacking", lacking=application["lacking"])
    added = [code for code in event.body.get("conditions", []) if code not in dataset["purposes"]]
    if added:
        return refuse("added-condition", conditions=added)
    if dataset["sharing"] == "refused":
        return refuse("not-to-share", law=dataset.get("legal_basis"))
    beyond = [item for item in application["items"] if item not in dataset["items"]]
    if dataset["sharing"] == "conditional" and application["purpose"] not in dataset["purposes"]:
        beyond.append(application["purpose"])
    if application["method"] not in dataset["methods"]:
        beyond.append(application["method"])
    if beyond:
        return refuse("beyond-catalogue", what=beyond[:4])
    return [
        write(
            "grant",
            dataset=event.refs["dataset"],
            provider=application["provider"],
            user=application["applicant"],
            purposes=[application["purpose"]],
            items=application["items"],
            method=application["method"],
            until=ms(application["until"]) + DAY,
            onward=event.body.get("onward", []),
            applicant_key=application["applicant_key"],
            approver_key=env.signer.key,
        ),
        write("dataset", grants=dataset["grants"] + 1),
    ]


def on_share_deny(event, state, env):
    application = state["application"]
    if event.body.get("reason") is None and event.body.get("explanation") is None:
        return refuse("no-reason")
    if state["dataset"]["sharing"] == "refused" and event.body.get("law") is None:
        return refuse("no-law")
    if application["lacking"] and not application["noticed"]:
        return refuse("notice-first", lacking=application["lacking"])
    if state["dataset"]["sharing"] == "unconditional":
        return alert("open-point", open=env.params["unconditional_refusal"]["open"])


def on_scope_reply(event, state, env):
    fault = signed_reply(event, state["scope"], env)
    if fault is not None or event.body["decision"] == "deny":
        return fault
    grant = state["grant"]
    scope = state["scope"]
    dataset = state["dataset"]
    if dataset["sharing"] == "refused":
        return refuse("not-to-share", law=dataset.get("legal_basis"))
    beyond = [item for item in scope["items"] if item not in dataset["items"]]
    if dataset["sharing"] == "conditional":
        beyond = beyond + [purpose for purpose in scope["purposes"] if purpose not in dataset["purposes"]]
    if beyond:
        return refuse("beyond-catalogue", what=beyond[:4])
    until = scope.get("until")
    return write(
        "grant",
        purposes=grant["purposes"] + [purpose for purpose in scope["purposes"] if purpose not in grant["purposes"]],
        items=grant["items"] + [item for item in scope["items"] if item not in grant["items"]],
        until=grant["until"] if until is None else ms(until) + DAY,
    )


def on_onward_reply(event, state, env):
    fault = signed_reply(event, state["onward"], env)
    if fault is not None or event.body["decision"] == "deny":
        return fault
    onward = state["grant"]["onward"]
    receiver = state["onward"]["receiver"]
    if receiver not in onward:
        return write("grant", onward=onward + [receiver])


def signed_reply(event, asked, env):
    if "office-head" not in env.signer.roles:
        return refuse("head-consent", role="office-head")
    if env.signer.key == asked["key"]:
        return refuse("same-key")
    if event.body["decision"] == "deny" and event.body.get("reason") is None:
        return refuse("no-reason")
