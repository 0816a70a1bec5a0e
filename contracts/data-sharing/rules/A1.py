"""A1 依目录申请 · Apply against the published catalogue. Decree 809 Art. 20.

An entry whose update is due or under review is published all the same: what was published last is in force.
"""

IN_FORCE = ["published", "change_due", "change_overdue", "updated"]


def on_share_apply(event, state, env):
    if state["dataset"]["status"] not in IN_FORCE:
        return refuse("not-published", status=state["dataset"]["status"])


def on_share_approve(event, state, env):
    if state["dataset"]["status"] not in IN_FORCE:
        return refuse("not-published", status=state["dataset"]["status"])
