"""B8 服务连续 · Continuity of service. Decree 809 Art. 27, 39(7).

A provider does not change or end a service without proper reason, and not before it has negotiated with the user and
the authority has filed it. The service goes on until then; an end filed takes effect on its day, like a time limit, and
one that is filed after its day takes effect when it is filed. The provider's consent alone does not prolong the grant
beyond that day, and no other change or end is proposed any more: for more there is a new application. A service that stopped or changed although nothing was filed is a
candidate finding, whoever records it; while the grant is suspended, or for maintenance and failures, it is none.

无正当理由，数据提供部门不得变更或者终止共享服务；有正当理由的，也应当先与数据需求部门协商，并经政务数据共享主管部门备
案。在此之前，共享服务继续提供；经备案的终止，自其生效日期起生效，与使用时限届满相同，生效日期已过才备案的，自备案时起
生效。经备案的终止，不得仅凭数据提供部门同意而将授权延长至其生效日期之后，也不得另行提出变更或者终止：需要继续使用的，应当重新申请。未经备案而停止
或者变更共享服务的，无论由何方记录，均形成涉嫌违规的线索；在授权暂停期间的，或者因维护、故障中断的，不形成线索。
"""

DAY = 86400000
RUNNING = ["live", "provider_change"]


def on_service_change(event, state, env):
    return proposed(event, state["grant"], "change")


def on_service_end(event, state, env):
    return proposed(event, state["grant"], "end")


def proposed(event, grant, what):
    if grant.get("change") == "end" and grant.get("change_at") is not None:
        return refuse("end-filed")
    if event.body.get("reason") is None:
        return refuse("no-proper-reason")
    if event.body.get("negotiation") is None:
        return refuse("not-negotiated")
    return write("grant", change=what, change_from=event.body["from"], filed=None, change_at=None)


def on_service_file(event, state, env):
    if "authority" not in env.signer.roles:
        return refuse("not-authority")
    return write("grant", filed=event.body["number"], change_at=max(ms(state["grant"]["change_from"]), env.now))


def on_scope_reply(event, state, env):
    grant = state["grant"]
    until = state["scope"].get("until")
    if event.body["decision"] != "approve" or until is None:
        return None
    ends = grant.get("change_at") if grant.get("change") == "end" else None
    if ends is not None and ms(until) + DAY > ends:
        return refuse("end-filed")


def on_service_interrupt(event, state, env):
    grant = state["grant"]
    since = ms(event.body["since"])
    if event.body["cause"] not in ["stopped", "changed"] or grant["status"] not in RUNNING:
        return None
    if since >= grant["until"] or (grant.get("change_at") is not None and since >= grant["change_at"]):
        return None
    return breach("D809/39-7", about=grant["provider"], on="grant", what=event.body["cause"])
