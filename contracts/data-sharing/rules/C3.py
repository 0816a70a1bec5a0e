"""C3 来源链条不断 · Unbroken lineage. Decree 809 Art. 19, 25; NDSR Art. 12.

Where data comes from is settled when it is made, and inherited: an entry is lawful when the collection of its data cited
power and procedure; a copy is as good as what it was taken or derived from, to any depth, and a supply to somebody who
may not have it, under each of its grants and while they run (B2), is unlawful. To derive from, release or settle what is
of unlawful origin is a breach or refused; what was never recorded, or imported as history, is marked broken, and deriving
from, analysing, releasing or settling it is an alert. A supply under an entry that the copy does not come from is a
breach.

数据的来源在数据形成时确定，并由此承继：收集数据载明法定职权和法定程序的，目录条目的来源合法；副本的来源与其取自或者衍
生自的数据相同，不论经过多少层；提供给依B2无权取得的一方的（须每一项所属授权均允许，且在其有效期间），来源违规。对来源
违规的数据进行衍生、开放或者结算的，记为不合规或者予以拒绝；来源从未记录，或者作为历史记录导入的，标记为来源链条不完整，
对其衍生、分析、开放或者结算的，予以提醒。以副本所不源自的目录条目提供的，记为不合规。
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
    if is_allowed(event, state):
        return True
    if state["grant"] is not None:
        return state["copy"] is None and event.body["to"] == state["grant"]["user"]
    if state["copy"] is not None or state["obligor"] is None or state["dataset"]["sharing"] != "unconditional":
        return False
    if state["dataset"]["status"] not in IN_FORCE:
        return False
    return state["obligor"]["attributes"].get("jurisdiction", "") in env.params["local.unapplied"]


# Every grant that the data stands under allows the receiver.
def is_allowed(event, state):
    grants = {name: root for name, root in state["root"].items() if state["copy"] is not None}
    if state["grant"] is not None:
        grants[event.refs["grant"]] = state["grant"]
    if not grants:
        return is_entrusted(event, state) and is_own(event, state)
    return all([allows(name, grants[name], event, state) for name in grants])


# A provider's own delivery, late as it may be, is taken from no copy: it is no supply onward under what is over.
def allows(name, grant, event, state):
    if state["copy"] is not None and is_over(grant, event.time):
        return False
    if event.body["to"] in grant["onward"]:
        return True
    return is_entrusted(event, state) and is_under(state["entrustment"], name, grant)


# By the earliest end or in a suspension, as B1 has it.
def is_over(grant, time):
    ends = [grant["until"], grant.get("emergency_until"), grant.get("ended")]
    if grant.get("change") == "end":
        ends.append(grant.get("change_at"))
    if any([end is not None and time >= end for end in ends]):
        return True
    suspended = grant.get("suspended_at")
    resumed = grant.get("resumed_at")
    return suspended is not None and suspended <= time and (resumed is None or time < resumed)


def is_entrusted(event, state):
    held = state["entrustment"]
    return held is not None and held["status"] == "active" and event.body["to"] == held["processor"]


# Entrusted under this very grant, or by the provider as its own.
def is_under(held, name, grant):
    return held["grant"] == name or (held["grant"] is None and held["principal"] == grant["provider"])


# Under no grant somebody entrusts only its own: the provider, or the holder of a copy that was returned to it.
def is_own(event, state):
    held = state["entrustment"]
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
