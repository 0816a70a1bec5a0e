"""F2 无偿用途与价格上限 · Free purposes and price cap. 数据二十条; P65 Art. 1 to 4.

P65 is 发改价格〔2025〕65号, whose numbered sections stand for articles. What serves governance or welfare is free (1): the
application says what it serves, and no statement says otherwise; where it did not say, a charge is an alert. For
industry the authority sets an operator's permitted income and the highest price of one access (2, 3). Income beyond the
permitted is not refused: it is carried over and deducted from what the next period permits (4), which the notice does
not measure: a year here. The sections were read in announcements that quote the notice; the articles of 数据二十条 are
to be confirmed. Amounts are integers of fen.

发改价格〔2025〕65号即P65，以其编号的各部分作为条文。用于公共治理、公益事业的，应当无偿（第一条）：服务领域由共享申
请载明，结算单不得与之不一致；申请未载明而收费的，予以提醒。用于产业发展的，由主管部门核定运营机构的最高准许收入和单
次调用上限价格（第二条、第三条）。超出准许收入的收入不予拒绝，结转至下一周期，从其准许收入中扣减（第四条）；该通知未
规定周期的长度，本规则以一年为一个周期。各部分内容系从引用该通知的公告中查阅；数据二十条的条文有待确认。金额以分为单
位，均为整数。
"""

FREE = ["governance", "welfare"]
DIGITS = "0123456789"


def on_share_apply(event, state, env):
    if event.body.get("serves") is not None:
        return write("application", serves=event.body["serves"])


def on_share_approve(event, state, env):
    if state["application"].get("serves") is not None:
        return write("grant", serves=state["application"]["serves"])


def on_settle_tariff(event, state, env):
    if "authority" not in env.signer.roles or event.member == event.body["operator"]:
        return refuse("not-authority")
    year = event.body["year"]
    if not is_year(year) or month(ms(f"{year}-01-01") - 1)[:4] != event.body["previous"]:
        return refuse("year-wrong")
    carried = excess(state["previous"], state["previous"]["stated"])
    effects = [write("income", permitted=event.body["permitted"], cap=event.body["cap"], deducted=carried)]
    if carried > 0:
        effects.append(alert("income-deducted", fen=carried))
    return effects


def on_settle_statement(event, state, env):
    price = event.body["price"]
    serves = state["grant"].get("serves")
    if serves is not None and event.body["purpose"] != serves:
        return refuse("purpose-differs", purpose=event.body["purpose"], serves=serves)
    if event.body["purpose"] in FREE and price != 0:
        return refuse("must-be-free", purpose=event.body["purpose"])
    if event.body["amount"] != price * (event.body["count"] + event.body["late"]):
        return refuse("amount-wrong", amount=price * (event.body["count"] + event.body["late"]))
    if event.body["year"] != event.body["month"][:4]:
        return refuse("year-wrong")
    if price == 0:
        return None
    income = state["income"]
    if income.get("cap") is None:
        return refuse("no-tariff", year=event.body["year"])
    if price > income["cap"]:
        return refuse("above-cap", cap=income["cap"], price=price)
    stated = income["stated"] + event.body["amount"]
    over = excess(income, stated)
    effects = [write("income", stated=stated)]
    if serves is None:
        effects.append(alert("serves-unstated"))
    if over > 0:
        effects.append(alert("income-excess", fen=over))
    return effects


def on_settle_settle(event, state, env):
    statement = state["statement"]
    if event.body["operator"] != statement["issuer"] or event.body["year"] != statement["year"]:
        return refuse("year-wrong")
    if (statement["amount"] > 0) != (event.body["means"] == "payment"):
        return refuse("means-wrong", amount=statement["amount"])
    if statement["amount"] > 0:
        return write("income", settled=state["income"]["settled"] + statement["amount"])


def on_settle_split(event, state, env):
    total = sum([share["fen"] for share in event.body["shares"]])
    if total != state["statement"]["amount"] or total == 0:
        return refuse("split-wrong", total=total, amount=state["statement"]["amount"])


def on_dispute_negotiate(event, state, env):
    if agreed(event, state):
        return annulled(event, state)


def on_dispute_decide(event, state, env):
    if event.body["final"] or state["dispute"]["status"] == "government":
        return annulled(event, state)


def annulled(event, state):
    statement = state["statement"]
    if statement is None or statement["amount"] == 0 or event.body["result"] != "upheld":
        return None
    if event.body.get("operator") != statement["issuer"] or event.body.get("year") != statement["year"]:
        return refuse("year-wrong")
    return write("income", stated=state["income"]["stated"] - statement["amount"])


def is_year(text):
    return len(text) == 4 and all([digit in DIGITS for digit in text])


def excess(income, stated):
    if income.get("permitted") is None:
        return 0
    return max(0, stated - max(0, income["permitted"] - income["deducted"]))


def agreed(event, state):
    dispute = state["dispute"]
    other = dispute.get("agreed") is not None and dispute["agreed"] != event.member
    return other and event.body["result"] != "failed" and dispute["terms"] == event.body["result"]
