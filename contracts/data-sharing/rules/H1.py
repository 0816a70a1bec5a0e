"""H1 线索认定与问责 · Findings decided by a human, liability by custody. Decree 809 Art. 29, 34, 35, 38 to 42.

A finding is a candidate. Authorities, governments and regulators inspect, and a provider its users. The department
concerned may state a proper reason; an authority or government confirms or dismisses, never with the key that inspected,
orders a correction with a term, accepts it, not with the key that reported, or refers the persons responsible: when the
order was not followed, when it is grave, or when it happened again. Nobody decides in the own cause, and no step is
automatic. For an incident the candidate is about whoever held the data then: who manages answers, who uses answers. There
is none about who held only its own data; a copy that came into custody after that is left out, and so is one whose
disposal lies before that and was verified.

线索仅为涉嫌情形。主管部门、人民政府和监管部门实施检查，数据提供部门检查其数据需求部门。有关部门可以说明正当理由；由主
管部门或者人民政府认定或者排除线索（不得使用实施检查的密钥），责令限期改正，进行整改验收（不得使用提交整改报告的密钥），
或者对责任人员提出处分建议，提出处分建议限于拒不改正、情节严重或者屡次发生的情形。任何部门不得处理涉及本部门的事项，任
何环节均不自动作出。发生安全事件的，线索涉及当时持有数据的部门：谁管理谁负责，谁使用谁负责。仅持有本部门数据的，不形成
线索；此后才纳入管控的副本不计入，在此之前已处置并经核验的副本也不计入。
"""

DECIDERS = ["authority", "government"]
INSPECTORS = ["authority", "government", "regulator"]


def on_inspect_record(event, state, env):
    effects = [
        write("inspection", by=event.member, by_key=env.signer.key, about=event.body["about"]),
        write("tally", inspected=state["tally"]["inspected"] + 1),
    ]
    if event.body.get("code") is None:
        return effects
    if not may_inspect(event, state, env):
        return effects + [alert("no-power", about=event.body["about"])]
    return effects + [inspected(event.body["code"], event.body["about"])]


def on_incident_open(event, state, env):
    found = min(ms(event.body["found"]), event.time)
    copies = {name: one for name, one in state["copy"].items() if held_then(one, found)}
    official = any([role in INSPECTORS for role in env.signer.roles])
    known = [name for name in copies if official or event.member in [copies[name]["holder"], copies[name]["provider"]]]
    holders = {copies[name]["holder"]: True for name in known}
    # Somebody else's data among its copies is enough, whatever else it holds.
    users = {one["holder"]: True for one in [copies[name] for name in known] if one["holder"] != one["provider"]}
    effects = [write("incident", custody=sorted(holders) if holders else [event.member])]
    if len(known) < len(copies):
        effects.append(alert("not-concerned", copies=len(copies) - len(known)))
    for user in sorted(users):
        effects.append(finding("D809/40-6", about=user, on="incident", held=user, what=event.body["type"]))
    return effects


def on_finding_justify(event, state, env):
    return write("finding", justified=event.name)


def on_finding_confirm(event, state, env):
    refused = barred(event, state, env)
    if refused is not None:
        return refused
    code = state["finding"]["code"]
    counts = state["tally"]["confirmed"]
    count = counts.get(code, 0) + 1
    confirmed = {name: counts[name] for name in counts}
    confirmed[code] = count
    effects = [
        write("finding", decided_by=event.member),
        write("tally", confirmed=confirmed),
        close_finding("finding"),
    ]
    if count >= env.params["refer_repeats"]["strict"]:
        effects.append(alert("repeated", which=code, count=count, open=env.params["refer_repeats"]["open"]))
    return effects


def on_finding_dismiss(event, state, env):
    refused = barred(event, state, env)
    if refused is not None:
        return refused
    return [
        write("finding", decided_by=event.member),
        write("tally", dismissed=state["tally"]["dismissed"] + 1),
        close_finding("finding"),
    ]


def on_order_issue(event, state, env):
    refused = not_decider(event, state, env)
    if refused is not None:
        return refused
    due = working_days(env, event.body["days"])
    return [
        write("finding", overdue=False),
        write("tally", ordered=state["tally"]["ordered"] + 1),
        duty("H1", by=state["finding"]["about"], on="finding", due=due, kinds=["order.report"]),
    ]


def on_order_report(event, state, env):
    return write("finding", reported_key=env.signer.key)


def on_order_accept(event, state, env):
    refused = not_decider(event, state, env)
    if refused is not None:
        return refused
    if state["finding"].get("reported_key") is None:
        return refuse("no-report")
    if state["finding"]["reported_key"] == env.signer.key:
        return refuse("same-key")
    return write("tally", corrected=state["tally"]["corrected"] + 1)


def on_refer_record(event, state, env):
    refused = not_decider(event, state, env)
    if refused is not None:
        return refused
    match event.body["ground"]:
        case "not-corrected":
            if not state["finding"].get("overdue", False):
                return refuse("not-overdue")
        case "repeat":
            count = state["tally"]["confirmed"].get(state["finding"]["code"], 0)
            if count < env.params["refer_repeats"]["strict"]:
                return refuse("not-repeated", count=count)
    return write("tally", referred=state["tally"]["referred"] + 1)


def on_drill_record(event, state, env):
    return write("tally", drills=state["tally"]["drills"] + 1)


def on_train_record(event, state, env):
    return write("tally", trained=state["tally"]["trained"] + event.body["persons"])


def on_timer_H1(timer, state, env):
    late = alert("order-overdue", about=state["finding"]["about"], which=state["finding"]["code"])
    return [write("finding", overdue=True), late]


# Whose copy came later, or was gone before by the word of two keys, did not hold it then.
def held_then(copy, found):
    gone = copy["status"] == "verified" and copy["disposed"] < found
    return not gone and copy.get("since", 0) <= found


def may_inspect(event, state, env):
    grant = state["grant"]
    if grant is not None and [grant["provider"], grant["user"]] == [event.member, event.body["about"]]:
        return True
    return any([role in INSPECTORS for role in env.signer.roles])


def barred(event, state, env):
    inspection = state["inspection"]
    if inspection is not None and inspection["by_key"] == env.signer.key:
        return refuse("same-key")
    on = state["finding"].get("on")
    if on is not None:
        kind = on.split("/")[0]
        if event.refs.get(kind) != on.removeprefix(f"{kind}/"):
            return refuse("object-not-named", object=on)
    return not_decider(event, state, env)


def not_decider(event, state, env):
    about = state["finding"]["about"]
    if not any([role in DECIDERS for role in env.signer.roles]):
        return refuse("not-authority")
    if event.member == about:
        return refuse("own-cause")
    if event.body["about"] != about:
        return refuse("about-wrong", about=about)
    return None


def inspected(code, about):
    match code:
        case "D809/39-1":
            return finding("D809/39-1", about=about, on="inspection")
        case "D809/39-2":
            return finding("D809/39-2", about=about, on="inspection")
        case "D809/39-3":
            return finding("D809/39-3", about=about, on="inspection")
        case "D809/39-4":
            return finding("D809/39-4", about=about, on="inspection")
        case "D809/39-5":
            return finding("D809/39-5", about=about, on="inspection")
        case "D809/39-6":
            return finding("D809/39-6", about=about, on="inspection")
        case "D809/39-7":
            return finding("D809/39-7", about=about, on="inspection")
        case "D809/39-8":
            return finding("D809/39-8", about=about, on="inspection")
        case "D809/39-9":
            return finding("D809/39-9", about=about, on="inspection")
        case "D809/40-1":
            return finding("D809/40-1", about=about, on="inspection")
        case "D809/40-2":
            return finding("D809/40-2", about=about, on="inspection")
        case "D809/40-3":
            return finding("D809/40-3", about=about, on="inspection")
        case "D809/40-4":
            return finding("D809/40-4", about=about, on="inspection")
        case "D809/40-5":
            return finding("D809/40-5", about=about, on="inspection")
        case "D809/40-6":
            return finding("D809/40-6", about=about, on="inspection")
        case "D809/40-7":
            return finding("D809/40-7", about=about, on="inspection")
        case "D809/41-1":
            return finding("D809/41-1", about=about, on="inspection")
        case "D809/41-2":
            return finding("D809/41-2", about=about, on="inspection")
        case "D809/41-3":
            return finding("D809/41-3", about=about, on="inspection")
    return finding("D809/42", about=about, on="inspection")
