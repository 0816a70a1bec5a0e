"""C2 目的终止后处置 · Disposal over the custody tree when the purpose ends. Decree 809 Art. 27; PIPL Art. 21, 47.

Every copy stands under the grants that it comes from (roots), whoever holds it and whatever it was made from (parents). A
grant counts its live copies by holder: a supply, a derivation or a copy found adds one, a verified disposal or a release
by the provider takes one away. When the purpose ends, the time limit passes or the grant is terminated, the grant stays
open until no holder is left but for copies on legal hold. The law names no term: the provider's instruction sets one;
without it the duty has no due date, and under the strict reading slowness is an alert. A disposal is verified by a key
other than the key that disposed, and than the keys that applied for and approved any of the grants that the copy stands
under, a wider scope or a third party of theirs included. A hold on a copy under no grant stands on the entries that it is
a copy of. To dispose of a copy on hold, or of one from which copies are still derived, leaves a finding, and so does a
copy that is found; where several providers have a part in a copy, none releases it alone. A copy is in custody since it
was delivered, a derivative since the earliest of its sources was; of a copy found nobody knows.

副本无论由何部门持有、由何上级副本（`parents`）形成，均归属其所源自的各项授权（`roots`）。授权按持有部门计算在管副本数：
提供、衍生或者发现一份副本的，加一；处置经核验，或者数据提供部门解除副本管控的，减一。使用目的终止、使用时限届满或者共
享被终止的，授权继续保持未了结状态，直至除依法留存的副本外，不再有任何持有部门。处置期限法律未规定，由数据提供部门在处
置要求中设定；未设定的，处置义务没有期限，按从严理解，迟延的，予以提醒。处置核验所用的密钥，应当不同于处置密钥，也不同
于该副本所属任何一项授权的申请密钥和同意密钥，包括该授权扩大使用范围、向第三方提供的申请密钥和同意密钥。不属于任何授权
的副本依法留存的，留存记在其所源自的目录条目。处置依法留存的副本，或者处置仍有下级副本的副本，形成线索；发现在管外副本
的，亦同；涉及多个数据提供部门的副本，任何一方不得单独解除管控。副本自提供之时起在管，衍生数据自其来源中最早的在管之时
起在管；发现的在管外副本，何时起在管无从得知。
"""

DAY = 86400000
ENDED = ["expired", "purpose_ended", "terminated"]


def on_share_approve(event, state, env):
    if state["application"]["lacking"]:
        return None
    return set_timer("C2.end", on="grant", due=ms(state["application"]["until"]) + DAY)


def on_scope_reply(event, state, env):
    if event.body["decision"] != "approve":
        return None
    until = state["scope"].get("until")
    kept = noted(state["grant"], [state["scope"].get("key"), env.signer.key])
    return kept if until is None else [kept, set_timer("C2.end", on="grant", due=ms(until) + DAY)]


def on_onward_reply(event, state, env):
    if event.body["decision"] == "approve":
        return noted(state["grant"], [state["onward"].get("key"), env.signer.key])


# Who applied for more, and who agreed, does not verify the disposal either.
def noted(grant, keys):
    before = grant["further_keys"]
    return write("grant", further_keys=before + [key for key in keys if key is not None and key not in before])


def on_service_file(event, state, env):
    if state["grant"].get("change") == "end":
        ends = max(ms(state["grant"]["change_from"]), env.now)
        return set_timer("C2.end", on="grant", due=min(ends, state["grant"]["until"]))


# A copy comes into custody.


def on_share_deliver(event, state, env):
    source = state["copy"]
    grant = state["grant"]
    named = event.refs.get("grant")
    roots = source["roots"] if source is not None else [named] if named is not None else []
    receiver = event.body["to"]
    origin = grant if grant is not None else source if source is not None else state["dataset"]
    held = state["entrustment"]
    mine = source is not None and (
        event.member == source["holder"] or (held is not None and held["principal"] == source["holder"])
    )
    effects = [
        write(
            "new",
            dataset=event.refs["dataset"],
            provider=origin["provider"],
            holder=receiver,
            grant=named,
            parents=[event.refs["copy"]] if mine else [],
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
    if mine:
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
            provider=state["grant"][first]["provider"]
            if roots
            else state["copy"][sorted(event.refs["copy"])[0]]["provider"],
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
        return left(state, copy) + (unheld(state) if copy["hold"] else [])
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
    further = [key for grant in grants for key in grant["further_keys"]]
    return keys + further + [state["copy"].get("disposed_key")]


def on_custody_release(event, state, env):
    copy = state["copy"]
    sources = [found for found in state["root"].values()] + [found for found in state["parent"].values()]
    others = [found["provider"] for found in sources if found["provider"] != event.member]
    if others:
        return refuse("several-providers", others=others[:4])
    if state["grant"] is None:
        return left(state, copy)
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
        left_out = unnamed(event, state["copy"])
        if left_out:
            return refuse("still-counted", entries=left_out[:4])
        # Under no grant the hold stands on the entries that it is a copy of, so that C1 sees it.
        return effects + [
            write("dataset", entry, held=more(state["dataset"][entry]["held"], holder))
            for entry in state["copy"]["counted"]
        ]
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


def unnamed(event, copy):
    return [name for name in copy["counted"] if name not in event.refs.get("dataset", [])]


def unheld(state):
    holder = state["copy"]["holder"]
    named = [name for name in state["copy"]["counted"] if name in state["dataset"]]
    return [write("dataset", name, held=fewer(state["dataset"][name]["held"], holder)) for name in named]


def on_hold_lift(event, state, env):
    if "authority" not in env.signer.roles and "auditor" not in env.signer.roles:
        return refuse("not-authority")
    holder = state["copy"]["holder"]
    grant = state["grant"]
    lifted = [write("copy", hold=False)] + back(state["copy"].get("before"))
    if grant is None:
        left_out = unnamed(event, state["copy"])
        if left_out:
            return refuse("still-counted", entries=left_out[:4])
        return lifted + unheld(state)
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
