"""A9 重要数据、核心数据和数据出境 · Important, core and cross-border data. NDSR Art. 31, 33, 37; DSL Art. 21; PIPL Art. 36.

Before important data are supplied, entrusted or opened there is a risk assessment of them by who does so, or (where they
are supplied or entrusted) the statutory duty that exempts from it is recorded (Art. 31); analysis without one is an
alert, for the law does not name it. Core data also need a separate approval by an authority or regulator. Personal
information and important data, and what is analysed from them, go abroad, or are kept there, only with the number of a
security assessment by the CAC. The provider of an entry of important data reports a risk assessment each year (Art. 33):
the clock starts when the entry is announced or graded as such, and each report starts it anew.

提供、委托处理或者开放重要数据前，由实施该行为的部门对该数据进行风险评估，或者依照《网络数据安全管理条例》第三十一条，
记录据以免于评估的法定职责或者法定义务（开放不适用）；未经评估而分析的，予以提醒，因法律未列明分析。核心数据还应当经主
管部门或者监管部门单独审批。个人信息和重要数据，以及对其分析所得的结果，具有国家网信部门数据出境安全评估编号的，方可向
境外提供或者在境外存储。重要数据条目的数据提供部门每年报送风险评估报告（第三十三条）：期限自目录条目发布或者定为重要、
核心数据时起算，每次报送后重新起算。
"""

GRADED = ["important", "core"]


def on_share_deliver(event, state, env):
    entry = state["dataset"]
    held = state["entrustment"]
    supplier = event.member if held is None else held["principal"]
    # The assessment was due when the processing was entrusted.
    to_processor = held is not None and event.body["to"] == held["processor"]
    source = state["copy"]
    kept = [found for found in [entry, source] if found is not None]
    names = [event.refs["dataset"]] + (source["sources"] if source is not None else [])
    core = any([found["level"] == "core" for found in kept])
    graded = any([found["level"] in GRADED for found in kept])
    effects = []
    if graded and not to_processor and not is_exempt(event):
        if not any([is_assessed(state, name, supplier, event.time) for name in names]):
            effects.append(breach("NDSR/31", about=supplier, on="dataset"))
    if core and not any([is_approved(state, name, event.time) for name in names]):
        effects.append(breach("DSL/21", about=supplier, on="dataset"))
    if event.body.get("abroad", False) and event.body.get("cac_id") is None:
        if graded:
            effects.append(breach("NDSR/37", about=supplier, on="dataset"))
        elif any([found.get("pi") in ["pi", "sensitive"] for found in kept]):
            effects.append(breach("PIPL/36", about=supplier, on="dataset"))
    return effects


def on_open_release(event, state, env):
    entry = state["dataset"]
    effects = []
    if entry["level"] in GRADED and not is_assessed(state, event.refs["dataset"], event.member, event.time):
        effects.append(breach("NDSR/31", about=event.member, on="dataset"))
    if entry["level"] == "core" and not is_approved(state, event.refs["dataset"], event.time):
        effects.append(breach("DSL/21", about=event.member, on="dataset"))
    return effects


def on_use_analyze(event, state, env):
    parents = [copy for copy in state["copy"].values()]
    graded = any([copy.get("level") in GRADED for copy in parents])
    effects = []
    if graded and not any([is_assessed(state, name, event.member, event.time) for name in sources_of(parents)]):
        effects.append(alert("important-analysis"))
    if event.body.get("cross_border", False) and event.body.get("cac_id") is None:
        if graded or event.body["level"] in GRADED:
            effects.append(breach("NDSR/37", about=event.member, on="new"))
        elif any([copy.get("pi") in ["pi", "sensitive"] for copy in parents]):
            effects.append(breach("PIPL/36", about=event.member, on="new"))
    return effects


def on_data_store(event, state, env):
    return kept_abroad(event, state)


def on_data_archive(event, state, env):
    return kept_abroad(event, state)


def kept_abroad(event, state):
    if event.body["place"] != "abroad" or event.body.get("cac_id") is not None:
        return None
    kept = [found for found in [state["copy"], state["dataset"]] if found is not None]
    if any([found.get("level") in GRADED for found in kept]):
        return breach("NDSR/37", about=event.member)
    if any([found.get("pi") in ["pi", "sensitive"] for found in kept]):
        return breach("PIPL/36", about=event.member)
    return None


def sources_of(parents):
    return [name for copy in parents for name in copy["sources"]]


def on_entrust_approve(event, state, env):
    level = state["dataset"]["level"]
    if level in GRADED and not is_exempt(event):
        if not is_assessed(state, event.refs["dataset"], event.member, env.now):
            return refuse("important-no-assessment")
    if level == "core" and not is_approved(state, event.refs["dataset"], env.now):
        return refuse("core-no-approval")


def on_catalog_publish(event, state, env):
    entry = state["dataset"]
    updated = entry["status"] == "updated" and state["revision"]["level"] in GRADED
    return start_clock(entry, updated or entry["level"] in GRADED, env)


def on_class_change(event, state, env):
    return start_clock(state["dataset"], event.body["level"] in GRADED, env)


def start_clock(entry, graded, env):
    if not graded or entry["risk_clock"]:
        return None
    return [write("dataset", risk_clock=True), report_duty(entry, env)]


def on_assess_record(event, state, env):
    entry = state["dataset"]
    if entry is None or not entry["risk_clock"] or event.body["type"] != "risk" or event.member != entry["provider"]:
        return None
    return [discharge("A9", on="dataset"), report_duty(entry, env)]


def on_timer_A9(timer, state, env):
    entry = state["dataset"]
    if entry["level"] not in GRADED:
        return write("dataset", risk_clock=False)
    return [finding("NDSR/33", about=entry["provider"], on="dataset"), report_duty(entry, env)]


def report_duty(entry, env):
    return duty("A9", by=entry["provider"], on="dataset", due=years(env, env.params["risk_report_years"]))


def is_exempt(event):
    return event.body.get("exemption") is not None


def is_assessed(state, dataset, member, time):
    made = [found for found in state["assessment"].values() if found["type"] == "risk" and found["member"] == member]
    return any([is_valid(found, dataset, time) for found in made])


def is_approved(state, dataset, time):
    made = [found for found in state["assessment"].values() if found["type"] == "core-approval" and found["official"]]
    return any([is_valid(found, dataset, time) for found in made])


def is_valid(found, dataset, time):
    return found["result"] != "failed" and found["until"] > time and found["dataset"] == dataset
