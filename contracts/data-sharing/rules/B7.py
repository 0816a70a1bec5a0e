"""B7 暂停与终止 · The ladder of suspension. Decree 809 Art. 27.

Use beyond the scope or supply onward that has been confirmed obliges to suspend (应当): whoever confirmed it owes it until the
provider or the authority has suspended, on that finding and with days to rectify. The user reports, then who suspended
resumes, suspends anew or terminates; without a report in the days given, termination stands open. A suspension may cover
everything between the two, and is decided behind the end of its grant too. For the decision after the report the law sets no term.

超出授权范围使用数据或者擅自向第三方提供数据，经认定的，应当暂停共享权限：作出认定的机关承担暂停义务，直至数据提供部
门或者政务数据共享主管部门依据该线索作出暂停决定，并指定整改期限。数据需求部门提交整改报告后，由作出暂停决定的部门决
定恢复共享权限、再次暂停或者终止共享；整改期限届满未报告的，可以终止共享。暂停范围可以涵盖双方之间的全部授权；授权终
止以后，仍可就暂停作出决定。收到整改报告后作出决定的期限，法律未规定。
"""

GROUNDS = ["D809/40-2", "D809/40-3"]


def on_finding_confirm(event, state, env):
    if state["finding"]["code"] in GROUNDS:
        return duty("B7", by=event.member, on="finding", due=None)


def on_share_approve(event, state, env):
    if state["standing"]["barred"] > 0:
        return refuse("standing-barred")
    return write("standing", grants=state["standing"]["grants"] + 1)


# A processor uses by the standing of whom it acts for.
def on_use_access(event, state, env):
    standing = state["standing"] if state["principal"] is None else state["principal"]
    if event.time < standing["barred_at"]:
        return None
    if standing["barred"] > 0 and state["grant"]["status"] in ["live", "provider_change"]:
        user = state["grant"]["user"]
        return breach("D809/40-2", about=user, on="grant", held=event.member, outside=["standing"])


def on_grant_suspend(event, state, env):
    grant = state["grant"]
    found = state["finding"]
    again = grant.get("order") is not None
    refused = not_between(event, grant, env)
    if refused is not None:
        return refused
    if found["about"] != grant["user"] or found["code"] not in GROUNDS:
        return refuse("no-ground", given=found["code"])
    if found["status"] not in ["confirmed", "ordered"]:
        return refuse("not-confirmed", status=found["status"])
    effects = [
        write(
            "grant",
            order=event.refs["finding"],
            suspended_by=event.member,
            suspended_key=env.signer.key,
            suspended_at=grant["suspended_at"] if again else env.now,
            covers=grant["covers"] if again else event.body["covers"],
            rectify_late=False,
            reported=0,
        ),
        discharge("B7", on="finding"),
        discharge("B7.decide", on="grant"),
        clear_timer("B7.slow", on="grant"),
        duty(
            "B7.rectify",
            by=grant["user"],
            on="grant",
            due=working_days(env, event.body["days"]),
            kinds=["grant.rectify"],
        ),
    ]
    if not again:
        effects.append(counted(state["standing"], 1, 1 if event.body["covers"] == "all" else 0, 0))
        if event.body["covers"] == "all" and state["standing"]["barred"] == 0:
            effects.append(write("standing", barred_at=env.now))
    return effects


def on_timer_B7_rectify(timer, state, env):
    return [
        write("grant", rectify_late=True),
        finding("D809/40-7", about=state["grant"]["user"], on="grant", what="rectification"),
    ]


def on_grant_rectify(event, state, env):
    grant = state["grant"]
    reported = write("grant", reported=grant["reported"] + 1)
    if grant.get("order") is None:
        return reported
    return [
        reported,
        duty("B7.decide", by=grant["suspended_by"], on="grant", due=None),
        set_timer("B7.slow", on="grant", due=working_days(env, env.params["suspension_decision_days"]["strict"])),
    ]


def on_timer_B7_slow(timer, state, env):
    if state["grant"].get("order") is not None:
        return alert("decision-slow", open=env.params["suspension_decision_days"]["open"])


def on_grant_resume(event, state, env):
    grant = state["grant"]
    refused = not_decided_by(event, grant, env)
    if refused is not None:
        return refused
    if grant["reported"] == 0:
        return refuse("no-report")
    resumed = [write("grant", suspended_at=None)] + over(grant)
    return resumed + [counted(state["standing"], -1, -1 if grant["covers"] == "all" else 0, 0)]


def on_grant_terminate(event, state, env):
    grant = state["grant"]
    refused = not_decided_by(event, grant, env)
    if refused is not None:
        return refused
    if grant["reported"] == 0 and not grant["rectify_late"]:
        return refuse("term-running")
    return over(grant) + [counted(state["standing"], -1, -1 if grant["covers"] == "all" else 0, 1)]


def over(grant):
    return [
        write("grant", order=None, covers=None),
        discharge("B7.rectify", on="grant"),
        discharge("B7.decide", on="grant"),
        clear_timer("B7.slow", on="grant"),
    ]


def counted(standing, suspended, barred, terminated):
    return write(
        "standing",
        suspended=standing["suspended"] + suspended,
        barred=standing["barred"] + barred,
        terminated=standing["terminated"] + terminated,
    )


def not_between(event, grant, env):
    if event.body["user"] != grant["user"]:
        return refuse("other-user", user=grant["user"])
    if event.member != grant["provider"] and "authority" not in env.signer.roles:
        return refuse("not-party")


# Who suspended decides; the authority may decide what the provider began, not the other way round.
def not_decided_by(event, grant, env):
    refused = not_between(event, grant, env)
    if refused is not None:
        return refused
    if grant.get("order") is None:
        return refuse("not-suspended")
    if event.member != grant["suspended_by"] and "authority" not in env.signer.roles:
        return refuse("not-suspender", by=grant["suspended_by"])
