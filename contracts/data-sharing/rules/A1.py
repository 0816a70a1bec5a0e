"""A1 依目录申请 · Apply against the published catalogue. Decree 809 Art. 20."""


def on_share_apply(event, state, env):
    if state["dataset"]["status"] != "published":
        return refuse("not-published", status=state["dataset"]["status"])
