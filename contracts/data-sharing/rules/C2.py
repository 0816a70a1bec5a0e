"""C2 目的终止后处置 · Disposal when the purpose ends. Decree 809 Art. 27.

When the purpose ends, or the time limit passes, every copy under the grant is disposed of, and each disposal is verified by
another key than the one that disposed. The law names no term: the provider's instruction sets one; without it the duty has
no due date, and under the strict reading slowness is an alert.
"""

DAY = 86400000


def on_share_approve(event, state, env):
    if state["application"]["lacking"]:
        return None
    return set_timer("C2.end", on="grant", due=ms(state["application"]["until"]) + DAY)


def on_share_deliver(event, state, env):
    return write("grant", copies=state["grant"]["copies"] + 1)


def on_timer_C2_end(timer, state, env):
    return [move("grant", "expire")] + owed(state["grant"], env)


def on_purpose_end(event, state, env):
    if state["grant"]["status"] in ["purpose_ended", "closed"]:
        return None
    ended = [write("grant", ended=event.time), clear_timer("C2.end", on="grant")]
    return ended + owed(state["grant"], env)


def on_dispose_instruct(event, state, env):
    if state["grant"]["copies"] == 0:
        return refuse("nothing-to-dispose")
    due = working_days(env, event.body["days"])
    return [duty("C2", by=state["grant"]["user"], on="grant", due=due), clear_timer("C2.slow", on="grant")]


def on_dispose_done(event, state, env):
    return write("copy", disposed_key=env.signer.key, disposed=event.time)


def on_dispose_verify(event, state, env):
    if env.signer.key == state["copy"].get("disposed_key"):
        return refuse("same-key")
    left = state["grant"]["copies"] - 1
    effects = [write("grant", copies=left)]
    if left == 0 and state["grant"]["status"] in ["expired", "purpose_ended"]:
        effects = effects + [
            discharge("C2", on="grant"),
            clear_timer("C2.slow", on="grant"),
            move("grant", "close"),
        ]
    return effects


def on_timer_C2(timer, state, env):
    if state["grant"]["copies"] > 0:
        return finding("D809/40-4", about=state["grant"]["user"], on="grant", copies=state["grant"]["copies"])


def on_timer_C2_slow(timer, state, env):
    if state["grant"]["copies"] > 0:
        return alert("disposal-slow", open=env.params["disposal_days"]["open"], copies=state["grant"]["copies"])


def owed(grant, env):
    if grant["copies"] == 0:
        return [move("grant", "close")]
    return [
        duty("C2", by=grant["user"], on="grant", due=None),
        set_timer("C2.slow", on="grant", due=working_days(env, env.params["disposal_days"]["strict"])),
    ]
