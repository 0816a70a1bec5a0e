"""E1 目录编制完整 · Complete catalogue entry. Decree 809 Art. 12, 13, 16.

The provider drafts the entry with the fields of Art. 13, its department head submits it, the sharing authority
returns or publishes it. An update is submitted as a whole and changes the entry when it is published. A head's
consent is the signature of a key with the role `dept-head`; the authority's that of `authority`.
"""


def on_catalog_draft(event, state, env):
    before = state["dataset"]
    version = 0 if before is None else before["version"]
    return write(
        "dataset",
        provider=event.member,
        version=version + 1,
        items=event.body["items"],
        methods=event.body["methods"],
        frequency=event.body["frequency"],
    )


def on_catalog_submit(event, state, env):
    if "dept-head" not in env.signer.roles:
        return refuse("head-consent", role="dept-head")


def on_catalog_update(event, state, env):
    if "dept-head" not in env.signer.roles:
        return refuse("head-consent", role="dept-head")
    return write(
        "revision",
        items=event.body["items"],
        methods=event.body["methods"],
        frequency=event.body["frequency"],
    )


def on_catalog_return(event, state, env):
    if "authority" not in env.signer.roles:
        return refuse("not-authority")


def on_catalog_publish(event, state, env):
    if "authority" not in env.signer.roles:
        return refuse("not-authority")
    if state["dataset"]["status"] != "updated":
        return None
    revision = state["revision"]
    return write(
        "dataset",
        version=state["dataset"]["version"] + 1,
        items=revision["items"],
        methods=revision["methods"],
        frequency=revision["frequency"],
    )
