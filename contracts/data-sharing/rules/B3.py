"""B3 异常使用 · Unusual access: volume, rate, hour, object. Decree 809 Art. 35; GB/T 39477.

The use account keeps the records read on each of 31 days. An access is unusual when its day exceeds a multiple of the mean
of the 30 days before, when its hour exceeds a multiple of the busiest hour before, when it asks for an item that the grant
allows but that was never accessed (these three after a time of learning), or when it falls outside office hours. No law sets a threshold: these are strict readings,
so they raise alerts, once a day each (rate: once an hour), and the provider owes a human review. Only the review, by a
person's key, turns what is unusual into a candidate finding, and only a confirmed one leads to suspension (B7).

使用台账保存三十一日中各日的调用条数。有下列情形之一的，为异常调用：当日调用量超过此前三十日平均值的一定倍数，
当小时调用次数超过此前最繁忙小时的一定倍数，调用授权之内但从未调用过的数据项（以上三种情形在学习期满后适用），
或者在办公时间以外调用。法律未规定阈值：上述均为从严理解，因此只作提醒，每类每日一次（频次类每小时一次），
并由数据提供部门承担人工核查的义务。只有以人员密钥签名的人工核查，才能使异常情形成为涉嫌违规线索；只有经认定的线索，
才能导致暂停共享权限（B7）。
"""

DAY = 86400000
HOUR = 3600000
ZONE = 28800000
SLOTS = 31
KINDS = ["volume", "rate", "hour", "object"]


def on_use_access(event, state, env):
    use = state["use"]
    today = day(event.time)
    count = max(event.body["count"], 1)
    latest = today
    first = today
    if use["accesses"] > 0:
        latest = use["ring_day"]
        first = use["ring_first"]
    hour = (event.time + ZONE) // HOUR
    rate = 1
    peak = use["hour_peak"]
    if hour == use["hour"]:
        rate = use["hour_accesses"] + 1
    else:
        peak = max(peak, use["hour_accesses"])
    if today == latest:
        read = use["day_read"] + count
        history = use["ring_total"]
        kept = write(
            "use", ring_day=latest, ring_first=first, day_read=read, hour=hour, hour_accesses=rate, hour_peak=peak
        )
    elif today > latest:
        ring = turned(use, today)
        read = count
        history = sum(ring)
        kept = write(
            "use",
            ring=ring,
            ring_total=history,
            ring_day=today,
            day_read=read,
            hour=hour,
            hour_accesses=rate,
            hour_peak=peak,
        )
    else:
        ring = added(use, today, count)
        read = max(ring[today % SLOTS], count)
        history = sum(ring) + use["day_read"] - ring[today % SLOTS]
        kept = write("use", ring=ring, ring_total=sum(ring))
    unseen = []
    if len(use["seen"]) < len(state["grant"]["items"]):
        unseen = asked_first(state["grant"]["items"], use["seen"], event.body["items"])
    office = env.params["office_hours"]["strict"]
    clock = hour % 24
    found = {}
    if clock < office["from"] or clock >= office["to"]:
        found["hour"] = today
    volume = env.params["unusual_volume"]["strict"]
    age = max(today, latest) - first
    if age >= volume["learning_days"]:
        often = env.params["unusual_rate"]["strict"]
        if read >= volume["least"] and read * min(age, SLOTS - 1) > volume["factor"] * history:
            found["volume"] = today
        if rate >= often["least"] and rate > often["factor"] * peak:
            found["rate"] = hour
        if unseen:
            found["object"] = today
    effects = [kept]
    if unseen:
        effects.append(write("use", seen=sorted(use["seen"] + unseen)))
    if not found:
        return effects
    fresh = [kind for kind in sorted(found) if use["alerted"].get(kind, 0) != found[kind]]
    if fresh:
        alerted = {kind: found.get(kind, use["alerted"].get(kind, 0)) for kind in KINDS}
        effects.append(write("use", alerted=alerted))
        effects.append(alert("unusual-access", open=env.params["unusual_volume"]["open"], kinds=fresh))
        effects.append(duty("B3", by=state["grant"]["provider"], on="grant", due=None, kinds=["use.review"]))
    return effects


# Places in the grant's list of items that are asked for now and never were.
def asked_first(granted, seen, items):
    return [place for place in range(len(granted)) if place not in seen and granted[place] in items]


# The latest day goes into the ring when the next one begins; the days in between are empty.
def turned(use, today):
    latest = use["ring_day"]
    empty = today - latest
    if empty >= SLOTS:
        return [0] * SLOTS
    slot = latest % SLOTS
    return [
        use["day_read"] if place == slot else (0 if (place - latest - 1) % SLOTS < empty else use["ring"][place])
        for place in range(SLOTS)
    ]


# What is claimed for an earlier day goes to its slot, if the ring reaches back to it.
def added(use, today, count):
    if today <= use["ring_day"] - SLOTS:
        return use["ring"]
    slot = today % SLOTS
    return use["ring"][:slot] + [use["ring"][slot] + count] + use["ring"][slot + 1 :]


def on_use_review(event, state, env):
    grant = state["grant"]
    if event.member != grant["provider"] and "authority" not in env.signer.roles:
        return refuse("not-party")
    if "system" in env.signer.roles:
        return refuse("human-review")
    reviewed = [write("use", reviewed=state["use"]["reviewed"] + 1), discharge("B3", on="grant")]
    if event.body["outcome"] == "normal":
        return reviewed
    return reviewed + [finding("D809/40-2", about=grant["user"], on="grant", held=grant["user"], what="review")]
