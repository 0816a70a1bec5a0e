"""E3 共享属性有据 · Justified sharing class. Decree 809 Art. 14, 15.

An entry shared under conditions lists the purposes it is for; an entry that is not shared names the reason and the law.
"""


def on_catalog_draft(event, state, env):
    purposes = event.body.get("purposes", [])
    match event.body["sharing"]:
        case "conditional":
            if not purposes:
                return refuse("conditions-missing")
        case "refused":
            if event.body.get("reason") is None or event.body.get("legal_basis") is None:
                return refuse("no-law")
    return write(
        "dataset",
        sharing=event.body["sharing"],
        purposes=purposes,
        legal_basis=event.body.get("legal_basis"),
    )
