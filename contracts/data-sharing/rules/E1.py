"""E1 目录编制完整 · Complete catalogue entry. Decree 809 Art. 3, 12, 13, 16.

The provider drafts the entry with the fields of Art. 13, its department head submits it, the sharing authority returns or
publishes it. An update is submitted as a whole and changes the entry when it is published. A head's consent is the
signature of a key with the role `dept-head`; the authority's that of `authority`. By that signature the head attests that
the secrecy risk and the impact on personal information were assessed, and that the entry holds no state or work secret
(Art. 3: such data is no government data). Reports of such assessments may have to stay off the ledger, so the records are
named where they are on it; one that is named must be the provider's own, of this entry or of none, not failed, and valid.
An entry of personal information without such a record is an alert. An update is attested when it adds items, makes the
entry personal, or changes how personal it is. An entry without a name, a format, an item or a method is no entry: it is
refused.

目录条目由数据提供部门按照第十三条所列内容编制，经本部门负责人同意后报送，由政务数据共享主管部门退回或者发布。目录更新
整体报送，自发布时起变更目录条目。负责人的同意，为具有 `dept-head` 角色的密钥的签名；主管部门的决定，为具有
`authority` 角色的密钥的签名。负责人以该签名确认：已进行保密风险评估和个人信息保护影响评估，条目不含国家秘密和工作秘密
（第三条：此类数据不属于政务数据）。此类评估的报告可能不得上链，因此评估记录在链上的方予列明；所列记录须为数据提供部门
自己作出、针对本条目或者未指明条目、结论不是未通过且在有效期内的评估。含个人信息的目录条目未列个人信息保护影响评估记录
的，予以提醒。目录更新增加数据项，使条目成为含个人信息的条目，或者变更其个人信息标识的，须由负责人重新确认。未填写名称、
格式、数据项或者共享方式的，不成为目录条目，予以拒绝。
"""

FILLED = ["name", "items", "format", "methods"]
ATTESTED = ["secrecy", "pi-impact", "no-secrets"]
PERSONAL = ["pi", "sensitive"]


def on_catalog_draft(event, state, env):
    empty = [name for name in FILLED if not event.body[name]]
    if empty:
        return refuse("entry-empty", empty=empty)
    before = state["dataset"]
    version = 0 if before is None else before["version"]
    return write(
        "dataset",
        provider=event.member,
        version=version + 1,
        items=event.body["items"],
        methods=event.body["methods"],
        frequency=event.body["frequency"],
    )


def on_catalog_submit(event, state, env):
    if "dept-head" not in env.signer.roles:
        return refuse("head-consent", role="dept-head")
    return assessed(event, state, state["dataset"].get("pi"), env)


def on_catalog_update(event, state, env):
    if "dept-head" not in env.signer.roles:
        return refuse("head-consent", role="dept-head")
    empty = [name for name in FILLED if not event.body[name]]
    if empty:
        return refuse("entry-empty", empty=empty)
    dataset = state["dataset"]
    personal = event.body.get("pi", dataset.get("pi"))
    added = [item for item in event.body["items"] if item not in dataset["items"]]
    revised = write(
        "revision",
        items=event.body["items"],
        methods=event.body["methods"],
        frequency=event.body["frequency"],
    )
    if added or (personal in PERSONAL and personal != dataset.get("pi")):
        return [revised, assessed(event, state, personal, env)]
    return revised


def assessed(event, state, personal, env):
    lacking = [name for name in ATTESTED if name not in event.body.get("attested", [])]
    if lacking:
        return refuse("not-attested", lacking=lacking)
    records = [state["assessment"][name] for name in event.refs.get("assessment", [])]
    if not all([holds(record, event, env) for record in records]):
        return refuse("assessment-unfit")
    if personal in PERSONAL and not any([record["type"] == "pi-impact" for record in records]):
        return alert("assessment-unnamed", entry=event.refs["dataset"])


def holds(record, event, env):
    if record["member"] != event.member or record["dataset"] not in [None, event.refs["dataset"]]:
        return False
    return record["result"] != "failed" and env.now < record["until"]


def on_catalog_return(event, state, env):
    if "authority" not in env.signer.roles:
        return refuse("not-authority")


def on_catalog_publish(event, state, env):
    if "authority" not in env.signer.roles:
        return refuse("not-authority")
    if state["dataset"]["status"] != "updated":
        return None
    revision = state["revision"]
    return write(
        "dataset",
        version=state["dataset"]["version"] + 1,
        items=revision["items"],
        methods=revision["methods"],
        frequency=revision["frequency"],
    )
