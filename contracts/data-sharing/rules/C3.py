"""C3 来源链条不断 · Unbroken lineage. Decree 809 Art. 19, 25; NDSR Art. 12.

Where data comes from is settled when it is made, and inherited: an entry is lawful when the collection of its data
cited power and procedure; a copy is as good as what it was taken or derived from, to any depth, and a supply to
somebody who may not have it is unlawful. To derive from, release or settle what is of unlawful origin is a breach or
refused; what was never recorded, or imported as history, is marked broken, and using it is an alert.

数据的来源在数据形成时确定，并由此承继：收集数据载明法定职权和法定程序的，目录条目的来源合法；副本的来源与其取自或者
衍生自的数据相同，不论经过多少层；提供给无权取得的一方的，来源违规。对来源违规的数据进行衍生、开放或者结算的，记为不
合规或者予以拒绝；来源从未记录，或者作为历史记录导入的，标记为来源链条不完整，使用时予以提醒。
"""

IN_FORCE = ["published", "change_due", "change_overdue", "updated"]


def on_collect_done(event, state, env):
    if state["dataset"].get("origin") == "unlawful":
        return None
    cited = event.body.get("power") is not None and event.body.get("procedure") is not None
    return write("dataset", origin="lawful" if cited else "unlawful")


def on_import_batch(event, state, env):
    if event.body["stage"] == "collect" and state["dataset"].get("origin") is None:
        return write("dataset", origin="imported")


def on_share_deliver(event, state, env):
    source = state["copy"]
    if source is not None and is_other(event, source):
        return [
            kept("unlawful"),
            breach("D809/40-7", about=event.member, on="copy", held=source["holder"], what="entry"),
        ]
    if not entitled(event, state, env):
        return kept("unlawful")
    if source is not None:
        return kept(inherited([source]))
    origin = inherited([state["dataset"]])
    if state["grant"] is None:
        return kept(origin)
    return [kept(origin), write("grant", origin=origin)]


def on_backflow_deliver(event, state, env):
    origin = inherited([state["dataset"]])
    return write("copy", origin=origin, origin_ok=origin == "lawful")


def on_custody_found(event, state, env):
    return write("copy", origin="unlawful", origin_ok=False)


def on_use_derive(event, state, env):
    return derived(event, state)


def on_use_analyze(event, state, env):
    return derived(event, state)


def on_open_release(event, state, env):
    released = state["dataset"] if state["copy"] is None else state["copy"]
    origin = inherited([released])
    if origin == "unlawful" and event.member == released.get("provider"):
        return breach("D809/39-9", about=event.member, on="dataset", held=event.member, what="origin")
    if origin == "unlawful":
        return breach("D809/40-7", about=event.member, on="dataset", held=event.member, what="origin")
    return broken(origin)


def on_settle_settle(event, state, env):
    origin = inherited([state["grant"]])
    if origin == "unlawful":
        return refuse("lineage-unlawful")
    return broken(origin)


def derived(event, state):
    origin = inherited(state["copy"].values())
    effects = [kept(origin)]
    if origin == "unlawful":
        effects.append(breach("D809/40-7", about=event.member, on="new", held=event.member, what="origin"))
    elif origin != "lawful":
        effects.append(broken(origin))
    return effects


# Under a grant the entry named is that of the grant; of a copy under none it is one of those that it comes from.
def is_other(event, source):
    if source.get("grant") is not None or "many" in source["sources"]:
        return False
    return event.refs["dataset"] not in source["sources"]


# To whom a copy may go is for B2 to say; who got it otherwise holds it unlawfully.
def entitled(event, state, env):
    grant = state["grant"]
    receiver = event.body["to"]
    if is_entrusted(event, state):
        return True
    if grant is not None:
        return receiver in grant["onward"] or (state["copy"] is None and receiver == grant["user"])
    if state["copy"] is not None or state["obligor"] is None or state["dataset"]["sharing"] != "unconditional":
        return False
    if state["dataset"]["status"] not in IN_FORCE:
        return False
    return state["obligor"]["attributes"].get("jurisdiction", "") in env.params["local.unapplied"]


# Under no grant somebody entrusts only its own: the provider, or the holder of a copy that was returned to it.
def is_entrusted(event, state):
    held = state["entrustment"]
    if held is None or held["status"] != "active" or event.body["to"] != held["processor"]:
        return False
    if state["grant"] is not None:
        return True
    own = state["dataset"] if state["copy"] is None else state["copy"]
    if held["principal"] == own.get("holder") and own.get("entrustment") is not None:
        # What is held for somebody is no holder's own: it is passed on only by that one's consent (A10).
        return own["entrustment"] in [event.refs["entrustment"], held.get("parent")]
    return held["grant"] is None and held["principal"] in [own["provider"], own.get("holder")]


def inherited(sources):
    # The worst of the sources; what has no origin was never recorded.
    origins = [source.get("origin", "unrecorded") for source in sources]
    for word in ["unlawful", "imported", "unrecorded"]:
        if word in origins:
            return word
    return "lawful"


def kept(origin):
    return write("new", origin=origin, origin_ok=origin == "lawful")


def broken(origin):
    if origin == "lawful":
        return None
    return alert("lineage-broken", origin=origin)
