"""E2 目录更新时限 · Update clock. Decree 809 Art. 17: 10 working days from the change, at most 5 more; review in 2.

The term starts at the change, as claimed and never later than recorded. The authority that published the entry may
consent to a longer term before it expires; it reviews and publishes an update within 2 working days of its record.
Until then the published entry stays in force. For the first review, and for what follows a return, the law sets no
term. An entry is withdrawn when nobody holds a copy and no grant of it runs: the latest time limit of any has passed, or
every grant that it ever gave is named and closed.

更新期限自变化发生时起算，发生时间以所称时间为准，最迟不晚于其记录时间。发布该目录的主管部门可以在期限届满前同意延
长；对目录更新，自其记录之日起2个工作日内审核并发布。发布之前，原已发布的目录条目继续有效。首次报送的审核，以及退回
之后的事项，法律未规定期限。无部门持有副本且无有效授权的，方可撤回目录条目；无有效授权，是指各项授权中最晚的使用时限
已经届满，或者该条目历来给予的全部授权均已列明并已了结。
"""

DAY = 86400000


def on_catalog_submit(event, state, env):
    if state["dataset"].get("plan") is None:
        return None
    strict = env.params["first_review_days"]["strict"]
    return set_timer("E2.first", on="dataset", due=working_days(env, strict))


def on_catalog_trigger(event, state, env):
    dataset = state["dataset"]
    revision = state["revision"]
    match dataset["status"]:
        case "published":
            return [
                write("revision", changed=event.time, next=None, extended=0),
                owed(dataset, env, 0, event.time),
            ]
        case "updated":
            if revision.get("next") is None:
                return [write("revision", next=event.time), owed(dataset, env, 0, event.time)]
        case "change_due" | "change_overdue":
            if event.time < revision["changed"]:
                return [
                    write("revision", changed=event.time),
                    owed(dataset, env, revision["extended"], event.time),
                ]
    return None


def on_catalog_extend(event, state, env):
    if "authority" not in env.signer.roles:
        return refuse("not-authority")
    revision = state["revision"]
    total = revision["extended"] + event.body["days"]
    longest = env.params["update_extension_days"]
    if total > longest:
        return refuse("extension-too-long", days=total, longest=longest)
    return [
        write("revision", extended=total),
        owed(state["dataset"], env, total, revision["changed"]),
        clear_timer("E2.slow", on="dataset"),
    ]


def on_catalog_update(event, state, env):
    review = working_days(env, env.params["update_review_days"])
    return [
        discharge("E2", on="dataset"),
        clear_timer("E2.slow", on="dataset"),
        write("revision", next=None),
        duty("E2.review", by=state["dataset"]["announced"], on="dataset", due=review),
    ]


def on_catalog_return(event, state, env):
    if state["dataset"]["status"] != "updated":
        return clear_timer("E2.first", on="dataset")
    changed = state["revision"].get("changed")
    reviewed = discharge("E2.review", on="dataset")
    if changed is None:
        return [reviewed, move("dataset", "keep")]
    anew = env.params["update_return_days"]["lenient"]
    days = env.params["update_days"] + state["revision"]["extended"]
    return [
        reviewed,
        duty("E2", by=state["dataset"]["provider"], on="dataset", due=working_days(env, anew)),
        set_timer("E2.slow", on="dataset", due=working_days(env, days, since=changed)),
    ]


def on_catalog_publish(event, state, env):
    announced = write("dataset", announced=event.member)
    if state["dataset"]["status"] != "updated":
        return [announced, clear_timer("E2.first", on="dataset")]
    further = state["revision"].get("next")
    done = [announced, discharge("E2.review", on="dataset"), write("revision", changed=further, next=None, extended=0)]
    if further is None:
        return done
    return done + [move("dataset", "change")]


def on_share_approve(event, state, env):
    until = state["application"].get("until")
    if until is None:
        return None
    return write("dataset", granted_until=max(state["dataset"]["granted_until"], ms(until) + DAY))


def on_scope_reply(event, state, env):
    until = state["scope"].get("until")
    if event.body["decision"] != "approve" or until is None:
        return None
    return write("dataset", granted_until=max(state["dataset"]["granted_until"], ms(until) + DAY))


def on_catalog_withdraw(event, state, env):
    dataset = state["dataset"]
    if "dept-head" not in env.signer.roles:
        return refuse("head-consent", role="dept-head")
    if dataset["holders"] or dataset["holders_more"]:
        return refuse("still-held", holders=len(dataset["holders"]))
    foreign = [name for name, grant in state["grant"].items() if grant["dataset"] != event.refs["dataset"]]
    if foreign:
        return refuse("grant-elsewhere", grants=foreign[:4])
    closed = [name for name, grant in state["grant"].items() if grant["status"] == "closed"]
    if env.now < dataset["granted_until"] and len(closed) < dataset["grants"]:
        return refuse("still-granted")
    return [discharge("E2", on="dataset"), clear_timer("E2.slow", on="dataset")]


def on_timer_E2(timer, state, env):
    dataset = state["dataset"]
    late = finding("D809/39-1", about=dataset["provider"], on="dataset", what="update")
    if dataset["status"] == "change_due":
        return [move("dataset", "overdue"), late]
    return late


def on_timer_E2_review(timer, state, env):
    return finding("D809/41-3", about=state["dataset"]["announced"], on="dataset", what="review")


def on_timer_E2_first(timer, state, env):
    return alert("review-slow", open=env.params["first_review_days"]["open"])


def on_timer_E2_slow(timer, state, env):
    return alert("open-point", open=env.params["update_return_days"]["open"])


def owed(dataset, env, extended, since):
    days = env.params["update_days"] + extended
    return duty("E2", by=dataset["provider"], on="dataset", due=working_days(env, days, since=since))
