"""A2 申请内容与负责人同意 · Five contents, head's consent, distinct parties. Decree 809 Art. 20, 21.

What is lacking makes the application incomplete, never refused: the provider owes one notice that lists it all. A content
that is left empty, and a time limit that has passed, are lacking as if nothing were said. The law sets no term for the
notice; under the strict reading a late one is an alert.

申请内容有欠缺的，共享申请为材料不全，不因此予以拒绝：数据提供部门应当一次性告知需要补正的全部内容。内容留空的，
或者使用时限已过的，视同未填写，属于欠缺。法律未规定告知的期限；按从严理解，迟延告知的，予以提醒。
"""

DAY = 86400000
CONTENTS = ["basis", "purpose", "items", "method", "until"]


def on_share_apply(event, state, env):
    provider = state["dataset"]["provider"]
    if "office-head" not in env.signer.roles:
        return refuse("head-consent", role="office-head")
    if event.member == provider:
        return refuse("own-data")
    lacking = [name for name in CONTENTS if is_lacking(event.body, name, env)]
    filed = write(
        "application",
        dataset=event.refs["dataset"],
        applicant=event.member,
        applicant_key=env.signer.key,
        provider=provider,
        received=env.now,
        purpose=event.body.get("purpose"),
        items=event.body.get("items", []),
        method=event.body.get("method"),
        until=event.body.get("until"),
        lacking=lacking,
        noticed=False,
    )
    if not lacking:
        return filed
    strict = env.params["notice_days"]["strict"]
    return [
        filed,
        move("application", "lacking"),
        duty("A2", by=provider, on="application", due=None, kinds=["share.notice"]),
        set_timer("A2.notice", on="application", due=working_days(env, strict)),
    ]


def on_share_notice(event, state, env):
    if state["application"]["noticed"]:
        return refuse("notice-once")
    if not event.body["lacking"]:
        return refuse("notice-empty")
    left = [name for name in state["application"]["lacking"] if name not in event.body["lacking"]]
    if left:
        return refuse("notice-partial", left=left)
    return [
        write("application", noticed=True, lacking=event.body["lacking"]),
        clear_timer("A2.notice", on="application"),
    ]


def on_share_supplement(event, state, env):
    before = state["application"]
    lacking = [name for name in before["lacking"] if is_lacking(event.body, name, env)]
    return [
        write(
            "application",
            purpose=event.body.get("purpose", before["purpose"]),
            items=before["items"] if is_lacking(event.body, "items", env) else event.body["items"],
            method=event.body.get("method", before["method"]),
            until=before["until"] if is_lacking(event.body, "until", env) else event.body["until"],
            lacking=lacking,
        ),
        move("application", "lacking") if lacking else None,
    ] + ([] if lacking else nothing_owed())


def on_share_withdraw(event, state, env):
    return nothing_owed()


def nothing_owed():
    return [discharge("A2", on="application"), clear_timer("A2.notice", on="application")]


def is_lacking(body, name, env):
    given = body.get(name)
    if name == "until" and given is not None:
        return ms(given) + DAY <= env.now
    return not given


def on_timer_A2_notice(timer, state, env):
    if state["application"]["status"] == "incomplete" and not state["application"]["noticed"]:
        return alert("notice-late", open=env.params["notice_days"]["open"])
