"""S1 数据源登记 · Registered sources. Online litigation rules Art. 18: how facts were kept before chaining."""


def on_source_register(event, state, env):
    return write(
        "source",
        owner=event.member,
        system=event.body["system"],
        method=event.body["method"],
        storage=event.body["storage"],
        witness=event.body.get("witness"),
        cadence_hours=event.body.get("cadence_hours"),
    )
