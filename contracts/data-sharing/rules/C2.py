"""C2 目的终止后处置 · Disposal over the custody tree when the purpose ends. Decree 809 Art. 27; PIPL Art. 21, 47.

Every copy stands under the grants that it comes from (roots), whoever holds it and whatever it was made from (parents). A
grant counts its live copies by holder: a supply, a derivation or a copy found adds one, a verified disposal or a release by
the provider takes one away. When the purpose ends, the time limit passes or the grant is terminated, the grant stays open
until no holder is left but for copies on legal hold. The law names no term: the provider's instruction sets one; without it
the duty has no due date, and under the strict reading slowness is an alert. A disposal is verified by a key other than the
key that disposed, and than the keys that applied for and approved any of the grants that the copy stands under. A copy is
in custody since it was delivered, a derivative since the earliest of its sources was; of a copy found nobody knows.
"""

DAY = 86400000
ENDED = ["expired", "purpose_ended", "terminated"]


def on_share_approve(event, state, env):
    if state["application"]["lacking"]:
        return None
    return set_timer("C2.end", on="grant", due=ms(state["application"]["until"]) + DAY)


def on_scope_reply(event, state, env):
    until = state["scope"].get("until")
    if event.body["decision"] == "approve" and until is not None:
        return set_timer("C2.end", on="grant", due=ms(until) + DAY)


def on_service_file(event, state, env):
    if state["grant"].get("change") == "end":
        return set_timer("C2.end", on="grant", due=max(ms(state["grant"]["change_from"]), env.now))


# A copy comes into custody.


def on_share_deliver(event, state, env):
    source = state["copy"]
    grant = state["grant"]
    named = event.refs.get("grant")
    roots = source["roots"] if source is not None else [named] if named is not None else []
    receiver = event.body["to"]
    origin = grant if grant is not None else source if source is not None else state["dataset"]
    effects = [
        write(
            "new",
            dataset=event.refs["dataset"],
            provider=origin["provider"],
            holder=receiver,
            grant=named,
            parents=[] if source is None else [event.refs["copy"]],
            roots=roots,
            further=[other for other in roots if other != named],
            since=event.time,
        ),
    ]
    if source is not None:
        # Further grants are those of the copy that it is taken from: named without one they mean nothing.
        for name, root in state["root"].items():
            effects.append(write("root", name, live=more(root["live"], receiver), copies=root["copies"] + 1))
            if root["status"] == "closed":
                effects.append(move("root", "reopen", of=name))
                effects.append(duty("C2", by=root["user"], on="root", of=name, due=None))
        effects.append(write("copy", live_children=source["live_children"] + 1))
    return effects if grant is None else effects + [counted_in(grant, receiver)] + revived(grant)


def on_backflow_deliver(event, state, env):
    return write(
        "copy",
        dataset=event.refs["dataset"],
        provider=event.member,
        holder=state["demand"]["by"],
        since=event.time,
    )


def on_use_derive(event, state, env):
    return derived(event, state)


def on_use_analyze(event, state, env):
    return derived(event, state)


def derived(event, state):
    roots = sorted(event.refs.get("grant", []))
    first = roots[0] if roots else None
    effects = [
        write(
            "new",
            dataset=None,
            provider=state["grant"][first]["provider"] if roots else event.member,
            holder=event.member,
            grant=first,
            parents=sorted(event.refs["copy"]),
            roots=roots,
            further=roots[1:],
            since=min([source.get("since", 0) for source in state["copy"].values()] + [event.time]),
        )
    ]
    for name, root in state["grant"].items():
        effects.append(write("grant", name, live=more(root["live"], event.member), copies=root["copies"] + 1))
        if root["status"] == "closed":
            effects.append(move("grant", "reopen", of=name))
            effects.append(duty("C2", by=root["user"], on="grant", of=name, due=None))
    for name, parent in state["copy"].items():
        children = write("copy", name, live_children=parent["live_children"] + 1)
        if parent["status"] == "on_hold" and parent.get("before") in ["unconfirmed", "held"]:
            children = write("copy", name, live_children=parent["live_children"] + 1, before="in_use")
        effects.append(children)
    return effects


def on_custody_found(event, state, env):
    grant = state["grant"]
    holder = event.body["holder"]
    found = write(
        "copy",
        dataset=event.refs["dataset"],
        provider=grant["provider"],
        holder=holder,
        grant=event.refs["grant"],
        roots=[event.refs["grant"]],
    )
    late = grant["status"] == "closed" or grant["status"] in ENDED
    counted = [found, counted_in(grant, holder)] + revived(grant)
    if late:
        return counted + [finding("D809/40-4", about=grant["user"], on="grant", held=holder, what="found")]
    return counted + [finding("D809/40-3", about=grant["user"], on="grant", held=holder, what="found")]


def counted_in(grant, holder):
    return write("grant", live=more(grant["live"], holder), copies=grant["copies"] + 1)


def revived(grant):
    if grant["status"] != "closed":
        return []
    return [move("grant", "reopen"), duty("C2", by=grant["user"], on="grant", due=None)]


# The purpose ends.


def on_timer_C2_end(timer, state, env):
    return [move("grant", "expire")] + owed(state["grant"], env)


def on_purpose_end(event, state, env):
    if state["grant"]["status"] in ["purpose_ended", "terminated", "closed"]:
        return None
    if state["grant"]["status"] == "expired":
        # Disposal is owed already, by the term that the provider may have set.
        return write("grant", ended=event.time)
    ended = [write("grant", ended=event.time), clear_timer("C2.end", on="grant")]
    return ended + owed(state["grant"], env)


def on_grant_terminate(event, state, env):
    if state["grant"]["status"] in ["expired", "purpose_ended", "closed"]:
        return None
    ended = [write("grant", ended=event.time), clear_timer("C2.end", on="grant")]
    return ended + owed(state["grant"], env)


def owed(grant, env):
    if not remaining(grant["live"], grant["held"]):
        return [move("grant", "close")]
    return [
        duty("C2", by=grant["user"], on="grant", due=None),
        set_timer("C2.slow", on="grant", due=working_days(env, env.params["disposal_days"]["strict"])),
    ]


def on_dispose_instruct(event, state, env):
    # Where nothing is held any more the grant is closed, and the table refuses.
    due = working_days(env, event.body["days"])
    return [duty("C2", by=state["grant"]["user"], on="grant", due=due), clear_timer("C2.slow", on="grant")]


def on_timer_C2(timer, state, env):
    grant = state["grant"]
    holders = remaining(grant["live"], grant["held"])
    if holders:
        return finding("D809/40-4", about=grant["user"], on="grant", copies=grant["copies"], holders=holders[:4])


def on_timer_C2_slow(timer, state, env):
    grant = state["grant"]
    if grant["status"] in ENDED and remaining(grant["live"], grant["held"]):
        return alert("disposal-slow", open=env.params["disposal_days"]["open"], copies=grant["copies"])


# A copy leaves custody.


def on_dispose_done(event, state, env):
    copy = state["copy"]
    done = write("copy", disposed_key=env.signer.key, disposed=event.time)
    if copy["hold"]:
        return [done, breach("D809/40-5", about=event.member, on="copy", held=event.member, what="hold")]
    if copy["live_children"] > 0:
        children = copy["live_children"]
        return [done, breach("D809/40-4", about=event.member, on="copy", held=event.member, children=children)]
    return done


def on_dispose_verify(event, state, env):
    copy = state["copy"]
    if env.signer.key in keys_before(state):
        return refuse("same-key")
    if state["grant"] is None:
        return left(state, copy)
    after = without(state["grant"], copy)
    effects = [write("grant", live=after["live"], held=after["held"], copies=after["copies"])]
    if closes(after):
        effects.append(discharge("C2", on="grant"))
        effects.append(move("grant", "close"))
    return effects + left(state, copy)


# The keys that disposed, applied and approved, of every grant. What was granted before these were kept has none.
def keys_before(state):
    grants = [state["grant"]] if state["grant"] is not None else []
    grants = grants + [root for root in state["root"].values()]
    keys = [grant.get("applicant_key") for grant in grants] + [grant.get("approver_key") for grant in grants]
    return keys + [state["copy"].get("disposed_key")]


def on_custody_release(event, state, env):
    copy = state["copy"]
    if state["grant"] is None:
        return left(state, copy)
    others = [root["provider"] for root in state["root"].values() if root["provider"] != event.member]
    if others:
        return refuse("several-providers", others=others[:4])
    after = without(state["grant"], copy)
    effects = [write("grant", live=after["live"], held=after["held"], copies=after["copies"])]
    if closes(after):
        effects.append(discharge("C2", on="grant"))
        effects.append(move("grant", "close"))
    return effects + left(state, copy)


# What a copy that is gone takes away from its further grants and from the copies that it was made from.
def left(state, copy):
    effects = []
    for name, root in state["root"].items():
        after = without(root, copy)
        effects.append(write("root", name, live=after["live"], held=after["held"], copies=after["copies"]))
        if closes(after):
            effects.append(discharge("C2", on="root", of=name))
            effects.append(move("root", "close", of=name))
    for name, parent in state["parent"].items():
        effects.append(write("parent", name, live_children=parent["live_children"] - 1))
    return effects


# A legal hold takes a copy out of the count, and gives it back.


def on_hold_set(event, state, env):
    if "authority" not in env.signer.roles and "auditor" not in env.signer.roles:
        return refuse("not-authority")
    holder = state["copy"]["holder"]
    effects = [write("copy", hold=True, before=state["copy"]["status"])]
    if state["grant"] is None:
        return effects
    held = more(state["grant"]["held"], holder)
    effects.append(write("grant", held=held))
    if closes({"status": state["grant"]["status"], "live": state["grant"]["live"], "held": held}):
        effects.append(discharge("C2", on="grant"))
        effects.append(move("grant", "close"))
    for name, root in state["root"].items():
        held = more(root["held"], holder)
        effects.append(write("root", name, held=held))
        if closes({"status": root["status"], "live": root["live"], "held": held}):
            effects.append(discharge("C2", on="root", of=name))
            effects.append(move("root", "close", of=name))
    return effects


def on_hold_lift(event, state, env):
    if "authority" not in env.signer.roles and "auditor" not in env.signer.roles:
        return refuse("not-authority")
    holder = state["copy"]["holder"]
    grant = state["grant"]
    lifted = [write("copy", hold=False)] + back(state["copy"].get("before"))
    if grant is None:
        return lifted
    effects = [write("grant", held=fewer(grant["held"], holder))]
    for name, root in state["root"].items():
        effects.append(write("root", name, held=fewer(root["held"], holder)))
        if root["status"] == "closed":
            effects.append(move("root", "reopen", of=name))
            effects.append(duty("C2", by=root["user"], on="root", of=name, due=None))
    return lifted + effects + revived(grant)


# What happens to a copy while it is on hold decides where it goes back to.
def on_share_receive(event, state, env):
    copy = state["copy"]
    if copy["status"] != "on_hold":
        return None
    if event.body.get("contested") is not None:
        return write("copy", before="contested")
    if copy.get("before") in ["unconfirmed", "contested"]:
        return write("copy", before="held")


def back(before):
    match before:
        case "unconfirmed":
            return [move("copy", "unreceived")]
        case "contested":
            return [move("copy", "contest")]
        case "in_use":
            return [move("copy", "used")]
    return []


# Counts by holder.


def without(root, copy):
    holder = copy["holder"]
    return {
        "live": fewer(root["live"], holder),
        "held": fewer(root["held"], holder) if copy["hold"] else root["held"],
        "copies": root["copies"] - 1,
        "status": root["status"],
    }


def closes(root):
    return root["status"] in ENDED and not remaining(root["live"], root["held"])


def remaining(live, held):
    return [holder for holder in sorted(live) if live[holder] > held.get(holder, 0)]


def more(counts, holder):
    found = {name: counts[name] for name in counts}
    found[holder] = counts.get(holder, 0) + 1
    return found


def fewer(counts, holder):
    less = {name: counts[name] - (1 if name == holder else 0) for name in counts}
    return {name: less[name] for name in less if less[name] > 0}
