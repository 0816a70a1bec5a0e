"""R28 处理者 · Processors. GDPR Art. 28(3), (3)(g).

A processor is engaged under a contract with every mandatory clause. After the end of the services it returns or deletes the
data, and the controller confirms with another key. An engagement belongs to the processing that it was made for: it is
confirmed for that one only, and a processing ends once each of its own is closed; nobody is engaged for one that ended. No term is set by law: slowness is an
alert under the strict reading.

委托处理者，须有合同并列明全部必备条款。服务终止后，处理者返还或者删除数据，由控制者以另一密钥确认。每项委托归属于其
所针对的处理活动，只能就该处理活动确认；处理活动自身的委托全部了结的，方可终止该处理活动；已经终止的，不得再行委托。法律未规定期限：按从严理解，
迟延的予以提醒。
"""

CLAUSES = [
    "assistance-rights",
    "assistance-security",
    "audit",
    "confidentiality",
    "instructions",
    "return",
    "security",
    "sub-processors",
]


def on_processor_engage(event, state, env):
    lacking = [clause for clause in CLAUSES if clause not in event.body["clauses"]]
    if lacking:
        return refuse("GDPR/28-3", lacking=lacking)
    if state["processing"]["status"] == "ended":
        return refuse("processing-ended")
    if event.body["processor"] == event.member:
        return refuse("processor-unknown")
    return [
        write(
            "engagement",
            processing=event.refs["processing"],
            controller=event.member,
            processor=event.body["processor"],
        ),
        write("processing", processors=state["processing"]["processors"] + 1),
    ]


def on_processor_end(event, state, env):
    if state["engagement"]["status"] != "engaged":
        return None
    slow = env.params["return_days"]["strict"]
    return [
        duty("R28", by=state["engagement"]["processor"], on="engagement", due=None, kinds=["processor.return"]),
        set_timer("R28.slow", on="engagement", due=natural_days(env, slow)),
    ]


def on_processor_return(event, state, env):
    return [write("engagement", returned=event.time), clear_timer("R28.slow", on="engagement")]


def on_processor_confirm(event, state, env):
    return write("processing", processors=max(0, state["processing"]["processors"] - 1))


def on_processing_end(event, state, env):
    if state["processing"]["processors"] > 0:
        return refuse("processor-active", count=state["processing"]["processors"])


def on_timer_R28_slow(timer, state, env):
    if state["engagement"]["status"] == "ended":
        return alert("return-slow", open=env.params["return_days"]["open"])
