"""A4 答复有据 · Reasoned reply, no added conditions. Decree 809 Art. 14, 15, 20, 21, 25.

An approval is signed by the provider's office head, not by the key that applied, and adds no condition that the catalogue
does not list; it makes the grant. A denial has a reason; one for lacking papers needs the notice first.
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
