"""F4 开放 · Opening gate. Data Security Law Art. 41, 42; Decree 809 Art. 25.

Sharing is not opening. A provider enters its own published, general-grade data into the open catalogue, with a
masking profile and a liable unit; a release stays inside that entry; one for operation rests on a registered right to
operate and holds no raw rows. Data of another department is opened with its consent only: a grant that allows
`public` as a third party. Of a copy, derived or not, every grant that it stands under and every source that is not
one's own needs it; a grant that is not named, or a source beyond the sixteen that B4 keeps, has none. What is derived
is released under the entry of a source or an entry of one's own. A release that happened otherwise is recorded
irregular. The law names no term for the reply to an application; under the strict reading a late one is an alert.
Not decided: whether statistics, in which no row of a source is left, need that consent too; and the grade and the
personal information of what is derived, where they go beyond the entry: only the entry's count (A8, A9, B5).

共享不等于开放。数据提供部门将本部门已发布的一般级别数据列入开放目录，并载明脱敏方案和开放责任单位；开放数据不得超出
所列入的范围；为授权运营而开放的，须以已登记的经营权为依据，且不含原始记录。其他部门的数据，经该部门同意方可开放，即
授权将 `public` 列为可提供的第三方。开放副本的，无论是否为衍生数据，其所属的每一项授权、每一个非本部门的来源数据集，
均须取得同意；未引用的授权，以及超出B4所保存的十六个以外的来源数据集，视为未取得同意。衍生数据在其来源目录条目或者本
部门的目录条目之下开放。以其他方式开放的，记为不合规。对开放申请的答复，法律未规定期限；按从严理解，逾期答复的，予以
提醒。以下事项尚未确定：不再保留来源数据任何一条记录的统计结果，是否也须取得同意；衍生数据的级别和个人信息超出目录条
目所载的，如何处理：目前仅以目录条目所载为准（A8、A9、B5）。
"""


def on_open_publish(event, state, env):
    dataset = state["dataset"]
    if "dept-head" not in env.signer.roles:
        return refuse("head-consent", role="dept-head")
    if dataset["status"] != "published":
        return refuse("not-published", status=dataset["status"])
    if event.body["class"] != "none" and (dataset["level"] != "general" or dataset["sharing"] == "refused"):
        return refuse("not-openable", level=dataset["level"], sharing=dataset["sharing"])
    beyond = [item for item in event.body["items"] if item not in dataset["items"]]
    if beyond:
        return refuse("open-items", beyond=beyond)
    return write(
        "dataset",
        open_class=event.body["class"],
        open_masking=event.body["masking"],
        open_items=event.body["items"],
        open_liable=event.body["liable"],
    )


def on_open_apply(event, state, env):
    dataset = state["dataset"]
    if dataset.get("open_class") in [None, "none"]:
        return refuse("not-open")
    days = env.params["open_reply_days"]
    return [
        write("opening", dataset=event.refs["dataset"], applicant=event.body["applicant"], received=env.now),
        duty("F4", by=dataset["provider"], on="opening", due=None, kinds=["open.reply"]),
        set_timer("F4.slow", on="opening", due=working_days(env, days["strict"])),
    ]


def on_open_reply(event, state, env):
    if event.body["result"] == "approved":
        return [move("opening", "approve"), clear_timer("F4.slow", on="opening")]
    if event.body.get("reason") is None:
        return refuse("no-reason")
    return [move("opening", "deny"), clear_timer("F4.slow", on="opening")]


def on_timer_F4_slow(timer, state, env):
    return alert("opening-slow", open=env.params["open_reply_days"]["open"])


def on_open_release(event, state, env):
    dataset = state["dataset"]
    released = write("dataset", released=dataset["released"] + 1)
    others = unasked(event, state)
    if others:
        return [
            released,
            breach(
                "D809/40-3",
                about=event.member,
                on="dataset",
                held=event.member,
                to="public",
                without=others[0],
                providers=len(others),
            ),
        ]
    lacking = gaps(event, state)
    if lacking:
        return [released, breach("DSL/41", about=event.member, on="dataset", held=event.member, lacking=lacking)]
    return released


# Whose consent is lacking. A grant and an entry begin with the name of their provider.
def unasked(event, state):
    copy = state["copy"]
    if copy is None:
        return []
    grants = {name: grant for name, grant in state["root"].items()}
    if state["grant"] is not None:
        grants[event.refs["grant"]] = state["grant"]
    consented = [name for name in copy["roots"] if name in grants and "public" in grants[name]["onward"]]
    covered = [grants[name]["dataset"] for name in consented]
    lacking = [name for name in copy["roots"] if name not in consented]
    lacking = lacking + [source for source in sources_of(event, copy) if source not in covered]
    owners = {name.split("/")[0]: True for name in lacking}
    return [owner for owner in sorted(owners) if owner != event.member]


# A copy older than B4 names no sources: it is what it is said to be.
def sources_of(event, copy):
    return copy["sources"] if copy["sources"] else [event.refs["dataset"]]


def entered(event, state):
    copy = state["copy"]
    if copy is None or event.refs["dataset"] in sources_of(event, copy):
        return True
    return copy.get("dataset") is None and state["dataset"]["provider"] == event.member


def gaps(event, state):
    dataset = state["dataset"]
    opened = dataset.get("open_class")
    if opened in [None, "none"]:
        return ["entry"]
    lacking = []
    if not entered(event, state):
        lacking.append("copy")
    if opened == "conditional" and (state["opening"] is None or state["opening"]["dataset"] != event.refs["dataset"]):
        lacking.append("application")
    if event.body["masking"] != dataset["open_masking"]:
        lacking.append("masking")
    if [item for item in event.body["items"] if item not in dataset["open_items"]]:
        lacking.append("items")
    if event.body["channel"] == "operation":
        if event.body["raw"]:
            lacking.append("raw")
        if not operable(state["right"], event.refs["dataset"]):
            lacking.append("right")
    return lacking


def operable(right, dataset):
    return right is not None and [right["type"], right["status"], right["dataset"]] == [
        "operate",
        "registered",
        dataset,
    ]
