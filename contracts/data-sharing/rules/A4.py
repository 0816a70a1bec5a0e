"""A4 答复有据 · Reasoned reply, no added conditions. Decree 809 Art. 14, 15, 20, 21, 25.

An approval is signed by the provider's office head, not by the key that applied, and adds no condition that the catalogue
does not list; it makes the grant, of no item, method or (conditional class) purpose but those of the entry as it stands.
Of an entry that is not to be shared nothing is granted before the catalogue says otherwise: only law puts it there (Art.
14). A denial is signed by the office head too, and has a reason; while papers are lacking it needs the notice first, and
on an entry that is not to be shared it names the law. A wider scope and a supply onward are answered in the same way
(Art. 25), and change what the grant allows; items are added at its end. The grant keeps the key that applied and the key
that approved: neither verifies a disposal later (C2).

同意共享由数据提供部门的共享工作机构负责人签名，不得使用提出该共享申请的密钥，不得附加目录未列明的条件；同意即形成授权，
授权的数据项、共享方式和用途（有条件共享的）不得超出目录条目的现行内容。对不予共享的目录条目，在目录变更之前不得授权：
列为不予共享，只能依据法律规定（第十四条）。不同意共享同样由负责人签名，并说明理由；材料尚有欠缺时不同意的，应当先一次
性告知补正；对不予共享的条目不同意的，应当载明法律依据。扩大使用范围和向第三方提供的申请，以同样方式答复（第二十五条），
并据以变更授权的内容；增加的数据项列于原有数据项之后。授权保存申请密钥和同意密钥：二者此后均不得用于处置核验（C2）。
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
    if "office-head" not in env.signer.roles:
        return refuse("head-consent", role="office-head")
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
