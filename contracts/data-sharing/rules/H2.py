"""H2 争议处理与投诉受理 · Dispute ladder and complaint intake. Decree 809 Art. 28, 37.

The parties negotiate first. Then the sharing authority of their own place and level decides; across levels or places
it is the common superior, found from the codes of administrative divisions (GB/T 2260; `000000` stands for the whole
country). What is still open after that goes to the government of that authority. When the applicant is right in the
end, by agreement or by decision, the provider owes the consent; it is still the provider who gives it. Otherwise a
denial stands. Whether the authority of the higher of two
levels is itself the common superior is not said: it and the next one above are both accepted, and the verdict names
the point. The law sets no term for a decision or for the result of a complaint: under the strict reading slowness is
an alert, and a finding follows only where a term is set locally.

争议双方应当先行协商。此后，由双方所在同一地域、同一层级的政务数据共享主管部门处理；跨层级或者跨地域的，由共同的上级
主管部门处理，该主管部门依行政区划代码确定（GB/T 2260；`000000` 代表全国）。仍未解决的，提请该主管部门所属的人民政府
处理。申请部门最终经协商或者决定获得支持的，数据提供部门负有同意共享的义务；同意仍由数据提供部门作出。否则，不同意共
享的答复继续有效。两个层级中较高一级的主管部门本身是否即为共同的上级主管部门，法律未予明确：该主管部门及其再上一级主
管部门均予接受，并在裁决中载明该问题。作出争议处理决定、答复投诉举报处理结果的期限，法律均未规定：按从严理解，迟延的
予以提醒；仅在地方设定期限的情况下，方形成线索。
"""

SUBJECTS = ["application", "grant", "statement", "right"]


def on_dispute_open(event, state, env):
    if len([name for name in SUBJECTS if event.refs.get(name) is not None]) != 1:
        return refuse("one-subject")
    parties = parties_of(state)
    if sorted(parties) != sorted([event.member, event.body["respondent"]]):
        return refuse("wrong-parties")
    return opened(event, state)


def on_right_object(event, state, env):
    return opened(event, state)


def on_dispute_negotiate(event, state, env):
    dispute = state["dispute"]
    if event.body["result"] == "failed":
        return write("dispute", failed=True, agreed=None, terms=None)
    if dispute.get("agreed") is None or dispute["agreed"] == event.member:
        return write("dispute", agreed=event.member, terms=event.body["result"], failed=False)
    if dispute["terms"] == event.body["result"]:
        settled = [move("dispute", "settle"), write("dispute", decided=event.body["result"])]
        return settled + concluded(state, event.body["result"])
    return write("dispute", failed=True, agreed=None, terms=None)


def on_dispute_escalate(event, state, env):
    dispute = state["dispute"]
    above = state["to"]
    tier = event.body["tier"]
    if above is None or above["attributes"].get("territory") is None:
        return refuse("territory-unknown", member=event.body["to"])
    if event.body["to"] in [dispute["claimant"], dispute["respondent"]]:
        return refuse("own-cause")
    seat = place_of(above["attributes"]["territory"])
    if dispute["status"] == "negotiating":
        return first_tier(event, state, env, tier, seat)
    if tier != "government" or "government" not in above["roles"] or seat != dispute["seat"]:
        return refuse("wrong-tier", tier="government", place=dispute["seat"])
    return [move("dispute", "government")] + received(event, env, seat)


def on_dispute_decide(event, state, env):
    dispute = state["dispute"]
    needed = "government" if dispute["status"] == "government" else "authority"
    if needed not in env.signer.roles:
        return refuse("not-authority")
    decided = [write("dispute", decided=event.body["result"]), clear_timer("H2.slow", on="dispute")]
    if event.body["final"]:
        decided.append(move("dispute", "close"))
    if event.body["final"] or needed == "government":
        return decided + concluded(state, event.body["result"])
    return decided


# What the end of a dispute means for the application that it was about.
def concluded(state, result):
    application = state["application"]
    if application is None or application["status"] in ["approved", "withdrawn"]:
        return []
    if (result == "upheld") == (state["dispute"]["claimant"] == application["applicant"]):
        by = application["provider"]
        return [duty("H2.answer", by=by, on="application", due=None, kinds=["share.approve"])]
    if application["status"] in ["disputed", "denied"]:
        return [move("application", "close")]
    return []


def on_complaint_file(event, state, env):
    return [
        write("complaint", owner=event.member, about=event.body["about"]),
        duty("H2.complaint", by=event.member, on="complaint", due=None, kinds=["complaint.result"]),
        set_timer("H2.wait", on="complaint", due=working_days(env, env.params["complaint_days"]["strict"])),
    ]


def on_complaint_result(event, state, env):
    return [write("complaint", result=event.body["result"]), clear_timer("H2.wait", on="complaint")]


# examined: timer-not-shown: no law sets a term, so it is set only where members vote one (the lenient value of dispute_days)
def on_timer_H2(timer, state, env):
    return finding("D809/41-2", about=state["dispute"]["authority"], on="dispute")


def on_timer_H2_slow(timer, state, env):
    return alert("dispute-slow", open=env.params["dispute_days"]["open"], authority=state["dispute"]["authority"])


def on_timer_H2_wait(timer, state, env):
    return alert("complaint-slow", open=env.params["complaint_days"]["open"], about=state["complaint"]["about"])


def parties_of(state):
    if state["application"] is not None:
        return [state["application"]["applicant"], state["application"]["provider"]]
    if state["grant"] is not None:
        return [state["grant"]["user"], state["grant"]["provider"]]
    return [state["statement"]["issuer"], state["statement"]["counterparty"]]


def opened(event, state):
    own = state["self"]
    other = state["other"]
    known = [own is not None and own["attributes"].get("territory") is not None]
    known.append(other is not None and other["attributes"].get("territory") is not None)
    if not all(known):
        return refuse("territory-unknown", member=event.member if not known[0] else event.body["respondent"])
    here = place_of(own["attributes"]["territory"])
    there = place_of(other["attributes"]["territory"])
    about = {name: event.refs.get(name) for name in SUBJECTS}
    return write(
        "dispute",
        claimant=event.member,
        respondent=event.body["respondent"],
        application=about["application"],
        grant=about["grant"],
        statement=about["statement"],
        right=about["right"],
        place=common(here, there),
        across=here != there,
        nested=here != there and common(here, there) in [here, there],
    )


def first_tier(event, state, env, tier, seat):
    dispute = state["dispute"]
    if not dispute["failed"]:
        return refuse("negotiate-first")
    wanted = "superior" if dispute["across"] else "authority"
    seats = [dispute["place"]]
    if dispute["nested"] and dispute["place"] != "":
        seats = [dispute["place"], dispute["place"][: len(dispute["place"]) - 2]]
    if tier != wanted or "authority" not in state["to"]["roles"] or seat not in seats:
        return refuse("wrong-tier", tier=wanted, place=dispute["place"])
    effects = [move("dispute", "superior") if dispute["across"] else move("dispute", "authority")]
    if dispute["nested"]:
        effects.append(alert("open-point", open="common-superior"))
    return effects + received(event, env, seat)


def received(event, env, seat):
    days = env.params["dispute_days"]
    by = event.body["to"]
    due = working_days(env, days["lenient"]) if days["lenient"] >= 0 else None
    return [
        write("dispute", authority=by, seat=seat),
        duty("H2", by=by, on="dispute", due=due, kinds=["dispute.decide"]),
        set_timer("H2.slow", on="dispute", due=working_days(env, days["strict"])),
    ]


def place_of(territory):
    return territory.removesuffix("00").removesuffix("00").removesuffix("00")


def common(here, there):
    shared = [size for size in [2, 4, 6] if len(here) >= size and here[:size] == there[:size]]
    return here[: max([0] + shared)]
