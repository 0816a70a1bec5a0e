"""A10 委托处理 · Entrusted processing. Decree 809 Art. 36; NDSR Art. 12, 15, 16; PIPL Art. 21.

A head approves the entrustment after an assessment, by a contract that says for what purpose, which items, by which
operations and until when. The processor, or a key of the department with the role `processor`, names the entrustment
in each act; what lies outside it, or after it, is irregular. A processor entrusts nobody, passes nothing on and links
no entries without the principal's consent, nor entrusts as its own what it holds for somebody; what it derives is held under the entrustment too. When it ends,
everything is returned or deleted: it closes when no copy is left with the processor and the principal has checked
that with another key than the one that ended it. The law sets no term for the check or the return.

委托处理经评估后由负责人批准，并以合同约定处理目的、数据项、处理方式和期限。受托方，
或者委托方具有 `processor` 角色的密钥，应当在每次行为中列明该委托；超出委托或者在委托终止后实施的，记为不合规。
未经委托方同意，受托方不得转委托，不得转供，不得将多个目录条目关联分析，也不得将代他人持有的数据作为自有数据再行委托；其衍生的数据同样按该委托持有。委托终止的，
全部数据应当返还或者删除：受托方不再持有任何副本，且委托方以不同于终止委托所用的密钥核实后，委托办结。
法律未规定监督检查的期限，也未规定返还的期限。
"""

DAY = 86400000
ASSESSED = ["security", "risk", "pi-impact"]
OPEN_TO_PROCESSORS = [
    "share.deliver",
    "share.receive",
    "use.access",
    "use.analyze",
    "use.derive",
    "data.store",
    "data.manage",
    "data.archive",
    "dispose.done",
    "entrust.end",
]


def on_any(event, state, env):
    if "processor" in env.signer.roles and event.kind not in OPEN_TO_PROCESSORS:
        return breach("NDSR/16", what=["kind"])


def on_entrust_approve(event, state, env):
    body = event.body
    parent = state["under"]
    made = [found for found in state["assessment"].values() if found["type"] in ASSESSED]
    valid = [found for found in made if is_valid_assessment(found, event, env.now)]
    if "office-head" not in env.signer.roles and "dept-head" not in env.signer.roles:
        return refuse("head-consent", role="office-head")
    if event.refs["member"] == event.member:
        return refuse("own-processor")
    if not valid:
        return refuse("entrust-no-assessment")
    if parent is not None and not is_sub_allowed(parent, event, env.now):
        return refuse("sub-entrustment")
    if parent is None and state["grant"] is not None and state["grant"]["user"] != event.member:
        return refuse("not-yours")
    return [
        write("entrustment", principal=event.member, processor=event.refs["member"], dataset=event.refs["dataset"]),
        write("entrustment", grant=event.refs.get("grant"), parent=event.refs.get("under")),
        write("entrustment", purpose=body["purpose"], items=body["items"], operations=body["operations"]),
        write("entrustment", sub=body.get("sub", []), linkage=body.get("linkage", False)),
        write("entrustment", until=ms(body["until"]) + DAY),
        set_timer("A10.term", on="entrustment", due=ms(body["until"]) + DAY),
        set_timer("A10.check", on="entrustment", due=check_term(env)),
    ]


def on_share_apply(event, state, env):
    held = state["entrustment"]
    filed = write("application", entrustment=event.refs.get("entrustment"))
    if held is None:
        return filed
    mine = held["principal"] == event.member and held["dataset"] == event.refs["dataset"]
    if not mine or held["grant"] is not None or not is_live(held, env.now):
        return refuse("entrustment-unfit")
    return filed


def on_share_approve(event, state, env):
    if state["entrustment"] is not None:
        return write("entrustment", grant=event.name)


def on_use_access(event, state, env):
    held = state["entrustment"]
    if held is None:
        return unnamed(event, env)
    faults = outside(held, event.refs, [state["grant"]["provider"]], event.time)
    if event.body["purpose"] != held["purpose"]:
        faults = faults + ["purpose"]
    return beyond(event, faults + amiss(held, "access", event.body["items"]))


def on_data_store(event, state, env):
    kept = [write("copy", place=event.body["place"])] if state["copy"] is not None else []
    return kept + [keep(event, state, env, "store", [])]


def on_data_manage(event, state, env):
    return keep(event, state, env, "manage", event.body.get("items", []))


def on_data_archive(event, state, env):
    kept = [write("copy", place=event.body["place"])] if state["copy"] is not None else []
    return kept + [keep(event, state, env, "archive", [])]


def keep(event, state, env, operation, items):
    held = state["entrustment"]
    if held is None:
        return unnamed(event, env)
    refs = {name: event.refs[name] for name in ["dataset", "for"] if name in event.refs}
    kept = state["dataset"]
    if state["copy"] is not None:
        kept = state["copy"]
        refs["dataset"] = kept["dataset"]
        refs["grant"] = kept["grant"]
    owners = [held["principal"]] if kept is None else owners_of(event, held, kept)
    return beyond(event, outside(held, refs, owners, event.time) + amiss(held, operation, items))


def on_share_deliver(event, state, env):
    held = state["entrustment"]
    source = state["copy"]
    if held is None and source is not None and source.get("entrustment") is not None:
        return breach("PIPL/21", about=event.member, on="copy", to=event.body["to"])
    if held is None:
        return unnamed(event, env)
    passed = is_passed_on(event, held, source)
    refs = {name: event.refs[name] for name in ["dataset", "for"] if name in event.refs}
    refs["grant"] = event.refs.get("grant")
    owners = [state["dataset"]["provider"]]
    if state["grant"] is not None:
        owners = [state["grant"]["provider"]]
    elif source is not None:
        owners = owners_of(event, held, source)
    faults = outside(held, refs, owners, event.time)
    if event.body["to"] != held["processor"]:
        return beyond(event, faults + amiss(held, "deliver", []))
    kept = [write("new", entrustment=event.refs["entrustment"])] + taken(held) + [beyond(event, faults)]
    return kept + ([breach("PIPL/21", about=event.member, on="copy", to=event.body["to"])] if passed else [])


# A processor entrusts as its own what it holds for somebody, without that one's consent.
def is_passed_on(event, held, source):
    if source is None or source.get("entrustment") is None or held["principal"] != source["holder"]:
        return False
    return source["entrustment"] not in [event.refs["entrustment"], held.get("parent")]


def on_use_derive(event, state, env):
    return derived(event, state, env)


def on_use_analyze(event, state, env):
    return derived(event, state, env)


def derived(event, state, env):
    held = state["entrustment"]
    parents = [found for found in state["copy"].values()]
    under = [found.get("entrustment") for found in parents if found.get("entrustment") is not None]
    if held is None:
        return breach("NDSR/16", about=event.member, what=["entrustment"]) if under else unnamed(event, env)
    # Whose it is follows from what is held under this entrustment, however the copies are called.
    mine = [found for found in parents if found.get("entrustment") == event.refs["entrustment"]]
    chief = mine[0] if mine else parents[0]
    grants = [found.get("grant") for found in parents]
    named = {"grant": held["grant"] if held["grant"] in grants else grants[0]}
    named["for"] = event.refs.get("for", held["principal"])
    faults = outside(held, named, owners_of(event, held, chief), event.time) + amiss(held, "analyze", [])
    if any([name != event.refs["entrustment"] for name in under]):
        faults = faults + ["copy"]
    if sources_of(parents) > 1 and not held["linkage"]:
        faults = faults + ["linkage"]
    return [write("new", entrustment=event.refs["entrustment"])] + taken(held) + [beyond(event, faults)]


# One copy more with the processor. What comes to it after all was given back is to be given back and checked as well.
def taken(held):
    counted = write("entrustment", copies=held["copies"] + 1, returned=False)
    if held["status"] != "closed":
        return [counted]
    return [counted, move("entrustment", "reopen"), duty("A10", by=held["principal"], on="entrustment", due=None)]


def sources_of(parents):
    found = {}
    for parent in parents:
        for source in parent["sources"] if parent["sources"] else [parent["dataset"]]:
            found[source] = True
    return len(found) + (1 if "many" in found else 0)


def on_dispose_verify(event, state, env):
    return gone(state["entrustment"])


def on_custody_release(event, state, env):
    return gone(state["entrustment"])


def gone(held):
    if held is None:
        return None
    left = held["copies"] - 1
    return [write("entrustment", copies=left)] + (closing() if is_over(held, left, held["returned"]) else [])


def on_entrust_check(event, state, env):
    held = state["entrustment"]
    again = check_term(env)
    checked = [write("entrustment", checked=event.time), set_timer("A10.check", on="entrustment", due=again)]
    if held["status"] not in ["ended", "closed"]:
        return checked + [alert("entrust-problems") if event.body["result"] == "problems" else None]
    if held["status"] == "closed" or event.body["result"] == "problems":
        return [write("entrustment", checked=event.time), alert("entrust-problems")]
    if env.signer.key == held.get("end_key"):
        return [write("entrustment", checked=event.time), alert("entrust-same-key")]
    returned = write("entrustment", checked=event.time, returned=True)
    return [returned] + (closing() if is_over(held, held["copies"], True) else [])


def on_entrust_end(event, state, env):
    held = state["entrustment"]
    if held["status"] not in ["active", "expired"]:
        return None
    slow = working_days(env, env.params["entrust_return_days"]["strict"])
    return [
        write("entrustment", end_key=env.signer.key),
        clear_timer("A10.term", on="entrustment"),
        clear_timer("A10.check", on="entrustment"),
        discharge("A10.end", on="entrustment"),
        duty("A10", by=held["principal"], on="entrustment", due=None),
        set_timer("A10.slow", on="entrustment", due=slow),
    ]


def on_timer_A10_term(timer, state, env):
    if state["entrustment"]["status"] == "active":
        by = state["entrustment"]["principal"]
        return [move("entrustment", "expire"), duty("A10.end", by=by, on="entrustment", due=None)]


def on_timer_A10_check(timer, state, env):
    if state["entrustment"]["status"] in ["active", "expired"]:
        again = check_term(env)
        return [
            alert("entrust-unchecked", open=env.params["entrust_check_months"]["open"]),
            set_timer("A10.check", on="entrustment", due=again),
        ]


def on_timer_A10_slow(timer, state, env):
    if state["entrustment"]["status"] == "ended":
        return alert(
            "entrust-slow", open=env.params["entrust_return_days"]["open"], copies=state["entrustment"]["copies"]
        )


def closing():
    return [
        discharge("A10", on="entrustment"),
        clear_timer("A10.slow", on="entrustment"),
        move("entrustment", "close"),
    ]


def is_over(held, copies, returned):
    return held["status"] == "ended" and copies == 0 and returned


def is_live(held, time):
    return held["status"] == "active" and time < held["until"]


def is_valid_assessment(found, event, time):
    mine = found["member"] == event.member and found["dataset"] == event.refs["dataset"]
    return mine and found["result"] != "failed" and found["until"] > time


def is_sub_allowed(parent, event, time):
    # With the principal's consent (PIPL Art. 21), of the same data, and not for longer.
    if parent["processor"] != event.member or event.refs["member"] not in parent["sub"]:
        return False
    same = parent["dataset"] == event.refs["dataset"] and parent["grant"] == event.refs.get("grant")
    return same and is_live(parent, time) and ms(event.body["until"]) + DAY <= parent["until"]


# Who entrusts without a grant: the provider; of a copy that was returned also its holder, and what the processor then
# holds of it is that holder's.
def owners_of(event, held, kept):
    if kept.get("grant") is not None or kept.get("holder") is None:
        return [kept["provider"]]
    if kept.get("entrustment") == event.refs["entrustment"]:
        return [kept["provider"], held["principal"]]
    return [kept["provider"], kept["holder"]]


def outside(held, refs, owners, time):
    faults = []
    if not is_live(held, time):
        faults.append("not-live")
    if refs.get("for", held["principal"]) != held["principal"]:
        faults.append("for")
    if refs.get("dataset", held["dataset"]) != held["dataset"]:
        faults.append("dataset")
    own = held["grant"] is None and held["principal"] in owners
    if not own and (held["grant"] is None or refs.get("grant", held["grant"]) != held["grant"]):
        faults.append("grant")
    return faults


def amiss(held, operation, items):
    faults = []
    if operation not in held["operations"]:
        faults.append("operation")
    if not all([item in held["items"] for item in items]):
        faults.append("items")
    return faults


def beyond(event, faults):
    if faults:
        return breach("NDSR/16", about=event.member, on="entrustment", what=faults)
    return None


def unnamed(event, env):
    if "processor" in env.signer.roles:
        return breach("NDSR/16", about=event.member, what=["entrustment"])
    return None


def check_term(env):
    return months(env, env.params["entrust_check_months"]["strict"])
