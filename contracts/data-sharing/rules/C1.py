"""C1 留存期限 · Retention floors. Decree 809 Art. 29; NDSR Art. 12; PIPL Art. 56; CSL Art. 23.

Bodies may be erased when they are older than the longest floor of their classes and nothing of theirs is on hold. The law
does not say from when the three years run: an erasure cannot be undone, so a grant's records count from its end. What is
asked for here is decided here; a grant with copies left is not asked for. The node erases a body only when every grant
and entry it names has been asked for, and after it has checked the state export that the request names.

记录的内容超过其各留存类别中最长的留存期限，且与其有关的副本均未依法留存的，可以清理。三年自何时起算，法律未规定：清理
不可撤销，因此授权的记录自授权终止时起算。所申请的清理，由本规则决定，授权仍有副本的，不得申请；节点只有在内容所引用的
每一项授权和每一个目录条目均已申请清理时，且核对清理申请所载明的状态导出之后，方予清理该内容。
"""

DAY = 86400000


def on_archive_prune(event, state, env):
    if "authority" not in env.signer.roles:
        return refuse("not-authority")
    floors = env.params["retention_days"]
    floor = max([floors.get(name, floors["default"]) for name in event.body["classes"]] + [0]) * DAY
    if floor == 0:
        return refuse("classes-missing")
    before = ms(event.body["before"])
    if before + floor > env.now:
        return refuse("too-young", days=floor // DAY)
    dataset = state["dataset"]
    grant = state["grant"]
    if dataset is None and grant is None:
        return refuse("stream-missing")
    effects = []
    if dataset is not None:
        if dataset["held"]:
            return refuse("on-hold", holders=len(dataset["held"]))
        effects.append(write("dataset", pruned=pruned(dataset["pruned"], event.body["classes"], before)))
    if grant is not None:
        if grant["held"]:
            return refuse("on-hold", holders=len(grant["held"]))
        if grant["copies"] > 0:
            return refuse("copies-left", copies=grant["copies"])
        end = grant.get("ended")
        if (grant["until"] if end is None else end) + floor > env.now:
            return refuse("grant-too-young", days=floor // DAY, open=env.params["retention_start"]["open"])
        effects.append(write("grant", pruned=pruned(grant["pruned"], event.body["classes"], before)))
    return effects


def pruned(before, classes, until):
    found = {name: before[name] for name in before}
    for kept in classes:
        found[kept] = max(until, found.get(kept, 0))
    return found
