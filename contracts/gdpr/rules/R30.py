"""R30 处理活动记录 · Records of processing. GDPR Art. 30(1), (2).

The controller's record must name whom to reach, subjects, categories, recipients, retention and security. A record that
lacks one of them is kept, for the processing happens; it is an alert at once, and a candidate finding when the activity
ends or changes without the rest. The processor records what it does for each controller; services that end without are a
candidate finding about the processor. Joint controllers, a representative and an officer are named where there are any,
countries and safeguards where data leave the Union: the rule cannot know whether there are, so it does not ask.

控制者的处理活动记录须载明联系方式、数据主体类别、个人数据类别、接收方类别、删除期限和安全措施。缺少其中任何一项的，
因处理活动已经发生，记录仍予保留，但即时提醒；处理活动终止或者变更时仍未补齐的，形成涉嫌违规的线索。处理者就其为每一
控制者所作的处理进行登记；服务终止时仍未登记的，形成涉及该处理者的涉嫌违规的线索。有共同控制者、代表、数据保护官的，
予以载明；数据传出欧盟的，载明国家和保障措施：本规则无从知悉有无上述情形，因此不作要求。
"""

WANTED = ["contact", "subjects", "categories", "recipients", "retention", "security"]


def on_processing_record(event, state, env):
    body = event.body
    lacking = [name for name in WANTED if not body.get(name)]
    effects = [
        write(
            "processing",
            controller=event.member,
            contact=body.get("contact", ""),
            joint=body.get("joint", []),
            representative=body.get("representative", ""),
            officer=body.get("officer", ""),
            purposes=body["purposes"],
            subjects=body.get("subjects", []),
            categories=body.get("categories", []),
            recipients=body.get("recipients", []),
            countries=body.get("countries", []),
            safeguards=body.get("safeguards", ""),
            retention=body.get("retention", ""),
            security=body.get("security", ""),
            lacking=lacking,
        )
    ]
    if lacking:
        effects.append(alert("incomplete", lacking=lacking))
    return effects


def on_processing_change(event, state, env):
    processing = state["processing"]
    body = event.body
    lacking = [name for name in processing["lacking"] if not body.get(name)]
    effects = [
        write(
            "processing",
            contact=body.get("contact", processing["contact"]),
            joint=body.get("joint", processing["joint"]),
            representative=body.get("representative", processing["representative"]),
            officer=body.get("officer", processing["officer"]),
            subjects=body.get("subjects", processing["subjects"]),
            categories=body.get("categories", processing["categories"]),
            recipients=body.get("recipients", processing["recipients"]),
            countries=body.get("countries", processing["countries"]),
            safeguards=body.get("safeguards", processing["safeguards"]),
            retention=body.get("retention", processing["retention"]),
            security=body.get("security", processing["security"]),
            lacking=lacking,
        )
    ]
    if lacking:
        effects.append(finding("GDPR/30-1", on="processing", lacking=lacking))
    return effects


def on_processing_end(event, state, env):
    lacking = state["processing"]["lacking"]
    if lacking:
        return finding("GDPR/30-1", on="processing", lacking=lacking)


def on_processor_record(event, state, env):
    body = event.body
    effects = [
        write(
            "engagement",
            contact=body.get("contact", ""),
            representative=body.get("representative", ""),
            officer=body.get("officer", ""),
            activities=body["activities"],
            countries=body.get("countries", []),
            safeguards=body.get("safeguards", ""),
            security=body.get("security", ""),
        )
    ]
    lacking = [name for name in ["contact", "activities", "security"] if not body.get(name)]
    if lacking:
        effects.append(alert("incomplete-processor", lacking=lacking))
    return effects


def on_processor_end(event, state, env):
    engagement = state["engagement"]
    if engagement["status"] == "engaged" and not engagement.get("activities"):
        return finding("GDPR/30-2", about=engagement["processor"], on="engagement")
