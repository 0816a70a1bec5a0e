"""A6 不得重复收集 · No repeated collection. Decree 809 Art. 19; Decree 716 Art. 7.

What is published for sharing is kept in an index by item and synonym: a publication that leaves items unnamed is refused,
for the ban could not see them; beyond the thirty-two that one event can name the rest is an alert. A department that collects an item which
another offers is a candidate finding, unless it shows that sharing cannot serve: its application was denied or left
unanswered, the delivery is overdue, or an assessment says that the shared data are unfit. Asked beforehand, such a
collection is refused; one that happened stays on record and is to be justified (the law sets no term). One proof
against one entry is enough for there to be no finding; whether the other entries would have served is left open and
is an alert.
"""

NAMED = 32  # items that one publication can name
INDEXED = 12  # entries kept for one item


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
    for name in named:
        offers = {other: by for other, by in items[name]["offers"].items() if other != event.refs["dataset"]}
        if name in offered and len(offers) < INDEXED:
            offers[event.refs["dataset"]] = before["provider"]
        effects.append(write("item", name, offers=offers))
    unnamed = absent(entry["items"], named)
    if unnamed and entry["sharing"] != "refused" and len(named) < NAMED:
        return refuse("items-left", items=unnamed[:4])
    if unnamed and entry["sharing"] != "refused":
        effects.append(alert("not-indexed", items=len(unnamed)))
    return effects


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
    for name in named:
        for entry, provider in items[name]["offers"].items():
            if len(offers) < INDEXED:
                offers[entry] = provider
    return [write("item", one, offers=offers, synonyms=absent(named, [one])) for one in named]


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
        if application["status"] in ["denied", "overdue"]:
            return True
    if grant is not None and grant["dataset"] == entry and grant["user"] == event.member:
        if grant["status"] == "agreed" and grant["late"]:
            return True
    if assessment is None or assessment["dataset"] != entry or assessment["type"] != "fitness":
        return False
    return assessment["result"] == "failed" and assessment["until"] > event.time


def is_in(entry, name, item):
    return name in entry["items"] or any([other in entry["items"] for other in item["synonyms"]])


def lacks_synonyms(items, named):
    return any([len(absent(items[name]["synonyms"], named)) > 0 for name in named])


def absent(wanted, named):
    return [name for name in wanted if name not in named]
