"""A3 答复时限 · Reply clock. Decree 809 Art. 21: 1 working day (unconditional) or 10 (conditional), at most 10 more.

The term runs from receipt, that is from the record. Silence has no effect but a candidate finding: there is no deemed
consent, and an overdue application can still be answered. Only the authority extends the term, when the provider asks
for it before it has passed, and by no more than was asked; the applicant reads both on its application. Whether a
supplement starts the term anew is not set by law: the finding follows the lenient reading, that it does. Where the law
of the provider's own jurisdiction gives the reply to its data authority (an overlay), that law's clock runs instead.
"""


def on_share_apply(event, state, env):
    if answered_locally(state, env):
        return None
    days = env.params["reply_days"][state["dataset"]["sharing"]]
    return reply_duty(state["dataset"]["provider"], working_days(env, days))


def on_share_supplement(event, state, env):
    if state["application"].get("decider") is not None:
        return None
    days = env.params["reply_days"][state["dataset"]["sharing"]] + state["application"]["extended"]
    return reply_duty(state["application"]["provider"], working_days(env, days))


def on_share_extend_request(event, state, env):
    if state["application"].get("decider") is not None:
        return refuse("reply-local")
    return write("application", asked=event.body["days"])


def on_share_extend_decide(event, state, env):
    application = state["application"]
    if "authority" not in env.signer.roles:
        return refuse("not-authority")
    if not application["asked"]:
        return refuse("not-asked")
    if not event.body["granted"]:
        return write("application", asked=0)
    days = event.body.get("days", application["asked"])
    if days > application["asked"]:
        return refuse("more-than-asked", days=days, asked=application["asked"])
    return extend(application, state["dataset"]["sharing"], days, env)


def extend(application, sharing, days, env):
    longest = env.params["reply_extension_days"]
    total = application["extended"] + days
    if total > longest:
        return refuse("extension-too-long", days=total, longest=longest)
    term = env.params["reply_days"][sharing] + total
    effects = [
        write("application", extended=total, asked=0),
        reply_duty(application["provider"], working_days(env, term, since=application["received"])),
    ]
    if sharing == "unconditional":
        effects.append(alert("open-point", open=env.params["extension_unconditional"]["open"]))
    return effects


def on_share_withdraw(event, state, env):
    return discharge("A3", on="application")


def on_timer_A3(timer, state, env):
    application = state["application"]
    if application["status"] in ["under_review", "incomplete"]:
        return [
            move("application", "overdue"),
            finding("D809/39-4", about=application["provider"], on="application", what="reply"),
        ]


def answered_locally(state, env):
    if state["obligor"] is None:
        return False
    of = state["obligor"]["attributes"]
    terms = env.params["local.reply_days"].get(of.get("jurisdiction", ""), {})
    return of.get("authority") is not None and state["dataset"]["sharing"] in terms


def reply_duty(provider, due):
    return duty("A3", by=provider, on="application", due=due, kinds=["share.approve", "share.deny"])
