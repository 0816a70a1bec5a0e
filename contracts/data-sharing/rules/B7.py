"""B7 暂停与终止 · The ladder of suspension. Decree 809 Art. 27.

Use beyond the scope or supply onward that has been confirmed obliges to suspend (应当): whoever confirmed it owes it until
the provider or the authority has suspended, on that finding and with days to rectify. Where a finding is on a grant, its
provider suspends on it, not another one, or the authority; the duty is met when the grant that the finding is on is
suspended, or with all that its provider granted. On a finding about somebody without a grant, as a processor or a third
party, its provider, where the finding is on its grant, or the authority suspends; that the data came under the grant that
the authority names is not checked. The user reports, then who suspended, or the authority, resumes or terminates, or the
provider or the authority suspends anew; without a report in the days given, termination stands open. A suspension may
cover everything between the two, and is decided behind the end of its grant too; what was accessed while the latest one
stood is found also when it is recorded afterwards (derivations and analyses under the suspended grant: B1). For the
decision after the report the law sets no term.

超出授权范围使用数据或者擅自向第三方提供数据，经认定的，应当暂停共享权限：作出认定的机关承担暂停义务，直至数据提供部门
或者政务数据共享主管部门依据该线索作出暂停决定，并指定整改期限。线索涉及某项授权的，数据提供部门仅得就涉及本部门授权的
线索暂停，主管部门不受此限；线索所涉授权被暂停，或者其数据提供部门给予的全部授权被暂停的，暂停义务履行完毕。线索涉及受
托方、第三方等自身未获授权者的，由所涉授权的数据提供部门或者主管部门暂停；主管部门所列授权是否为数据所依据的授权，不予
核查。数据需求部门提交整改报告后，由作出暂停决定的部门或者主管部门决定恢复共享权限或者终止共享，数据提供部门或者主管部
门可以再次暂停；整改期限届满未报告的，可以终止共享。暂停范围可以涵盖双方之间的全部授权；授权终止以后，仍可就暂停作出决
定；最近一次暂停期间的调用，此后才记录的，同样形成线索（衍生和分析仅就被暂停的授权本身判断，见B1）。收到整改报告后作出
决定的期限，法律未规定。
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
    if standing["barred"] > 0 or event.time < standing.get("freed_at", 0):
        user = state["grant"]["user"]
        return breach("D809/40-2", about=user, on="grant", held=event.member, outside=["standing"])


def on_grant_suspend(event, state, env):
    grant = state["grant"]
    found = state["finding"]
    again = grant.get("order") is not None
    refused = not_between(event, grant, env)
    if refused is not None:
        return refused
    if found["code"] not in GROUNDS or not is_ground(found, event.refs["grant"], grant, env):
        return refuse("no-ground", given=found["code"])
    if found["status"] not in ["confirmed", "ordered"]:
        return refuse("not-confirmed", status=found["status"])
    if owner_of(found, grant) != grant["provider"] and "authority" not in env.signer.roles:
        return refuse("other-provider", provider=owner_of(found, grant))
    covers = grant["covers"] if again else event.body["covers"]
    effects = [
        write(
            "grant",
            order=event.refs["finding"],
            suspended_by=event.member,
            suspended_key=env.signer.key,
            suspended_at=grant["suspended_at"] if again else env.now,
            resumed_at=None,
            covers=covers,
            rectify_late=False,
            reported=0,
        ),
        discharge("B7", on="finding") if is_met(found, event.refs["grant"], grant, covers) else None,
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
        effects.append(counted(state["standing"], 1, 1 if covers == "all" else 0, 0))
        if covers == "all" and state["standing"]["barred"] == 0:
            effects.append(write("standing", barred_at=env.now))
    return effects


# About the user, or on this grant; who had the data from the user has no grant of its own, so the authority may choose.
def is_ground(found, name, grant, env):
    return found["about"] == grant["user"] or found.get("on") == "grant/" + name or "authority" in env.signer.roles


# Whose grant the finding is on. What is on anything else names no grant, and any provider of the user may act on it.
def owner_of(found, grant):
    place = found.get("on", "").split("/")
    return place[1] if place[0] == "grant" else grant["provider"]


# The duty is met by the suspension of that grant, or of all that its provider granted the user.
def is_met(found, name, grant, covers):
    if covers == "all":
        return owner_of(found, grant) == grant["provider"]
    return found.get("on", "").split("/")[0] != "grant" or found["on"] == "grant/" + name


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
    return [write("grant", resumed_at=env.now)] + over(grant, state["standing"], 0, env)


def on_grant_terminate(event, state, env):
    grant = state["grant"]
    refused = not_decided_by(event, grant, env)
    if refused is not None:
        return refused
    if grant["reported"] == 0 and not grant["rectify_late"]:
        return refuse("term-running")
    return over(grant, state["standing"], 1, env)


# When the suspensions stood stays on record: what was used then may be recorded later.
def over(grant, standing, terminated, env):
    covered = 1 if grant["covers"] == "all" else 0
    return [
        counted(standing, -1, -covered, terminated),
        write("standing", freed_at=env.now) if covered == 1 and standing["barred"] == 1 else None,
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
