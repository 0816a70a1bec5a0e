"""`ledger rules explain EVENT --ledger SOURCE`: which rule decided what, and why; of an event, or of a timer that fired.

Rules: everything before the event is decided again by the ledger's own rulebook, so that what is shown is what ran; a
verdict that comes out otherwise than recorded is said, and ends with code 6. Not here: the trace (see `adapters.ruletrace`).
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ledger.cli.command import argument, command, option
from ledger.cli.exits import Exit
from ledger.cli.output import Console
from ledger.cli.tables import fields, on_screen, safe
from ledger.cli.verdicts import Rulebook, format_time, verdict_lines

if TYPE_CHECKING:
    from ledger.rules.explain import Explanation, RuleSaid
    from ledger.rules.program import Program

STEP_CHARS_MAX = 110
KEY_CHARS = 16


@command("explain")
@argument("event")
@option("--ledger", "source", metavar="SOURCE", required=True)
@option("--steps/--no-steps", default=True)
def explain(console: Console, event: str, source: str, steps: bool) -> None:
    """Say why an event or a timer was decided as it was."""
    from ledger.adapters.audit.ruletrace import explain_event, explain_fired
    from ledger.adapters.audit.sources import open_source
    from ledger.cli.progress import Progress
    from ledger.cli.settings import Settings

    key, due = _timer(event) if event.startswith("timer/") else ("", None)
    if not key:
        _check_event(event)
    opened = open_source(source, timeout_s=Settings(console.environment, {}).timeout_s())
    total = getattr(opened, "events_hint", lambda: None)()
    with Progress(console, _text(console, "explain.progress"), total) as bar:
        program, found = explain_fired(opened, key, due, bar.at) if key else explain_event(opened, event, bar.at)
    wrong = found.again is not None and not found.exact
    text = _render(console, program, found, steps=steps)
    console.result(_document(console, program, found), on_screen(console, text), Exit.INTEGRITY if wrong else Exit.OK)


def _check_event(event: str) -> None:
    from ledger.cli.settings import SettingError
    from ledger.core.ident import check_uuid7
    from ledger.errors import MalformedError

    member, _, event_id = event.rpartition("/")
    try:
        check_uuid7(event_id, "event")
    except MalformedError as error:
        raise SettingError("event-name", "an event is named <member>/<event id>", got=event) from error
    if not member:
        raise SettingError("event-name", "an event is named <member>/<event id>", got=event)


def _timer(text: str) -> tuple[str, int | None]:
    """Key and due of `timer/<rule>/<object>[#label][@<due>]`; without a due it is the last time that it fired."""
    from ledger.cli.settings import SettingError
    from ledger.core.ident import parse_time
    from ledger.errors import MalformedError

    key, at, due = text.partition("@")
    try:
        when = parse_time(due) if at else None
    except MalformedError as error:
        raise SettingError("event-name", "a timer is named timer/<rule>/<object>@<due>", got=text) from error
    if len(key.split("/")) < 4:
        raise SettingError("event-name", "a timer is named timer/<rule>/<object>@<due>", got=text)
    return key, when


def _document(console: Console, program: Program, found: Explanation) -> dict[str, Any]:
    document = asdict(found)
    document["kind"] = document.pop("kind_name")
    document["title"] = found.kind.title if found.kind is not None else None
    document["exact"] = found.exact
    codes = _codes(found)
    document["texts"] = {
        code: {"title": text.title, "article": text.article}
        for code, text in sorted(program.book.texts.items())
        if code in codes
    }
    document["verdict_text"] = verdict_lines(console, found.verdict, _texts(console, program))
    return document


def _codes(found: Explanation) -> set[str]:
    verdict = found.verdict
    codes = {reason[1] for reason in verdict.get("reasons", ())}
    return codes | {item["code"] for name in ("findings", "alerts") for item in verdict.get(name, ())}


def _texts(console: Console, program: Program) -> Rulebook:
    texts = {code: {"title": text.title, "article": text.article} for code, text in program.book.texts.items()}
    return Rulebook(console.language, lambda: {"texts": texts})


def _render(console: Console, program: Program, found: Explanation, *, steps: bool) -> str:
    language = console.language
    kind = found.kind_name
    if found.kind is not None:
        nature = _text(console, "explain.act" if found.kind.act else "explain.request")
        kind = f"{kind} {found.kind.title[language]} ({nature})"
    why = _text(console, f"explain.judged-{'act' if found.kind is not None and found.kind.act else 'request'}")
    roles = ", ".join(found.roles) or "-"
    if found.due is not None:
        return _whole(console, program, found, _fired(console, program, found), steps=steps)
    pairs: list[tuple[str, object]] = [
        (_text(console, "explain.event"), found.event),
        (_text(console, "explain.kind"), kind),
        (_text(console, "explain.intent"), "✓" if found.intent else None),
        (
            _text(console, "explain.recorded"),
            _text(console, "explain.block", time=format_time(found.recorded), height=found.height),
        ),
        (_text(console, "explain.claimed"), format_time(found.claimed)),
        (_text(console, "explain.judged"), _text(console, "explain.judged-text", day=found.judged, why=why)),
        (
            _text(console, "explain.signed"),
            _text(console, "explain.signed-text", key=found.key[:KEY_CHARS], roles=roles),
        ),
        (_text(console, "explain.refs"), _pairs(found.refs)),
        (_text(console, "explain.body"), _pairs(found.body)),
        (
            _text(console, "explain.rulebook"),
            f"{program.book.title[language]} {program.book.version} ({program.rulebook_hash.hex()[:12]})",
        ),
    ]
    return _whole(console, program, found, pairs, steps=steps)


def _fired(console: Console, program: Program, found: Explanation) -> list[tuple[str, object]]:
    """What is known of a timer."""
    why = _text(console, "explain.judged-timer")
    return [
        (_text(console, "explain.timer"), found.event),
        (_text(console, "explain.due"), format_time(found.claimed)),
        (
            _text(console, "explain.recorded"),
            _text(console, "explain.block", time=format_time(found.recorded), height=found.height),
        ),
        (_text(console, "explain.judged"), _text(console, "explain.judged-text", day=found.judged, why=why)),
        (_text(console, "explain.data"), _pairs(found.body) if found.body else None),
        (
            _text(console, "explain.rulebook"),
            f"{program.book.title[console.language]} {program.book.version} ({program.rulebook_hash.hex()[:12]})",
        ),
    ]


def _whole(
    console: Console, program: Program, found: Explanation, pairs: list[tuple[str, object]], *, steps: bool
) -> str:
    parts = [fields(pairs)]
    lines = [f"  {line}" for line in verdict_lines(console, found.verdict, _texts(console, program))]
    parts.append("\n".join([_text(console, "explain.verdict"), *lines]))
    if found.again is not None and not found.exact:
        again = safe(found.again)
        parts.append(console.paint(_text(console, "explain.differs", again=again), "red"))
    if any(rule.steps or rule.effects or rule.failed for rule in found.rules):
        rules = [line for rule in found.rules for line in _rule(console, rule, steps=steps)]
        parts.append("\n".join([_text(console, "explain.rules"), *rules]))
    else:
        parts.append(_text(console, "explain.no-rules"))
    if found.written:
        parts.append("\n".join([_text(console, "explain.written"), *_written(console, found)]))
    return "\n\n".join(parts)


def _rule(console: Console, rule: RuleSaid, *, steps: bool) -> list[str]:
    title = console.paint(f"{rule.rule} {rule.title[console.language]}", "bold")
    lines = [f"  {title} <{safe(rule.article)}>  {rule.file}"]
    if rule.failed:
        lines.append("    " + console.paint(_text(console, "explain.failed", error=safe(rule.failed)), "red"))
    elif not rule.steps and not rule.effects:
        lines.append("    " + _text(console, "explain.not-asked"))
        return lines
    elif not rule.effects:
        lines.append("    " + _text(console, "explain.silent"))
    lines += [f"    - {_text(console, f'effect.{op}')}: {safe(rest)}" for op, rest in rule.effects]
    if rule.parameters:
        lines.append(f"    {_text(console, 'explain.parameters')}")
    for used in rule.parameters:
        values = {
            "name": used.name, "title": used.title[console.language], "value": safe(used.value), "since": used.since,
            "source": safe(used.source), "open": used.open,
        }  # fmt: skip
        key = "explain.open" if used.open else "explain.parameter"
        lines.append(f"      {safe(_text(console, key, **values))}")
    if steps and rule.steps:
        lines.append(f"    {_text(console, 'explain.because')}")
        for step in rule.steps:
            text = step.text if len(step.text) <= STEP_CHARS_MAX else step.text[: STEP_CHARS_MAX - 1] + "…"
            lines.append(f"    {step.line:>4}  {safe(text)}")
            lines += [f"            {safe(name)} = {safe(value)}" for name, value in step.seen]
    return lines


def _written(console: Console, found: Explanation) -> list[str]:
    lines: list[str] = []
    last = ""
    for change in found.written:
        if change.object != last:
            lines.append(f"  {safe(change.object)}")
            last = change.object
        writer = {"table": _text(console, "explain.by-table"), "": _text(console, "explain.by-ledger")}.get(
            change.writer, change.writer
        )
        lines.append(f"    {change.field}: {safe(change.before or '-')} → {safe(change.after or '-')}  [{writer}]")
    return lines


def _pairs(values: dict[str, Any]) -> str:
    import json

    return ", ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in values.items()) or "-"


def _text(console: Console, key: str, /, **values: object) -> str:
    return console.texts.text(key, catalogue_name="rules", **values)
