"""E3 共享属性有据 · Justified sharing class. Decree 809 Art. 14, 15.

An entry shared under conditions lists the purposes it is for; an entry that is not shared names the reason and the law.
Only a law, an administrative regulation or a decision of the State Council suffices; a departmental or local rule does
not, whatever a local regulation says. An entry that does not state the rank leaves it to the authority's review.

有条件共享的目录条目，应当列明使用用途；不予共享的目录条目，应当说明理由和法律依据。依据仅限于法律、行政法规或者国务
院决定；部门规章和地方规定均不足为据，不论地方性法规如何规定。目录条目未载明依据的效力层级的，留待主管部门审核。
"""


def on_catalog_draft(event, state, env):
    lacking = unjustified(event, env)
    if lacking is not None:
        return lacking
    return write(
        "dataset",
        sharing=event.body["sharing"],
        purposes=event.body.get("purposes", []),
        legal_basis=event.body.get("legal_basis"),
    )


def on_catalog_update(event, state, env):
    lacking = unjustified(event, env)
    if lacking is not None:
        return lacking
    return write(
        "revision",
        sharing=event.body["sharing"],
        purposes=event.body.get("purposes", []),
        legal_basis=event.body.get("legal_basis"),
    )


def on_catalog_publish(event, state, env):
    if state["dataset"]["status"] != "updated":
        return None
    revision = state["revision"]
    return write(
        "dataset",
        sharing=revision["sharing"],
        purposes=revision["purposes"],
        legal_basis=revision.get("legal_basis"),
    )


def unjustified(event, env):
    match event.body["sharing"]:
        case "conditional":
            if not event.body.get("purposes", []):
                return refuse("conditions-missing")
        case "refused":
            if event.body.get("reason") is None or event.body.get("legal_basis") is None:
                return refuse("no-law")
            ranks = env.params["refusal_ranks"]
            if event.body.get("rank", ranks[0]) not in ranks:
                return refuse("rank-too-low", rank=event.body["rank"])
    return None
