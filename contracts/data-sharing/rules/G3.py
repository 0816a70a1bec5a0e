"""G3 应急共享 · Emergency grant, time-boxed and reviewed. Personal Information Protection Law Art. 13(4), 18; design.

An application may cite a declared emergency and stays inside its purpose and items. The grant ends by itself after 72
hours, or at its own time limit where that is earlier, with all that follows from an end: no further access, and disposal;
nothing prolongs or widens it, and no third party is supplied under it. The authority that declared the emergency reviews
the grant after its end, with another key than the one that declared; a review before that leaves it owed, and an improper
use that it finds is a candidate finding about the user. The hours are a design value, not law: each approval says so by
an alert. For the review no law sets a term: under the strict reading slowness is an alert, and a finding follows only
where a term is set locally.

共享申请可以援引已宣告的突发事件，但不得超出宣告的用途和数据项范围。应急授权满72小时自行终止，其使用时限更早届满的，自
届满时终止，并产生终止的一切后果，即不得再行调用，并应当处置数据；不得以任何方式延长或者扩大，也不得据以向第三方提供。
宣告该突发事件的机关在授权终止后进行事后审查，所用密钥应当不同于宣告密钥；在终止前审查的，审查义务不予解除；审查结论为
不当的，形成涉及数据需求部门的涉嫌违规线索。上述小时数为设计取值，并非法律规定：每次同意共享均以提醒载明。事后审查的期
限，法律未作规定：按从严理解，迟延的予以提醒；仅在地方设定期限的情况下，方形成线索。
"""

DAY = 86400000
HOUR = 3600000
RUNNING = ["agreed", "live", "suspended", "rectifying", "provider_change"]
DECLARERS = ["authority", "government"]


def on_emergency_declare(event, state, env):
    until = ms(event.body["until"])
    if not any([role in DECLARERS for role in env.signer.roles]):
        return refuse("not-authority")
    if until <= env.now:
        return refuse("emergency-over")
    return [
        write(
            "emergency",
            by=event.member,
            by_key=env.signer.key,
            basis=event.body["basis"],
            purpose=event.body["purpose"],
            items=event.body["items"],
            until=until,
        ),
        set_timer("G3.lapse", on="emergency", due=until),
    ]


def on_share_apply(event, state, env):
    emergency = state["emergency"]
    if emergency is None:
        return None
    if emergency["status"] != "declared":
        return refuse("emergency-over")
    if beyond(emergency, event.body.get("purpose"), event.body.get("items", [])):
        return refuse("emergency-scope")
    return [
        write("application", emergency=event.refs["emergency"]),
        alert("emergency-applied", emergency=event.refs["emergency"]),
        set_timer("G3.slow", on="application", due=hours(env, env.params["emergency_reply_hours"]["strict"])),
    ]


def on_share_approve(event, state, env):
    emergency = state["emergency"]
    application = state["application"]
    if emergency is None or application["until"] is None:
        return None
    if emergency["status"] != "declared":
        return refuse("emergency-over")
    if event.body.get("onward", []) or beyond(emergency, application["purpose"], application["items"]):
        return refuse("emergency-scope")
    longest = env.params["emergency_hours"]
    end = min(ms(application["until"]) + DAY, env.now + longest["lenient"] * HOUR)
    days = env.params["emergency_review_days"]
    review = working_days(env, days["lenient"], since=end) if days["lenient"] >= 0 else None
    return [
        write("grant", emergency=event.refs["emergency"], emergency_until=end, reviewed=None),
        write("emergency", grants=emergency["grants"] + 1),
        alert("open-point", open=longest["open"]),
        set_timer("C2.end", on="grant", due=end),
        set_timer("B6.end", on="grant", due=end),
        duty("G3", by=emergency["by"], on="grant", due=review),
        set_timer("G3.wait", on="grant", due=working_days(env, days["strict"], since=end)),
    ]


def on_scope_reply(event, state, env):
    return unwidened(event, state)


def on_onward_reply(event, state, env):
    return unwidened(event, state)


def unwidened(event, state):
    if event.body["decision"] == "approve" and state["grant"].get("emergency") is not None:
        return refuse("emergency-scope")


def on_emergency_review(event, state, env):
    if env.signer.key == state["emergency"]["by_key"]:
        return breach("D809/41-3", about=event.member, on="grant", what="same-key")
    if event.time < state["grant"]["emergency_until"] and state["grant"]["status"] in RUNNING:
        return alert("emergency-review-early", until=state["grant"]["emergency_until"])
    done = discharge("G3", on="grant")
    reviewed = write("grant", reviewed=event.body["result"])
    kept = [done, reviewed, clear_timer("G3.wait", on="grant")]
    if event.body["result"] == "proper":
        return kept
    user = state["grant"]["user"]
    return kept + [finding("D809/40-7", about=user, on="grant", held=user, what="emergency")]


# examined: timer-not-shown: no law sets a term, so it is set only where members vote one (the lenient value of emergency_review_days)
def on_timer_G3(timer, state, env):
    return finding("D809/41-3", about=state["emergency"]["by"], on="grant", what="review")


def on_timer_G3_wait(timer, state, env):
    return alert("emergency-unreviewed", open=env.params["emergency_review_days"]["open"])


def on_timer_G3_slow(timer, state, env):
    if state["application"]["status"] in ["under_review", "incomplete"]:
        return alert("emergency-unanswered", open=env.params["emergency_reply_hours"]["open"])


def on_timer_G3_lapse(timer, state, env):
    return move("emergency", "lapse")


# What an application does not say yet is asked for once (Art. 21), and held against the declaration when it comes.
def beyond(emergency, purpose, items):
    return purpose not in [None, emergency["purpose"]] or any([item not in emergency["items"] for item in items])
