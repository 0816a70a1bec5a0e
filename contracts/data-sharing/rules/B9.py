"""B9 数据回流 · Return of data to lower levels. Decree 809 Art. 24, 39(5); Sichuan Data Regulation Art. 19.

An upper level returns what it holds about the area of a lower level, completely, in time and without further conditions. The
need is a matter of record: an entry of the list of needs that names the dataset and the area by its code (GB/T 2260), inside
the area that the dataset covers, of a department of that area below the provider's own. The law sets no number of days: the
duty has no due date, slowness is an alert under the strict reading, and only the days that the authority sets when it urges
make a candidate finding; an urge after a return asks for what has changed since. Not decided: whether a return passes the gates of a delivery under a grant too (A8, A9, B5); it
rests on the law, and its copy comes into custody.

上级政务部门应当将其持有的涉及下级行政区域的数据，完整、及时回流，不得设置额外的限制条件。回流需求以记录为准：须为需
求清单中的事项，载明数据集和以行政区划代码（GB/T 2260）表示的区域；该区域在数据集的覆盖区域之内，事项由该区域的部门
提出，且该部门所在区域为数据提供部门所在区域的下级区域。法律未规定天数：回流义务没有期限，按从严理解，迟延的，予以告
警；只有超过主管部门督促回流时所定期限的，才形成涉嫌违规的线索；回流之后再行督促的，要求回流此后发生变化的数据。回流
是否也须符合依授权提供数据的各项要求（A8、A9、B5），尚无定论；回流以法律规定为依据，所形成的副本纳入在管。
"""

PAIRS = [2, 4, 6]


def on_catalog_draft(event, state, env):
    territory = event.body.get("territory")
    if territory is not None and not is_territory(territory):
        return refuse("no-territory", given=territory)
    return write("dataset", territory=territory)


# An update that does not name the area leaves it as it was.
def on_catalog_update(event, state, env):
    territory = event.body.get("territory", state["dataset"].get("territory"))
    if territory is not None and not is_territory(territory):
        return refuse("no-territory", given=territory)
    return write("revision", territory=territory)


def on_catalog_publish(event, state, env):
    if state["dataset"]["status"] == "updated":
        return write("dataset", territory=state["revision"].get("territory"))


def on_demand_list(event, state, env):
    dataset = state["dataset"]
    territory = event.body.get("territory")
    asks = event.body.get("backflow", False)
    kept = write(
        "demand",
        by=event.member,
        list=event.body["list"],
        dataset=event.refs.get("dataset"),
        provider=None if dataset is None else dataset["provider"],
        territory=territory,
        backflow=asks,
    )
    if not asks:
        return kept
    if event.body["list"] != "need" or dataset is None or dataset["provider"] == event.member:
        return refuse("nothing-to-return")
    if territory is None or not is_territory(territory):
        return refuse("no-territory", given=territory)
    wide = dataset.get("territory")
    if wide is None or not is_lower(territory, wide):
        return refuse("not-a-lower-area", given=territory)
    fault = not_below(state["self"], state["upper"], territory)
    if fault is not None:
        return fault
    return [
        kept,
        duty("B9", by=dataset["provider"], on="demand", due=None),
        set_timer("B9.slow", on="demand", due=working_days(env, env.params["backflow_days"]["strict"])),
    ]


def on_backflow_urge(event, state, env):
    if "authority" not in env.signer.roles:
        return refuse("not-authority")
    if not state["demand"]["backflow"]:
        return refuse("nothing-to-return")
    return [
        duty("B9", by=state["demand"]["provider"], on="demand", due=working_days(env, event.body["days"])),
        clear_timer("B9.slow", on="demand"),
    ]


def on_backflow_deliver(event, state, env):
    given = write("demand", delivered=state["demand"]["delivered"] + 1)
    if event.body.get("conditions"):
        return [given, breach("D809/39-5", about=event.member, on="demand", what="conditions")]
    if not event.body["complete"]:
        return [given, alert("backflow-part")]
    return [given, discharge("B9", on="demand"), clear_timer("B9.slow", on="demand")]


def on_demand_withdraw(event, state, env):
    return [discharge("B9", on="demand"), clear_timer("B9.slow", on="demand")]


def on_timer_B9(timer, state, env):
    if state["demand"]["status"] != "withdrawn":
        return finding("D809/39-5", about=state["demand"]["provider"], on="demand", what="late")


def on_timer_B9_slow(timer, state, env):
    return alert("backflow-slow", open=env.params["backflow_days"]["open"])


def is_territory(code):
    return len(code) == 6 and all([letter in "0123456789" for letter in code])


def not_below(lower, upper, territory):
    if place_of(lower) is None or place_of(upper) is None:
        return refuse("territory-unlisted")
    if not is_lower(place_of(lower), place_of(upper)):
        return refuse("not-a-lower-area", given=place_of(lower))
    if territory != place_of(lower) and not is_lower(territory, place_of(lower)):
        return refuse("not-own-area", given=territory)


# What the registry says of a member.
def place_of(known):
    return None if known is None else known["attributes"].get("territory")


# The area of a province ends in four zeros, that of a city in two: what is left is where its lower areas begin.
def is_lower(code, wide):
    if code == wide:
        return False
    for end in PAIRS:
        if wide[end:] == "0" * (6 - end):
            return code.startswith(wide[:end])
    return False
