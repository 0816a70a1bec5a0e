"""A8 个人信息处理 · Personal-information gate. PIPL Art. 13, 23, 25, 29, 31, 55, 56; Decree 809 Art. 37.

Who applies for personal information names its legal basis. Consent must be separate (Art. 23, 29) and, for children
under 14, a guardian's (Art. 31); a statutory duty needs none (Art. 13). Before sensitive information is used, and
before any is supplied, entrusted or opened, an impact assessment of that data is made by who does so, it has not
failed, and it is still valid (Art. 55). Whether a guardian must consent where another basis than consent is relied on
is not settled: under the strict reading that is an alert.

申请共享个人信息的，应当说明处理个人信息的合法性基础。基于同意的，应当取得单独同意（《个人信息保护法》第二十三条、
第二十九条）；涉及不满十四周岁未成年人的，应当取得其父母或者其他监护人的同意（第三十一条）；
为履行法定职责或者法定义务所必需的，不需取得同意（第十三条）。使用敏感个人信息前，
以及提供、委托处理或者开放任何个人信息前，由实施该行为的部门对该数据进行个人信息保护影响评估，评估结论不得为未通过，
且应当在有效期内（第五十五条）。以同意以外的合法性基础处理的，是否应当取得监护人同意，法律未明确：按从严理解，
予以提醒。
"""

DAY = 86400000
PERSONAL = ["pi", "sensitive"]


def on_assess_record(event, state, env):
    return write(
        "assessment",
        type=event.body["type"],
        result=event.body["result"],
        member=event.member,
        official="authority" in env.signer.roles or "regulator" in env.signer.roles,
        dataset=event.refs.get("dataset"),
        until=ms(event.body["until"]) + DAY,
    )


def on_catalog_draft(event, state, env):
    return write("dataset", pi=event.body.get("pi"), minors=event.body.get("minors", False))


def on_catalog_update(event, state, env):
    return write("revision", pi=event.body.get("pi"), minors=event.body.get("minors", False))


def on_catalog_publish(event, state, env):
    revision = state["revision"]
    if state["dataset"]["status"] == "updated" and revision.get("pi") is not None:
        return write("dataset", pi=revision["pi"], minors=revision["minors"])


def on_catalog_submit(event, state, env):
    if state["dataset"].get("pi") is None:
        return alert("pi-unstated")


def on_share_apply(event, state, env):
    entry = state["dataset"]
    filed = write("application", pi_basis=event.body.get("pi_basis"))
    if entry.get("pi") not in PERSONAL:
        return filed
    if entry["pi"] == "sensitive" and not is_assessed(event, state, event.member, env.now):
        return refuse("pi-no-assessment")
    return [filed, consent_gate(event, entry, env)]


def on_open_publish(event, state, env):
    entry = state["dataset"]
    if entry.get("pi") not in PERSONAL or event.body["class"] == "none":
        return None
    if not is_assessed(event, state, event.member, env.now):
        return refuse("pi-no-assessment")
    return consent_gate(event, entry, env)


def on_open_release(event, state, env):
    if state["dataset"].get("pi") in PERSONAL and not is_assessed(event, state, event.member, event.time):
        return breach("PIPL/55", about=event.member, on="dataset")


def consent_gate(event, entry, env):
    basis = event.body.get("pi_basis")
    if basis is None:
        return refuse("pi-no-basis")
    if basis == "consent" and event.body.get("consent") not in ["separate", "written"]:
        return refuse("pi-separate-consent")
    if not entry["minors"] or event.body.get("guardian", False):
        return None
    if basis == "consent":
        return refuse("pi-guardian", age=env.params["minor_age"])
    if env.params["guardian_other_basis"]["strict"]:
        return alert("pi-guardian-open", open=env.params["guardian_other_basis"]["open"])
    return None


def on_share_approve(event, state, env):
    return write("grant", pi_basis=state["application"].get("pi_basis"))


def on_share_deliver(event, state, env):
    flag = worst([found.get("pi") for found in [state["dataset"], state["copy"]] if found is not None])
    kept = write("new", pi=flag)
    if flag not in PERSONAL:
        return kept
    supplier = event.member if state["entrustment"] is None else state["entrustment"]["principal"]
    grant = state["grant"]
    effects = [kept]
    if grant is not None and grant.get("pi_basis") is None:
        effects.append(breach("PIPL/13", about=supplier, on="grant"))
    # What was derived is assessed as any of the entries that it comes from.
    named = [event.refs["dataset"]] + (state["copy"]["sources"] if state["copy"] is not None else [])
    made = [found for found in state["assessment"].values() if found["type"] == "pi-impact"]
    assessed = any([found["member"] == supplier and is_valid(found, named, event.time) for found in made])
    if not is_to_processor(event, state) and not assessed:
        effects.append(breach("PIPL/55", about=supplier, on="dataset"))
    return effects


def on_backflow_deliver(event, state, env):
    return write("copy", pi=state["dataset"].get("pi"))


def on_custody_found(event, state, env):
    return write("copy", pi=state["dataset"].get("pi"))


def on_use_derive(event, state, env):
    return write("new", pi=highest(state))


def on_use_analyze(event, state, env):
    return write("new", pi=highest(state))


def highest(state):
    # What is derived from personal information is taken for such until the provider releases it.
    return worst([copy.get("pi") for copy in state["copy"].values()])


def worst(found):
    for flag in ["sensitive", "pi", "none"]:
        if flag in found:
            return flag
    return None


def on_entrust_approve(event, state, env):
    if state["dataset"].get("pi") in PERSONAL and not is_assessed(event, state, event.member, env.now):
        return refuse("pi-no-assessment")


def is_to_processor(event, state):
    # The assessment was due when the processing was entrusted.
    return state["entrustment"] is not None and event.body["to"] == state["entrustment"]["processor"]


def is_assessed(event, state, member, time):
    made = [found for found in state["assessment"].values() if found["type"] == "pi-impact"]
    return any([found["member"] == member and is_valid(found, [event.refs["dataset"]], time) for found in made])


def is_valid(found, named, time):
    return found["result"] != "failed" and found["until"] > time and found["dataset"] in named
