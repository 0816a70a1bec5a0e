"""D3 校核时限 · Correction clock. Decree 809 Art. 26: verify, correct and answer within 10 working days.

The term runs from receipt. Two things stop it: that the provider corrected, or rejected with a reason, which stands for
having verified, and that it answered the applicant. What it found itself needs no answer, and has no term in the law.

数据提供部门应当在10个工作日内予以校核、更正并反馈（第二十六条）。期限自收到校核申请时起算。下列两项均已完成的，期限停
止计算：数据提供部门已经更正，或者说明理由不予更正（即视为已经校核）；已经向申请方反馈。数据提供部门自行发现的，无须反
馈，法律未规定期限。
"""


def on_correct_apply(event, state, env):
    dataset = state["dataset"]
    provider = dataset["provider"]
    ground = event.body["ground"]
    if ground == "use" and (state["grant"] is None or state["grant"]["user"] != event.member):
        return refuse("grant-missing")
    if ground == "inspection" and "authority" not in env.signer.roles:
        return refuse("not-authority")
    own = event.member == provider
    if (ground == "self-check" and not own) or (ground in ["use", "inspection"] and own):
        return refuse("ground-wrong", ground=ground)
    filed = write(
        "correction",
        dataset=event.refs["dataset"],
        applicant=event.member,
        provider=provider,
        ground=ground,
        items=event.body["items"],
        outcome=None,
        answered=False,
    )
    if ground == "self-check":
        return [filed, duty("D3", by=provider, on="correction", due=None)]
    return [filed, duty("D3", by=provider, on="correction", due=working_days(env, env.params["correction_days"]))]


def on_correct_result(event, state, env):
    correction = state["correction"]
    said = event.body["outcome"]
    reasoned = said != "rejected" or event.body.get("reason") is not None
    decides = correction["outcome"] is None and said != "verified" and reasoned
    outcome = said if decides else correction["outcome"]
    answered = correction["answered"] or event.body.get("answer") is not None
    effects = [write("correction", outcome=outcome, answered=answered)]
    if decides:
        effects.append(move("correction", "corrected") if said == "corrected" else move("correction", "rejected"))
    if not reasoned:
        effects.append(alert("rejection-unreasoned"))
    if outcome is not None and (answered or correction["ground"] == "self-check"):
        effects.append(discharge("D3", on="correction"))
    return effects


def on_timer_D3(timer, state, env):
    correction = state["correction"]
    lacking = "answer" if correction["outcome"] is not None else "correction"
    return finding("D809/39-6", about=correction["provider"], on="correction", what=lacking)
