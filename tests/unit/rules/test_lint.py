"""`rules check`: everything that is wrong with a rulebook is told at once, each at its file and line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.rules.lint import Examination, examine
from ledger.rules.places import line_of
from tests.unit.rules.books import KINDS, MANIFEST, OBJECTS, PARAMS, TABLES, TEXTS, contract, rule, tiny_files

CALENDARS = contract()[1]
SOURCES = '\n[sources.LAW]\ntitle = { zh = "法", en = "Law of things" }\narticles = 9\n'


def look(rules: dict[str, str] | None = None, cases: dict[str, str] | None = None, **changed: str) -> Examination:
    """The examination of a tiny rulebook that names its source."""
    changed.setdefault("manifest", MANIFEST + SOURCES)
    files = tiny_files(rules, **changed)
    files |= {f"cases/{name}.toml": text.encode() for name, text in (cases or {}).items()}
    return examine(files, CALENDARS)


def found(examination: Examination, code: str) -> list[tuple[str, int, dict[str, str]]]:
    """(file, line, values) of the remarks of one code."""
    return [(each.file, each.line, dict(each.values)) for each in examination.remarks if each.code == code]


def test_every_function_is_heard() -> None:
    """One mistake hides no other: each function of each file has its own remark, and so has each declaration."""
    body = (
        "import os\n\n\n"
        "def on_thing_do(event, state, env):\n    while True:\n        pass\n\n\n"
        "def on_thing_ask(event, state, env):\n    return 1.5\n"
    )
    seen = look(rule(body) | rule("def on_thing_do(event, state, env):\n    return nothing\n", "R2"),
                objects=OBJECTS.replace('{ zh = "物", en = "Thing" }', "3"), params=PARAMS.replace('"max"', '"mix"'))  # fmt: skip
    places = {(file, line) for file, line, _ in found(seen, "language")}
    assert places == {("rules/R1.py", 4), ("rules/R1.py", 8), ("rules/R1.py", 13), ("rules/R2.py", 5)}
    assert {file for file, _, _ in found(seen, "declaration")} == {"objects.toml", "params.toml"}
    assert not seen.whole and seen.program is None


def test_advice_comes_with_the_mistake() -> None:
    """A remark on the language says what to do instead."""
    (_, _, values) = found(
        look(rule("def on_thing_do(event, state, env):\n    while True:\n        pass\n")), "language"
    )[0]
    assert values["message"] == "While is not allowed" and "for" in values["advice"]


def test_what_does_not_fit_is_told_together() -> None:
    """Unknown fields, codes and parameters of several rules are told in one go, each at its line."""
    one = rule("def on_thing_do(event, state, env):\n    return alert('nowhere')\n")
    two = rule("def on_thing_do(event, state, env):\n    return alert('look', x=env.params['gone'])\n", "R2")
    three = rule("def on_thing_gone(event, state, env):\n    return None\n", "R3")
    messages = {(file, line): values["message"] for file, line, values in found(look(one | two | three), "language")}
    assert set(messages) == {("rules/R1.py", 5), ("rules/R2.py", 5), ("rules/R3.py", 4)}
    assert "gone" in messages[("rules/R2.py", 5)]


def test_two_writers_are_named_with_both_places() -> None:
    """A field that two rules write is an error at the second, naming the first; a table counts as a writer."""
    both = rule("def on_thing_do(event, state, env):\n    return write('thing', value=1)\n")
    both |= rule("def on_thing_do(event, state, env):\n    return write('thing', value=2, status='x')\n", "R2")
    remarks = found(look(both), "overlap")
    assert [(file, values["field"], values["other"]) for file, _, values in remarks] == [
        ("rules/R1.py", "value", "M1"),
        ("rules/R2.py", "status", "table thing"),
        ("rules/R2.py", "value", "M1"),
    ]
    assert all(":" in values["place"] for _, _, values in remarks)


def test_a_misspelt_field_is_found() -> None:
    """Reading a field that no object kind declares is an error, also through a name; ledger fields and lists are left."""
    body = (
        "def on_thing_do(event, state, env):\n    thing = state['thing']\n"
        "    if thing['ownr'] == 'x' or state['thing'].get('vlue') or state['tally']['n'] or thing['owner']:\n"
        "        return alert('look')\n"
    )
    assert [(line, values["field"]) for _, line, values in found(look(rule(body)), "field-unknown")] == [
        (6, "ownr"), (6, "vlue"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("article", "code"),
    [
        ("Law 1.", "article-missing"),
        ("LAW Art. 3.", None),
        ("Law of things Art. 3, 9.", None),
        ("LAW Art. 10.", "article-beyond"),
        ("LAW Art. 3 to 12.", "article-beyond"),
        ("Another law Art. 3.", "article-unknown"),
    ],
)
def test_articles_are_known(article: str, code: str | None) -> None:
    """A citation names a source of the rulebook by key or title, and an article that exists."""
    source = f'"""R1 规则 · Rule. {article}"""\n\n\ndef on_thing_do(event, state, env):\n    return None\n'
    codes = [
        each.code for each in look({"R1": source}).remarks if each.file == "rules/R1.py" and "article" in each.code
    ]
    assert codes == ([] if code is None else [code])


def test_silence_of_the_law_is_said() -> None:
    """A value with strict and lenient readings says `not set by law`; one that says so has them."""
    silent = PARAMS.replace("value = 10, source", 'open = "p", strict = 1, lenient = 2, source')
    assert found(look(params=silent), "open-unsaid")
    assert found(look(params=PARAMS.replace("LAW 1", "not set by law: LAW Art. 1")), "open-settled")


def test_unused_declarations_are_warnings() -> None:
    """Refs, parameters, texts, objects, fields, sources and kinds that nothing uses are told, and are no errors."""
    seen = look()
    warned = {each.code for each in seen.remarks if each.severity == "warning"}
    assert {"ref-unread", "param-unread", "text-unused", "field-unwritten", "kind-not-shown"} <= warned
    values = {code: found(seen, code)[0][2] for code in warned}
    assert values["ref-unread"]["refs"] == "other" and values["param-unread"]["name"] == "days"
    assert values["field-unwritten"] == {"object": "thing", "fields": "note"}


def test_a_warning_can_be_explained_in_place() -> None:
    """A comment above with the warning's code makes it a note that shows the reason; another code, an empty line between
    or an error changes nothing, and an explanation that nothing calls for is told."""
    plain = look()
    (_, line, _) = found(plain, "ref-unread")[0]
    rows = KINDS.split("\n")

    def with_comment(comment: str, *between: str) -> Examination:
        return look(kinds="\n".join([*rows[: line - 1], comment, *between, *rows[line - 1 :]]))

    def severities(seen: Examination) -> list[str]:
        return [each.severity for each in seen.remarks if each.code == "ref-unread"]

    said = with_comment("# examined: ref-unread: people look it up by the other")
    usual = severities(plain)
    assert set(usual) == {"warning"} and severities(said).count("note") == 1
    assert (said.explained, said.errors) == (1, plain.errors)
    assert [values["why"] for _, _, values in found(said, "ref-unread") if "why" in values] == [
        "people look it up by the other"
    ]
    assert not found(said, "explained-nothing")
    for other in (
        with_comment("# examined: param-unread: wrong code"),
        with_comment("# examined: ref-unread:"),
        with_comment("# examined: ref-unread: too far away", ""),
        with_comment("# just a comment"),
    ):
        assert severities(other) == usual and other.explained == 0
    assert [
        values["code"] for _, _, values in found(with_comment("# examined: param-unread: no"), "explained-nothing")
    ] == ["param-unread"]
    wrong = rule('# examined: article-unknown: not so\n"""R1 x · y. NOLAW Art. 3."""\n')
    refused = look(wrong)
    assert all(each.severity != "note" for each in refused.remarks)


def test_cases_that_are_missing() -> None:
    """A rule without a type of case is an error; a code and a timer that no case shows are warnings."""
    body = (
        "def on_thing_do(event, state, env):\n"
        "    return [set_timer('R1', on='thing', due=env.now + 5), finding('LAW/2', on='thing')]\n\n\n"
        "def on_timer_R1(timer, state, env):\n    return alert('look')\n"
    )
    case = '[[case]]\nname = "c"\ntype = "edge"\n[[case.step]]\nat = "2026-03-02 09:00"\nby = "ga"\ndo = "thing.make"\n'
    seen = look(rule(body), {"common": "", "R1": case})
    missing = {(values["rule"], values["type"]) for _, _, values in found(seen, "case-missing")}
    assert missing == {(name, kind) for name in ("M1", "R1") for kind in ("accept", "breach", "edge")} - {
        ("R1", "edge")
    }
    assert {values["code"] for _, _, values in found(seen, "code-not-shown")} == {"LAW/2", "look"}
    assert found(seen, "timer-not-shown")[0][2] == {"rule": "R1", "timer": "R1"}
    shown = case.replace('name = "c"', 'name = "d"') + 'findings = ["LAW/2 ga"]\nalerts = ["R1 look"]\nfires = ["R1"]\n'
    seen = look(rule(body), {"common": "", "R1": case + shown})
    assert not found(seen, "code-not-shown") and not found(seen, "timer-not-shown")


def test_a_bad_cases_file_is_a_remark() -> None:
    """Cases that cannot be read are told by file, and the rest is looked at all the same."""
    seen = look(cases={"M1": "[[case]]\nname = 3\n", "R9": ""})
    assert {file for file, _, _ in found(seen, "declaration")} == {"cases/M1.toml", "cases/R9.toml"}
    assert seen.program is not None


def test_lines_of_declarations() -> None:
    """A remark on a declaration points at its line, also below quoted names and inside tables of another head."""
    data = (
        b'# x\n["a.b"]\ntype = "act"\n\n["a.b".refs]\nthing = {}\n["a.b".body]\nn = { type = "int" }\n[days]\nx = 1\n'
    )
    assert [line_of(data, where) for where in ("a.b", "a.b.type", "a.b.refs.thing", "a.b.n", "days.values", "z")] == [
        2, 3, 6, 8, 9, 1,
    ]  # fmt: skip


@given(
    st.sampled_from(["rules/R1.py", "kinds/thing.toml", "objects.toml", "rulebook.toml", "cases/common.toml"]),
    st.binary(max_size=60),
)
def test_any_bytes_are_examined(path: str, data: bytes) -> None:
    """Whatever a file holds, examining ends with remarks or a program."""
    files = tiny_files() | {path: data}
    seen = examine(files, CALENDARS)
    assert seen.remarks or seen.program is not None
    assert all(each.line >= 1 for each in seen.remarks)


@pytest.mark.parametrize("text", [KINDS, OBJECTS, TABLES, TEXTS])
def test_cut_declarations_are_told(text: str) -> None:
    """A declaration file that ends in the middle is a remark at a line of that file, or is missing what others use."""
    name = {KINDS: "kinds", OBJECTS: "objects", TABLES: "tables", TEXTS: "texts"}[text]
    for size in range(5, len(text), 97):
        seen = look(**{name: text[:size]})
        assert seen.remarks
