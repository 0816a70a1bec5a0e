"""B1 授权内使用 · Use inside the grant. Decree 809 Art. 25.

Purpose, items and time of an access lie inside the live grant. An access that happened is recorded whatever it was: outside
the grant it is irregular, counts, and leaves a candidate finding.
"""


def on_use_access(event, state, env):
    grant = state["grant"]
    use = state["use"]
    outside = []
    if event.body["purpose"] not in grant["purposes"]:
        outside.append("purpose")
    if not all([item in grant["items"] for item in event.body["items"]]):
        outside.append("items")
    if event.time >= grant["until"]:
        outside.append("time")
    counted = write(
        "use",
        accesses=use["accesses"] + 1,
        records=use["records"] + event.body["count"],
        last=max(use["last"], event.time),
        outside=use["outside"] + (1 if outside else 0),
    )
    if not outside:
        return counted
    return [counted, breach("D809/40-2", about=event.member, on="grant", held=event.member, outside=outside)]
