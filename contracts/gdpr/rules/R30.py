"""R30 处理活动记录 · Record of processing. GDPR Art. 30(1).

The record must name subjects, categories, recipients, retention and security. A record that lacks one of them is kept, for
the processing happens; it is an alert at once, and a candidate finding when the activity ends or changes without the rest.
"""

WANTED = ["subjects", "categories", "recipients", "retention", "security"]


def on_processing_record(event, state, env):
    body = event.body
    lacking = [name for name in WANTED if not body.get(name)]
    effects = [
        write(
            "processing",
            controller=event.member,
            purposes=body["purposes"],
            subjects=body.get("subjects", []),
            categories=body.get("categories", []),
            recipients=body.get("recipients", []),
            countries=body.get("countries", []),
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
            subjects=body.get("subjects", processing["subjects"]),
            categories=body.get("categories", processing["categories"]),
            recipients=body.get("recipients", processing["recipients"]),
            countries=body.get("countries", processing["countries"]),
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
