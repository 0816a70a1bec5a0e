"""B5 脱敏与可用不可见 · Masking; usable but not visible. PIPL Art. 51; Data Twenty Articles.

Who delivers items that are personal information says for each how it is masked, by the id of a profile that this rulebook
declares; `none-needed` is a profile too, and so a choice that is on record. An entry of personal information that does not
say which items are means all of them; an update that does not say keeps those that were, and what it adds counts as one of
them. What is opened carries a registered profile; personal information is opened neither
unmasked nor as raw rows (raw rows for operation: F4). It is the supplier's duty, whatever the receiver may do.

提供属于个人信息的数据项的，应当逐项说明如何脱敏，并以本规则集登记的脱敏方案代码表示；`none-needed` 也是一种方案，
因而属于记录在案的选择。含个人信息的目录条目未说明哪些数据项属于个人信息的，视为全部数据项；目录更新未说明的，
原属于个人信息的数据项不变，增加的数据项也计为个人信息。开放数据应当使用已登记的脱敏方案；个人信息不得未经脱敏开放，
也不得以原始记录开放（用于运营的原始记录，见 F4）。脱敏是提供方的义务，不因接收方可以从事何种处理而免除。
"""

PERSONAL = ["pi", "sensitive"]
PLAIN = "none-needed"


def on_catalog_draft(event, state, env):
    items = event.body.get("pi_items", [])
    unknown = [item for item in items if item not in event.body["items"]]
    if unknown:
        return refuse("no-such-item", items=unknown[:4])
    return write("dataset", pi_items=items)


def on_catalog_update(event, state, env):
    before = state["dataset"]
    added = [item for item in event.body["items"] if item not in before["items"]]
    kept = [item for item in before["pi_items"] if item in event.body["items"]]
    items = event.body.get("pi_items", kept + (added if kept else []))
    unknown = [item for item in items if item not in event.body["items"]]
    if unknown:
        return refuse("no-such-item", items=unknown[:4])
    return write("revision", pi_items=items)


def on_catalog_publish(event, state, env):
    if state["dataset"]["status"] == "updated":
        return write("dataset", pi_items=state["revision"]["pi_items"])


def on_share_deliver(event, state, env):
    declared = env.params["masking_profiles"]
    given = {entry["item"]: entry["profile"] for entry in event.body.get("masking", [])}
    unknown = [entry["profile"] for entry in event.body.get("masking", []) if entry["profile"] not in declared]
    if unknown:
        return breach("PIPL/51", about=event.member, on="dataset", held=event.member, unknown=unknown[:4])
    # Without a grant nothing but an entrustment says less than the whole entry.
    supplied = state["dataset"]["items"] if state["grant"] is None else state["grant"]["items"]
    held = state["entrustment"]
    if state["grant"] is None and held is not None and event.body["to"] == held["processor"]:
        supplied = held["items"]
    bare = [item for item in personal(state["dataset"]) if item in supplied and item not in given]
    if bare:
        return breach("PIPL/51", about=event.member, on="dataset", held=event.member, bare=bare[:4])


def on_data_manage(event, state, env):
    profile = event.body.get("masking")
    if profile is not None and profile not in env.params["masking_profiles"]:
        return breach("PIPL/51", about=event.member, held=event.member, unknown=[profile])


def on_open_publish(event, state, env):
    profile = event.body["masking"]
    if profile not in env.params["masking_profiles"]:
        return refuse("unknown-profile", profile=profile)
    bare = [item for item in personal(state["dataset"]) if item in event.body["items"]]
    if bare and profile == PLAIN:
        return refuse("unmasked", items=bare[:4])


def on_open_release(event, state, env):
    profile = event.body["masking"]
    if profile not in env.params["masking_profiles"]:
        return breach("PIPL/51", about=event.member, on="dataset", held=event.member, unknown=[profile])
    bare = [item for item in personal(state["dataset"]) if item in event.body["items"]]
    if bare and (profile == PLAIN or event.body["raw"]):
        return breach("PIPL/51", about=event.member, on="dataset", held=event.member, bare=bare[:4])


def personal(dataset):
    if dataset["pi_items"]:
        return dataset["pi_items"]
    return dataset["items"] if dataset.get("pi") in PERSONAL else []
