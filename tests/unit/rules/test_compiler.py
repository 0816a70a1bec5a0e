"""Whether the parts of a rulebook fit: what a rule mentions is declared, fields have one writer, timers have what they need."""

from __future__ import annotations

import pickle

import pytest

from ledger.core.bundle import bundle_hash
from ledger.core.hashing import sha256
from ledger.errors import MalformedError
from ledger.rules.facts import RuleFacts
from ledger.rules.prelude import program_text
from ledger.rules.program import Program
from tests.unit.rules.books import (
    KINDS,
    NOW,
    OBJECTS,
    PARAMS,
    TABLES,
    TEXTS,
    Ledger,
    contract,
    contract_program,
    rule,
    tiny,
    tiny_files,
)

DO = "def on_thing_do(event, state, env):\n    return "
ASK = "def on_thing_ask(event, state, env):\n    return "
ON_TIMER = "def on_timer_R1(timer, state, env):\n    return None\n"

MISFITS = [
    ("def on_thing_dance(event, state, env):\n    return None\n", "listens to no kind", ""),
    (DO + "refuse('no')\n", "is an act and cannot be refused", "breach"),
    (DO + "state['nothing']\n", "no object 'nothing' here", "tally, thing"),
    (DO + "write('nothing', n=1)\n", "no object 'nothing' here", ""),
    (DO + "breach('LAW/1', on='nothing')\n", "no object 'nothing' here", ""),
    (DO + "write('tally', m=1)\n", "tally has no field 'm'", "objects.toml"),
    (DO + "write('thing', owner='x')\n", "written by M1 already", "one writer"),
    (DO + "write('thing', status='new')\n", "written by table thing already", "one writer"),
    (DO + "move('thing', 'fly')\n", "has no !fly", ""),
    (DO + "move('tally', 'late')\n", "has no !late", ""),
    (DO + "breach('LAW/9', on='thing')\n", "no text of type finding or refusal", "texts.toml"),
    (DO + "finding('no', on='thing')\n", "no text of type finding", ""),
    (DO + "alert('no')\n", "no text of type alert", ""),
    (ASK + "refuse('look')\n", "no text of type refusal", ""),
    (DO + "alert('look', x=env.params['weeks'])\n", "no parameter 'weeks'", "params.toml"),
    (DO + "alert('look', x=event.refs['nothing'])\n", "no ref 'nothing'", ""),
    (DO + "alert('look', x=event.refs.get('nothing'))\n", "no ref 'nothing'", ""),
    (DO + "alert('look', x=event.body['nothing'])\n", "no field 'nothing'", ""),
    (DO + "set_timer('R1', on='thing', due=env.now)\n", "nobody handles the timer 'R1'", "on_timer_R1"),
    (DO + "duty('R1', by='a', on='thing', due=env.now)\n", "nobody handles the timer 'R1'", "on_timer_R1"),
    (
        DO + "set_timer('R1', on='thing', due=env.now)\n"
        "def on_timer_R1(timer, state, env):\n    return duty('R1.x', by='a', on='thing', due=env.now)\n",
        "nobody handles the timer 'R1.x'",
        "",
    ),
    (DO + "duty('M1', by='a', on='thing', due=None)\n", "belongs to another rule", ""),
    (DO + "duty('R1', by='a', on='thing', due=None, kinds=['thing.dance'])\n", "unknown kind 'thing.dance'", ""),
    (DO + "duty('R1', by='a', on='tally', due=None, kinds=['thing.stop'])\n", "touches no tally", ""),
    (DO + "clear_timer('R1', on='thing', label=event.refs['nothing'])\n", "no ref 'nothing'", ""),
    (ON_TIMER, "nobody sets the timer 'R1'", ""),
    ("def on_timer_X1(timer, state, env):\n    return None\n", "named by another rule", "R1"),
    (
        DO + "set_timer('R1', on='thing', due=env.now)\n"
        "def on_timer_R1(timer, state, env):\n    return alert('look', x=env.signer.member)\n",
        "no event and no signer",
        "",
    ),
    (
        ASK + "set_timer('R1', on='thing', due=env.now)\n"
        "def on_timer_R1(timer, state, env):\n    return alert('look', x=state['tally'])\n",
        "needs tally, which thing.ask does not have",
        "refs or state",
    ),
    ("def on_any(event, state, env):\n    return alert('look', x=state['thing'])\n", "on_any sees event.kind", ""),
    ("def lonely(state):\n    return duty('R1', by='a', on='thing', due=None, kinds=['thing.do'])\n", "nothing calls", ""),
]  # fmt: skip


@pytest.mark.parametrize(("body", "message", "advice"), MISFITS)
def test_misfit_is_refused(body: str, message: str, advice: str) -> None:
    """What does not fit together is refused with file, line and advice when the rulebook is compiled."""
    with pytest.raises(MalformedError) as caught:
        tiny(rule(body))
    assert caught.value.code == "rule"
    assert message in caught.value.message
    assert advice in str(caught.value.evidence["advice"])
    assert caught.value.evidence["file"] == "rules/R1.py"


def test_field_has_one_writer_across_rules() -> None:
    """Two rules that write one field of an object are refused, whatever their kinds; two fields are fine."""
    books = rule(DO + "write('tally', n=1)\n", "R1")
    with pytest.raises(MalformedError) as caught:
        tiny(books | rule(DO + "write('tally', n=2)\n", "R2"))
    assert "tally.n is written by R1 already" in caught.value.message
    tiny(books | rule(DO + "write('thing', note='x')\n", "R2"))


def test_handler_with_more_objects_than_a_timer_carries() -> None:
    """A handler that reads more than eight objects is refused."""
    states = "".join(f's{n} = "tally/{{member}}/{n}", ' for n in range(9)).rstrip(", ")
    kinds = KINDS.replace('state = { tally = "tally/{member}" }', f'state = {{ tally = "tally/{{member}}", {states} }}')
    reads = "".join(f"    x = state['s{n}']\n" for n in range(9))
    body = (
        DO + f"set_timer('R1', on='thing', due=env.now)\ndef on_timer_R1(timer, state, env):\n{reads}    return None\n"
    )
    with pytest.raises(MalformedError) as caught:
        tiny(rule(body), kinds=kinds)
    assert "at most 8 objects" in caught.value.message


def test_rule_that_listens_to_everything() -> None:
    """`on_any` is called for every kind of the rulebook."""
    ledger = Ledger(tiny(rule("def on_any(event, state, env):\n    return alert('look', kind=event.kind)\n")))
    thing, said, _ = ledger.do("thing.make")
    assert said["alerts"][0]["args"] == {"kind": "thing.make"}
    assert ledger.do("thing.do", {"thing": thing})[1]["alerts"][0]["args"] == {"kind": "thing.do"}


BROKEN = [
    ("rulebook.toml", b"language = 1", b"language = 2", "speaks language 1"),
    ("rulebook.toml", b'id = "tiny"', b"", "id is missing"),
    ("rulebook.toml", b'id = "tiny"', b"id = 3", "id must be str"),
    ("rulebook.toml", b'zone = "+08:00"', b'zone = "Asia/Shanghai"', "not a zone"),
    ("rulebook.toml", b'zone = "+08:00"', b'zone = "-05:30"', "the rulebook's zone is"),
    ("rulebook.toml", b'"2025-08-01"', b'"2025-8-1"', "not a date"),
    ("rulebook.toml", b'zh = "\xe5\xb0\x8f", ', b"", "needs zh and en"),
    ("rulebook.toml", b"language", b"speed = 1\nlanguage", "unknown entry 'speed'"),
    ("rulebook.toml", b"id", b"id = 1\nid", "not TOML"),
    ("kinds/thing.toml", b'type = "request"', b'type = "wish"', "request or act"),
    ("kinds/thing.toml", b'type = "request"', b'type = "request"\ncode = "Make it"', "upper-case words"),
    ("kinds/thing.toml", b'["thing.make"]', b'["Thing.Make"]', "dotted lower-case"),
    ("kinds/thing.toml", b"thing = {}", b"Thing = {}", "named by its stream kind"),
    ("kinds/thing.toml", b"thing = {}", b"ticket = {}", "named by its stream kind"),
    ("kinds/thing.toml", b"thing = {}", b"thing = { many = 65 }", "1 to 32, or 64"),
    ("kinds/thing.toml", b"thing = {}", b"thing = { maybe = true }", "unknown entry"),
    ("kinds/thing.toml", b"tally/{member}", b"tally", "key template"),
    ("kinds/thing.toml", b"tally/{member}", b"tally/{nobody}", "unknown variable"),
    ("kinds/thing.toml", b"tally/{member}", b"timer/{member}", "cannot be named"),
    ("kinds/thing.toml", b'tally = "tally', b'thing = "tally', "one name"),
    ("kinds/thing.toml", b'creates = "thing"', b'creates = "duty"', "cannot be created"),
    ("objects.toml", b"[other]", b"[gizmo]", "object kind 'other' is not declared"),
    ("kinds/thing.toml", b'creates = "thing"', b'creates = "thing"\nby = ["thing"]', "no field of a single object"),
    ("kinds/thing.toml", b'creates = "thing"', b'creates = "thing"\nowns = ["other"]', "no single ref"),
    ("kinds/thing.toml", b'creates = "thing"', b'creates = "thing"\nagree = { x = 3 }', "agree maps"),
    ("kinds/thing.toml", b'type = "int"', b'type = "float"', "unknown type"),
    ("kinds/thing.toml", b"n = {", b"N = {", "bad name of a field"),
    ("kinds/thing.toml", b"n = {", b"salt = {", "bad name of a field"),
    ("kinds/thing.toml", b"max = 4000", b"max = 5000", "max is 1 to 4000"),
    ("objects.toml", b"[thing]", b"[Thing]", "bad name of an object kind"),
    ("objects.toml", b"status =", b"_status =", "bad name of a field"),
    ("objects.toml", b"status =", b"target =", "bad name of a field"),
    ("objects.toml", b'zh = "\xe4\xb8\xbb", ', b"", "needs zh and en"),
    ("tables.toml", b"[thing]", b"[gizmo]", "no field 'status' of an object kind 'gizmo'"),
    ("tables.toml", b'"thing.ask" = "asked"', b'"thing.fly" = "asked"', "no kind that touches thing"),
    ("tables.toml", b'"thing.ask" = "asked"', b'"thing.ask" = "As Ked"', "bad status"),
    ("tables.toml", b'"!late" = "late"', b'"!La te" = "late"', "bad signal"),
    ("tables.toml", b'"thing.do" = "LAW/1"', b'"thing.ask" = "LAW/1"', "is a request"),
    ("tables.toml", b'"thing.do" = "LAW/1"', b'"thing.do" = "LAW/7"', "no text of type finding"),
    ("params.toml", b'"2026-03-01"', b'"2025-03-01"', "ascending"),
    ("params.toml", b"value = 10,", b"", "a value is"),
    ("params.toml", b'bound = "max"', b'bound = "most"', "bound is one of"),
    ("params.toml", b"value = 10,", b"value = 1.5,", "a value is"),
    ("texts.toml", b'type = "alert"', b'type = "shout"', "a code is"),
    ("texts.toml", b'zh = "\xe4\xb8\x8d", ', b"", "needs zh and en"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "old", "new", "message"), BROKEN)
def test_broken_declaration_is_refused(path: str, old: bytes, new: bytes, message: str) -> None:
    """Every declaration is closed: what is missing, unknown or odd is refused with the file's name."""
    files = tiny_files()
    assert old in files[path]
    files[path] = files[path].replace(old, new, 1)
    with pytest.raises(MalformedError) as caught:
        Program.compile(files, contract()[1])
    assert caught.value.code in ("rulebook", "rule")
    assert message in caught.value.message, caught.value.message


@pytest.mark.parametrize("path", ["rules/r.txt", "kinds/UP.toml", "rules/../x.py", "secret.key", "kinds/thing.json"])
def test_unknown_file_is_refused(path: str) -> None:
    """A rulebook holds the files it declares and no others."""
    with pytest.raises(MalformedError) as caught:
        Program.compile(tiny_files() | {path: b""}, contract()[1])
    assert "no such file" in caught.value.message


@pytest.mark.parametrize("path", ["rulebook.toml", "objects.toml", "texts.toml", "kinds/thing.toml"])
def test_missing_file_is_refused(path: str) -> None:
    """The files that every rulebook has must be there."""
    files = tiny_files()
    del files[path]
    with pytest.raises(MalformedError):
        Program.compile(files, contract()[1])


def test_same_kind_in_two_files_is_refused() -> None:
    """A kind is declared once."""
    with pytest.raises(MalformedError) as caught:
        Program.compile(tiny_files() | {"kinds/again.toml": KINDS.encode()}, contract()[1])
    assert "declared in kinds/again.toml already" in caught.value.message


def test_program_is_a_function_of_its_files() -> None:
    """The same files give the same text and hashes, in any order of the mapping; a changed byte gives another."""
    files, calendars = contract()
    again = Program.compile(dict(reversed(files.items())), dict(reversed(calendars.items())))
    program = contract_program()
    assert (again.text, again.source_hash) == (program.text, program.source_hash)
    assert program.source_hash == sha256(program.text.encode())
    assert program.rulebook_hash == bundle_hash(files)
    assert program.text.startswith(program_text())
    assert program.prelude_hash == sha256(program_text().encode())
    files["rules/A1.py"] = files["rules/A1.py"].replace(b"not-published", b"own-data")
    assert Program.compile(files, calendars).source_hash != program.source_hash


def test_program_is_pickled_as_its_files() -> None:
    """A pickled program carries files, not code, and compiles to the same text."""
    program = tiny()
    data = pickle.dumps(program)
    assert b"on_thing_make" in data and b"_METER" not in data
    assert pickle.loads(data).text == program.text


def test_plan_follows_from_bytes() -> None:
    """The plan lists objects, templates, what is created, and every duty and timer that the kind may touch."""
    books = rule(
        DO
        + "[duty('R1', by='jy', on='thing', due=env.now, kinds=['thing.stop']), discharge('R1', on='thing', label='x'),\n"
        "            clear_timer('R1', on='thing', label=event.member)]\n" + ON_TIMER
    )
    program = tiny(books)
    head = {"id": "0192f5c2", "kind": "thing.do", "refs": {"thing": "ga/1"}, "time": "2026-03-02T01:00:00.000Z"}
    assert set(program.plan("ga", head, {})) == {
        "thing/ga/1", "tally/ga", "duty/R1/thing/ga/1", "timer/R1/thing/ga/1",
        "duty/R1/thing/ga/1#x", "timer/R1/thing/ga/1#x", "timer/R1/thing/ga/1#ga",
    }  # fmt: skip
    assert set(program.plan("ga", {**head, "refs": {"thing": "ga/1", "other": "o"}}, {})) >= {"other/o", "thing/ga/1"}
    assert program.plan("ga", {**head, "kind": "thing.make", "refs": {}}, {}) == ("thing/ga/0192f5c2",)
    assert "ticket/ga/0192f5c2" in program.plan("ga", {**head, "intent": True}, {})
    assert "ticket/t" in program.plan("ga", {**head, "refs": {"thing": "ga/1", "ticket": "t"}}, {})
    timer = {"due": 5, "keys": ["thing/ga/1"], "names": ["thing"], "on": "thing/ga/1", "rule": "R1"}
    assert program.plan_timer(timer) == ("timer/R1/thing/ga/1", "duty/R1/thing/ga/1", "thing/ga/1")
    assert program.plan_timer({**timer, "label": "jy", "keys": [""]})[:2] == (
        "timer/R1/thing/ga/1#jy",
        "duty/R1/thing/ga/1#jy",
    )


@pytest.mark.parametrize(
    "head",
    [
        {},
        {"kind": "thing.do"},
        {"kind": ["thing.do"]},
        {"kind": "thing.fly", "refs": {}, "id": "x"},
        {"kind": "thing.do", "refs": None, "id": "x"},
        {"kind": "thing.do", "refs": {"thing": None}, "id": "x"},
        {"kind": "thing.do", "refs": {"thing": ["a"]}, "id": "x"},
        {"kind": "thing.do", "refs": {}, "id": 3},
    ],
)
def test_plan_never_raises(head: dict[str, object]) -> None:
    """For what the rules will refuse for its shape, the plan is empty or partial, and nothing is raised."""
    assert isinstance(tiny().plan("ga", head, {}), tuple)


def test_kinds_are_listed_for_people_and_forms() -> None:
    """Declarations of every kind are there, with titles in both languages."""
    kinds = contract_program().kinds()
    assert set(kinds) >= {"share.apply", "use.access", "import.batch"}
    assert kinds["share.apply"].title == {"zh": "共享申请", "en": "Apply for sharing"}
    assert not kinds["share.apply"].act and kinds["use.access"].act


def test_documents_of_the_tiny_rulebook_are_used() -> None:
    """The replaced documents of these tests are really what is compiled."""
    assert Program.compile(tiny_files(kinds=KINDS, objects=OBJECTS, tables=TABLES, params=PARAMS, texts=TEXTS), {})
    facts = contract_program().book.rules["A3"]
    assert isinstance(facts, RuleFacts)
    assert facts.title == {"zh": "答复时限", "en": "Reply clock"}
    assert facts.article.startswith("Decree 809 Art. 21")
    assert NOW > 0
