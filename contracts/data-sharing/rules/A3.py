"""A3 答复时限 · Reply clock. Decree 809 Art. 21: 1 working day (unconditional) or 10 (conditional), at most 10 more.

The term runs from receipt, that is from the record. Silence has no effect but a candidate finding: there is no deemed
consent, and an overdue application can still be answered. Only the authority extends the term, when the provider asks
for it before it has passed, and by no more than was asked; the applicant reads both on its application. Whether a
supplement starts the term anew is not set by law, nor whether it runs while the applicant that was told what is lacking
has not answered: the finding follows the lenient reading, that it starts anew and does not run; what is extended
afterwards counts from the supplement. The application keeps since when it was overdue or denied, and when it was
consented to or withdrawn (A6). For an entry that is not to be shared the Decree names no term, nor for the authority
that is asked for a longer one: slowness is an alert under the strict reading. What comes after office hours is received
that day under the strict reading and on the next working day under the lenient one. Where the law of the provider's own
jurisdiction gives the reply to its data authority (an overlay), that law's clock runs instead.

答复期限自收到共享申请时起算，收到以记录为准。逾期不答复，除形成涉嫌违规线索外不发生任何效力：不视为同意，
逾期的共享申请仍可答复。只有政务数据共享主管部门可以延长期限，且须经数据提供部门在期限届满前申请，
延长不得超过所申请的工作日数；申请部门可以在其共享申请中查看延期申请和延期决定。补正后期限是否重新起算，
以及申请部门收到补正告知后尚未补正期间期限是否继续计算，法律未规定：线索按从宽理解，
即补正后重新起算、尚未补正期间不计算；补正后延期的，自补正时起计算。共享申请载明其逾期或者被答复不同意的时间，
以及被同意或者撤回的时间（A6）。对不予共享的目录条目，《政务数据共享条例》未规定答复期限；
主管部门决定是否同意延期，条例亦未规定期限：按从严理解，迟延的，予以提醒。办公时间以后收到的，按从严理解为当日收到，
按从宽理解为次一工作日收到。数据提供部门所在法域的法规规定由其数据管理机构答复的（见地方法规文件），
适用该法规规定的期限，不适用本规则的期限。
"""

HOUR = 3600000
ZONE = 28800000


def on_share_apply(event, state, env):
    if answered_locally(state, env):
        return None
    return [write("application", since=env.now)] + owed(
        state["dataset"]["provider"], state["dataset"]["sharing"], 0, env.now, env
    )


def on_share_supplement(event, state, env):
    if state["application"].get("decider") is not None or state["application"]["status"] == "overdue":
        return None
    application = state["application"]
    return [write("application", since=env.now)] + owed(
        application["provider"], state["dataset"]["sharing"], application["extended"], env.now, env
    )


def on_share_extend_request(event, state, env):
    if state["application"].get("decider") is not None:
        return refuse("reply-local")
    due = working_days(env, env.params["extension_decision_days"]["strict"])
    return [write("application", asked=event.body["days"]), set_timer("A3.asked", on="application", due=due)]


def on_share_extend_decide(event, state, env):
    application = state["application"]
    if "authority" not in env.signer.roles:
        return refuse("not-authority")
    if not application["asked"]:
        return refuse("not-asked")
    if not event.body["granted"]:
        return [write("application", asked=0), clear_timer("A3.asked", on="application")]
    days = event.body.get("days", application["asked"])
    if days > application["asked"]:
        return refuse("more-than-asked", days=days, asked=application["asked"])
    return extend(application, state["dataset"]["sharing"], days, env)


def extend(application, sharing, days, env):
    longest = env.params["reply_extension_days"]
    total = application["extended"] + days
    if total > longest:
        return refuse("extension-too-long", days=total, longest=longest)
    effects = [write("application", extended=total, asked=0), clear_timer("A3.asked", on="application")]
    since = application.get("since", application["received"])
    effects = effects + owed(application["provider"], sharing, total, since, env)
    if sharing == "unconditional":
        return effects + [alert("open-point", open=env.params["extension_unconditional"]["open"])]
    return effects


def on_share_withdraw(event, state, env):
    return [
        write("application", closed=env.now),
        discharge("A3", on="application"),
        clear_timer("A3.slow", on="application"),
    ]


def on_share_approve(event, state, env):
    return [write("application", closed=env.now), clear_timer("A3.slow", on="application")]


def on_share_deny(event, state, env):
    return [failed(state["application"], env), clear_timer("A3.slow", on="application")]


def on_share_direct(event, state, env):
    if event.body["decision"] == "deny":
        return failed(state["application"], env)


def on_timer_A3(timer, state, env):
    application = state["application"]
    if application["status"] == "incomplete" and application["noticed"]:
        return alert("open-point", open=env.params["supplement_clock"]["open"])
    if application["status"] in ["under_review", "incomplete"]:
        return [
            move("application", "overdue"),
            failed(application, env),
            finding("D809/39-4", about=application["provider"], on="application", what="reply"),
        ]


def on_timer_A3_slow(timer, state, env):
    if state["application"]["status"] in ["under_review", "incomplete"]:
        return alert("open-point", open=env.params["refused_reply_days"]["open"])


def on_timer_A3_hours(timer, state, env):
    application = state["application"]
    since = application.get("since", application["received"])  # of a supplement in office hours no reading is open
    if after_hours(since, env) and application["status"] in ["under_review", "incomplete"]:
        return alert("open-point", open=env.params["receipt_hour"]["open"])


def on_timer_A3_asked(timer, state, env):
    if state["application"]["status"] in ["under_review", "incomplete", "overdue"]:
        return alert("extension-undecided", open=env.params["extension_decision_days"]["open"])


# Since when sharing does not serve the applicant: an answer that is overdue, or a denial, whichever comes first.
def failed(application, env):
    return write("application", failed=application.get("failed", env.now))


def answered_locally(state, env):
    if state["obligor"] is None:
        return False
    of = state["obligor"]["attributes"]
    terms = env.params["local.reply_days"].get(of.get("jurisdiction", ""), {})
    return of.get("authority") is not None and state["dataset"]["sharing"] in terms


def owed(provider, sharing, extended, since, env):
    if sharing != "refused":
        days = env.params["reply_days"][sharing] + extended
        due = working_days(env, days, since=since)
        if not after_hours(since, env):
            return [duty("A3", by=provider, on="application", due=due, kinds=["share.approve", "share.deny"])]
        later = working_days(env, days + 1, since=since)
        return [
            duty("A3", by=provider, on="application", due=later, kinds=["share.approve", "share.deny"]),
            set_timer("A3.hours", on="application", due=due),
        ]
    days = env.params["refused_reply_days"]
    term = working_days(env, days["lenient"] + extended, since=since) if days["lenient"] >= 0 else None
    slow = working_days(env, days["strict"] + extended, since=since)
    return [
        duty("A3", by=provider, on="application", due=term, kinds=["share.approve", "share.deny"]),
        set_timer("A3.slow", on="application", due=slow),
    ]


def after_hours(since, env):
    return (since + ZONE) // HOUR % 24 >= env.params["receipt_hour"]["lenient"]
