"""A6 不得重复收集 · No repeated collection. Decree 809 Art. 19; Decree 716 Art. 7.

What is published for sharing is kept in an index by item and synonym: a publication that leaves items unnamed is refused,
for the ban could not see them; beyond the thirty-two that one event can name, and where an item has no room for another
provider, the rest is an alert. A department that collects an item which another offers is a candidate finding, unless it
shows that sharing cannot serve: its application was denied or left unanswered, the delivery is overdue, or an assessment
says that the shared data are unfit. The claimed time of the collection decides: a denial or an overdue answer counts from
then until the provider consents or the application is withdrawn, also while it is disputed, and while a consent that a
data authority gave too late is not carried out; an overdue delivery, whenever the collection was, until the data come or
the grant ends. Asked beforehand, such a collection is refused; one that happened stays on record and is to be justified
(the law sets no term). One proof against one entry is enough for there to be no finding; whether the other entries would
have served is left open and is an alert.

为共享而发布的内容，按数据项及其同义数据项编入索引：发布时遗漏数据项未列明的，予以拒绝，否则无从适用不得重复收集的规定；
超出一个事件所能列明的三十二个数据项的部分，以及数据项的索引已无余量再列入其他数据提供部门的，予以提醒。部门收集其他部
门可以共享的数据项的，形成涉嫌重复收集线索，但能够证明通过共享无法满足需要的除外：其共享申请被答复不同意或者逾期未获答
复，数据逾期未提供，或者评估认定所共享的数据不适用。以收集行为所称的发生时间为准：答复不同意或者逾期未答复的，自其时起，
至数据提供部门同意或者申请撤回时止，均可作为证明，争议期间以及数据管理机构逾期同意而尚未落实期间亦同；数据逾期未提供的，
无论收集何时发生，至数据提供或者授权终止时止。事前询问此类收集的，予以拒绝；已经收集的，记录在案，并应当说明理由（法律
未规定期限）。就其中一个目录条目有一项证明的，即不形成线索；其他目录条目能否满足需要，不作认定，予以提醒。
"""

NAMED = 32  # items that one publication can name
OWN = 4  # entries of one provider that are kept for one item: the ban asks whether another department offers it
ROOM = 2048  # of the names kept for one item


def on_catalog_publish(event, state, env):
    before = state["dataset"]
    entry = state["revision"] if before["status"] == "updated" else before
    named = event.refs.get("item", [])
    items = state["item"]
    if absent(before["indexed"], named):
        return refuse("index-left", items=len(before["indexed"]))
    if lacks_synonyms(items, named):
        return refuse("synonyms-left")
    held = [one for one in named if is_in(entry, one, items[one])]
    foreign = absent(absent(named, held), before["indexed"])
    if foreign:
        return refuse("item-not-in-entry", items=len(foreign))
    offered = held if entry["sharing"] != "refused" else []
    effects = [write("dataset", indexed=offered)]
    full = []
    for name in named:
        offers = {other: by for other, by in items[name]["offers"].items() if other != event.refs["dataset"]}
        if name in offered and has_room(offers, event.refs["dataset"], before["provider"]):
            offers[event.refs["dataset"]] = before["provider"]
        elif name in offered and before["provider"] not in offers.values():
            full.append(name)
        effects.append(write("item", name, offers=offers))
    unnamed = absent(entry["items"], named)
    if unnamed and entry["sharing"] != "refused" and len(named) < NAMED:
        return refuse("items-left", items=unnamed[:4])
    if unnamed and entry["sharing"] != "refused":
        effects.append(alert("not-indexed", items=len(unnamed)))
    if full:
        effects.append(alert("not-indexed", items=len(full)))
    return effects


def has_room(offers, entry, provider):
    kept = sum([len(other) + len(by) for other, by in offers.items()])
    own = [other for other, by in offers.items() if by == provider]
    return len(own) < OWN and kept + len(entry) + len(provider) <= ROOM


def on_catalog_withdraw(event, state, env):
    named = event.refs.get("item", [])
    if absent(state["dataset"]["indexed"], named) or lacks_synonyms(state["item"], named):
        return refuse("index-left", items=len(state["dataset"]["indexed"]))
    effects = [write("dataset", indexed=[])]
    for name in named:
        before = state["item"][name]["offers"]
        offers = {other: by for other, by in before.items() if other != event.refs["dataset"]}
        effects.append(write("item", name, offers=offers))
    return effects


def on_item_synonym(event, state, env):
    items = state["item"]
    named = event.refs["item"]
    if "authority" not in env.signer.roles:
        return refuse("not-authority")
    if len(named) < 2:
        return refuse("synonyms-two")
    if lacks_synonyms(items, named):
        return refuse("synonyms-left")
    offers = {}
    full = 0
    for name in named:
        for entry, provider in items[name]["offers"].items():
            if entry not in offers and has_room(offers, entry, provider):
                offers[entry] = provider
            elif provider not in offers.values():
                full = full + 1
    kept = [alert("not-indexed", items=full)] if full else []
    return kept + [write("item", one, offers=offers, synonyms=absent(named, [one])) for one in named]


def on_collect_done(event, state, env):
    repeated = []
    others = 0
    for name in event.refs["item"]:
        offers = [entry for entry, by in state["item"][name]["offers"].items() if by != event.member]
        proofs = [one for one in offers if is_shown_unable(one, event, state)]
        if offers and not proofs:
            repeated.append(name)
        elif len(offers) > len(proofs):
            others = others + 1
    effects = []
    if others:
        effects.append(alert("other-offers", items=others))
    if lacks_synonyms(state["item"], event.refs["item"]):
        effects.append(alert("synonyms-unnamed"))
    for name in repeated:
        effects.append(breach("D809/40-1", about=event.member, on="item", of=name, item=name))
    if repeated:
        effects.append(duty("A6", by=event.member, on="dataset", due=None, kinds=["collect.justify"]))
    return effects


def is_shown_unable(entry, event, state):
    application = state["application"]
    grant = state["grant"]
    assessment = state["assessment"]
    if application is not None and application["dataset"] == entry and application["applicant"] == event.member:
        if is_left(application, event.time):
            return True
    if grant is not None and grant["dataset"] == entry and grant["user"] == event.member:
        if grant["late"] and (grant["status"] == "agreed" or event.time < grant.get("delivered", 0)):
            return True
    if assessment is None or assessment["dataset"] != entry or assessment["type"] != "fitness":
        return False
    return assessment["result"] == "failed" and assessment["until"] > event.time


def is_left(application, time):
    since = [at for at in [application.get("failed"), application.get("late")] if at is not None]
    if not since:
        # Nothing failed, or it did before these times were kept.
        return application["status"] in ["denied", "disputed", "overdue"]
    return min(since) <= time and time < application.get("closed", time + 1)


def is_in(entry, name, item):
    return name in entry["items"] or any([other in entry["items"] for other in item["synonyms"]])


def lacks_synonyms(items, named):
    return any([len(absent(items[name]["synonyms"], named)) > 0 for name in named])


def absent(wanted, named):
    return [name for name in wanted if name not in named]
