# examined: article-missing: no article of the opinions on metered settlement has been found; see the docstring
"""F3 结算与链上记录一致 · Metered settlement agrees with the recorded accesses. 数据二十条 (article to be confirmed).

One counter decides: every recorded access counts in the month of its claimed time, Beijing time, while that month is
open. At most four months are open; the oldest beyond them, and what is recorded for a closed month, go to the late count,
which the next statement carries. A statement must agree exactly; it is settled when the other side has confirmed it with
a key of its own, or a dispute has left it standing. Months are stated in order.

以同一计数为准：每一次已记录的调用，在其所称时间（北京时间）所属月份未结期间，计入该月份。未结月份最多四个；超出的，最
早的月份并入补记次数，为已结月份记录的调用也计入补记次数，由下一份结算单载明。结算单须与链上记录完全一致；经相对方以自
己的密钥确认，或者经争议处理予以维持的，方可结算。各月份按顺序出单。
"""

OPEN_MONTHS = 4


def on_use_access(event, state, env):
    use = state["use"]
    current = month(event.time)
    counts = use["months"]
    if current <= use["closed"] or current == use["stated"]:
        return write("use", late=use["late"] + 1)
    if current in counts and len(counts) == 1:
        return write("use", months={current: counts[current] + 1})
    if current in counts:
        return write("use", months=with_count(counts, current, counts[current] + 1))
    if len(counts) < OPEN_MONTHS:
        return write("use", months=with_count(counts, current, 1))
    waiting = [name for name in sorted(counts) if name != use["stated"]]
    oldest = min(waiting[0], current)
    rolled = alert("month-rolled", month=oldest)
    if oldest == current:
        return [write("use", late=use["late"] + 1, closed=max(use["closed"], oldest)), rolled]
    kept = with_count(without(counts, oldest), current, 1)
    late = use["late"] + counts[oldest]
    return [write("use", months=kept, late=late, closed=max(use["closed"], oldest)), rolled]


def on_settle_meter(event, state, env):
    recorded = state["use"]["months"].get(event.body["month"], 0)
    if recorded != event.body["count"]:
        return alert("meter-differs", month=event.body["month"], metered=event.body["count"], recorded=recorded)


def on_settle_statement(event, state, env):
    use = state["use"]
    stated = event.body["month"]
    if use["stated"] != "":
        return refuse("statement-open", month=use["stated"])
    if stated >= month(env.now):
        return refuse("month-not-over", month=stated)
    earlier = [name for name in use["months"] if name < stated]
    if earlier or stated <= use["closed"]:
        return refuse("month-order", month=stated)
    recorded = use["months"].get(stated, 0)
    if event.body["count"] != recorded or event.body["late"] != use["late"]:
        return refuse("count-differs", recorded=recorded, late=use["late"])
    return [
        write("use", stated=stated),
        write(
            "statement",
            grant=event.refs["grant"],
            issuer=event.member,
            counterparty=other_side(event, state),
            issuer_key=env.signer.key,
            month=stated,
            count=recorded,
            late=use["late"],
            year=event.body["year"],
            amount=event.body["amount"],
        ),
        duty("F3", by=other_side(event, state), on="statement", due=None, kinds=["settle.confirm", "settle.contest"]),
    ]


def on_settle_confirm(event, state, env):
    if env.signer.key == state["statement"]["issuer_key"]:
        return refuse("same-key")


def on_settle_settle(event, state, env):
    use = state["use"]
    statement = state["statement"]
    left = without(use["months"], statement["month"])
    closed = max(use["closed"], statement["month"])
    return write("use", months=left, late=use["late"] - statement["late"], closed=closed, stated="")


def on_dispute_negotiate(event, state, env):
    if state["statement"] is not None and agreed(event, state):
        return ended(event)


def on_dispute_decide(event, state, env):
    if state["statement"] is not None and (event.body["final"] or state["dispute"]["status"] == "government"):
        return ended(event)


def ended(event):
    if event.body["result"] == "upheld":
        return [move("statement", "annul"), write("use", stated="")]
    return move("statement", "stand")


def other_side(event, state):
    grant = state["grant"]
    return grant["user"] if event.member == grant["provider"] else grant["provider"]


def with_count(counts, name, count):
    counted = {key: counts[key] for key in counts}
    counted[name] = count
    return counted


def without(counts, name):
    return {key: counts[key] for key in counts if key != name}


def agreed(event, state):
    dispute = state["dispute"]
    other = dispute.get("agreed") is not None and dispute["agreed"] != event.member
    return other and event.body["result"] != "failed" and dispute["terms"] == event.body["result"]
