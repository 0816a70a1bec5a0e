"""A1 依目录申请 · Apply against the published catalogue. Decree 809 Art. 20.

An entry whose update is due or under review is published all the same: what was published last is in force.

目录条目应当更新或者其更新正在审核的，仍属已发布的目录：最近一次发布的内容继续有效。
"""

IN_FORCE = ["published", "change_due", "change_overdue", "updated"]


def on_share_apply(event, state, env):
    if state["dataset"]["status"] not in IN_FORCE:
        return refuse("not-published", status=state["dataset"]["status"])
    # It may name the version of the entry that it was made against: one that is not current is refused.
    current = state["dataset"]["version"]
    given = event.body.get("version", current)
    if given != current:
        return refuse("version-outdated", given=given, current=current)


def on_share_approve(event, state, env):
    if state["dataset"]["status"] not in IN_FORCE:
        return refuse("not-published", status=state["dataset"]["status"])
