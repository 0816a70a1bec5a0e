"""Local law: an overlay moves parameters to the safe side of their bounds only, and holds for the obligors of its place."""

from __future__ import annotations

import tomllib

import pytest

from ledger.errors import MalformedError
from ledger.rules.lint import examine
from ledger.rules.params import check_overlay, parse_params
from ledger.rules.program import Program
from tests.unit.rules.books import CONTRACTS, contract, contract_program, tiny_files

HEAD = 'jurisdiction = "xx"\ntitle = { zh = "省", en = "Province" }\neffective = "2025-08-01"\n'
READS = '''"""R1 一 · One. Law 1."""


def on_thing_make(event, state, env):
    if event.body["n"] > env.params["local.days"].get("xx", env.params["days"]):
        return refuse("no")
'''

PARAMS = """
[most]
title = { zh = "上限", en = "Most" }
values = [
  { from = "2025-01-01", value = 20, source = "LAW 1", bound = "max" },
  { from = "2026-01-01", value = 5, source = "LAW 2", bound = "max" },
]
[least]
title = { zh = "下限", en = "Least" }
values = [{ from = "2025-01-01", value = 3, source = "LAW 1", bound = "min" }]
[some]
title = { zh = "其中", en = "Some" }
values = [{ from = "2025-01-01", value = ["a", "b"], source = "LAW 1", bound = "subset" }]
[map]
title = { zh = "表", en = "Map" }
values = [{ from = "2025-01-01", value = { a = 1, b = 10 }, source = "LAW 1", bound = "max" }]
[fixed]
title = { zh = "定", en = "Fixed" }
values = [{ from = "2025-01-01", value = 3, source = "LAW 1" }]
[silent]
title = { zh = "未定", en = "Silent" }
values = [{ from = "2025-01-01", open = "point", strict = 1, lenient = -1, source = "not set by law" }]
"""


def overlaid(name: str, value: str, first: str = "2025-01-01", more: str = "") -> None:
    """Hold one value of an overlay against `PARAMS`."""
    text = f'[{name}]\ntitle = {{ zh = "x", en = "x" }}\nvalues = [{{ from = "{first}", {value}, source = "L" }}{more}]'
    base = parse_params("params.toml", tomllib.loads(PARAMS))
    check_overlay("overlays/x.toml", base, parse_params("overlays/x.toml", tomllib.loads(text)))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("most", "value = 5"), ("most", "value = 0"), ("least", "value = 3"), ("least", "value = 9"), ("some", "value = ['a']"),
        ("some", "value = []"), ("map", "value = { b = 10 }"), ("map", "value = { a = 0, b = 2 }"), ("silent", "value = 7"),
    ],
)  # fmt: skip
def test_what_is_as_strict_or_stricter_is_accepted(name: str, value: str) -> None:
    """The safe side of a bound, and a point that the law left open."""
    overlaid(name, value)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("most", "value = 21", "laxer than LAW 1"),
        ("most", "value = 6", "laxer than LAW 2"),  # lawful when the overlay begins, no longer when the law is amended
        ("most", "value = -1", "laxer than LAW 1"),  # no term at all
        ("most", "value = true", "laxer than LAW 1"),
        ("most", "value = '5'", "laxer than LAW 1"),
        ("least", "value = 2", "laxer than LAW 1"),
        ("some", "value = ['a', 'c']", "laxer than LAW 1"),
        ("some", "value = 'a'", "laxer than LAW 1"),
        ("map", "value = { b = 11 }", "laxer than LAW 1"),
        ("map", "value = { c = 1 }", "laxer than LAW 1"),
        ("map", "value = 1", "laxer than LAW 1"),
        ("fixed", "value = 3", "LAW 1 leaves no room"),
        ("silent", "open = 'point', strict = 1, lenient = -1", "settles a point"),
        ("most", "open = 'point', strict = 1, lenient = -1", "settles a point"),
        ("other", "value = 1", "no such parameter"),
    ],
)
def test_what_is_laxer_or_has_no_room_is_refused(name: str, value: str, message: str) -> None:
    """The other side of a bound, anywhere in the time that the value holds, and what no bound lets move."""
    with pytest.raises(MalformedError) as caught:
        overlaid(name, value)
    assert message in caught.value.message


def test_a_value_is_held_against_the_law_of_its_own_time() -> None:
    """Laxer than a later law, but ended before that law began."""
    overlaid("most", "value = 20", more=', { from = "2026-01-01", value = 5, source = "L" }')
    with pytest.raises(MalformedError):
        overlaid("most", "value = 20", more=', { from = "2026-01-02", value = 5, source = "L" }')


def overlay(text: str, head: str = HEAD, rules: dict[str, str] | None = None) -> Program:
    """A tiny rulebook with one overlay."""
    files = tiny_files({"R1": READS} if rules is None else rules) | {"overlays/x.toml": (head + text).encode()}
    return Program.compile(files, contract()[1])


def test_rules_read_local_values_by_jurisdiction_and_day() -> None:
    """Before its first day an overlay says nothing; each further value takes the place of the one before."""
    text = '[params.days]\nvalues = [{ from = "2025-08-01", value = 4, source = "LAW 3" }, '
    program = overlay(text + '{ from = "2026-06-01", value = 2, source = "LAW 4" }]')
    found = program.book.params["local.days"]
    assert [value.value for value in found.values] == [{}, {"xx": 4}, {"xx": 2}]
    assert found.title == program.book.params["days"].title
    assert found.file == "overlays/x.toml"


def test_without_an_overlay_the_map_is_empty() -> None:
    """A rule may ask for local law where there is none."""
    program = Program.compile(tiny_files({"R1": READS}), contract()[1])
    assert [value.value for value in program.book.params["local.days"].values] == [{}]


@pytest.mark.parametrize(
    ("head", "text", "message"),
    [
        (HEAD, '[params.days]\nvalues = [{ from = "2025-08-01", value = 11, source = "L" }]', "laxer than LAW 1"),
        (HEAD, '[params.none]\nvalues = [{ from = "2025-08-01", value = 1, source = "L" }]', "no such parameter"),
        (HEAD, '[params.days]\nvalues = [{ from = "2025-07-31", value = 1, source = "L" }]', "before its overlay"),
        (HEAD, '[params.days]\ntitle = { zh = "x", en = "x" }\nvalues = []', "unknown entry"),
        (HEAD, '[added.days]\ntitle = { zh = "x", en = "x" }\nvalues = [{ from = "2025-08-01", value = 1, source = "L" }]',
         "has this parameter already"),
        (HEAD, '[added.more]\ntitle = { zh = "x", en = "x" }\nvalues = [{ from = "2025-08-01", value = 1, source = "L" }]',
         "no rule reads"),
        (HEAD, '[[left_out]]\narticle = "L"', "title is missing"),
        (HEAD, "surplus = 1", "unknown entry"),
        (HEAD.replace('"xx"', '"X X"'), "", "letters, digits and -"),
        ("", "", "jurisdiction is missing"),
    ],
)  # fmt: skip
def test_an_odd_overlay_is_refused(head: str, text: str, message: str) -> None:
    """An overlay is closed, and says nothing that no rule hears."""
    with pytest.raises(MalformedError) as caught:
        overlay(text, head)
    assert message in caught.value.message
    assert caught.value.evidence["file"] == "overlays/x.toml"


def test_one_overlay_for_each_jurisdiction() -> None:
    """Two files for one place would leave open which holds."""
    files = tiny_files() | {f"overlays/{name}.toml": HEAD.encode() for name in ("a", "b")}
    with pytest.raises(MalformedError) as caught:
        Program.compile(files, contract()[1])
    assert "declared in overlays/a.toml already" in caught.value.message


def test_no_parameter_of_the_rulebook_takes_a_local_name() -> None:
    """`local.` is the overlays' alone."""
    text = '["local.days"]\ntitle = { zh = "x", en = "x" }\nvalues = [{ from = "2025-08-01", value = 1, source = "L" }]'
    with pytest.raises(MalformedError):
        Program.compile(tiny_files(params=text), contract()[1])


# What the shipped overlay says.


def sichuan(old: str = "", new: str = "") -> Program:
    """The rulebook of the repository with its overlay changed."""
    files, calendars = contract()
    files = dict(files)
    path = "overlays/sichuan.toml"
    assert old.encode() in files[path]
    files[path] = files[path].replace(old.encode(), new.encode(), 1)
    return Program.compile(files, calendars)


@pytest.mark.parametrize(
    ("old", "new", "law"),
    [
        ("conditional = 5", "conditional = 11", "D809 Art. 21"),
        ('value = 5\nsource = "SC Art. 24: only', 'value = 11\nsource = "SC Art. 24: only', "D809 Art. 21"),
        ("value = 2\n", "value = 21\n", "D809 Art. 22"),
    ],
)  # fmt: skip
def test_sichuan_is_held_to_the_decree(old: str, new: str, law: str) -> None:
    """Terms longer than the Decree's are refused, with the article that they are laxer than."""
    with pytest.raises(MalformedError) as caught:
        sichuan(old, new)
    assert caught.value.message.startswith(f"laxer than {law}")


def test_a_rule_as_ground_to_refuse_is_laxer_than_the_decree() -> None:
    """Art. 23 of Sichuan's regulation lets rules justify refusal; as a parameter it does not pass."""
    laxer = (
        '[params.refusal_ranks]\n[[params.refusal_ranks.values]]\nfrom = "2023-01-01"\n'
        'value = ["law", "regulation", "state-council", "rule"]\nsource = "SC Art. 23"\n\n[params.reply_days]'
    )
    with pytest.raises(MalformedError) as caught:
        sichuan("[params.reply_days]", laxer)
    assert caught.value.message.startswith("laxer than D809 Art. 14")


def test_what_the_overlay_leaves_out_is_said() -> None:
    """The parts of the local law that are not applied stand in the overlay, in both languages."""
    found = contract_program().book.overlays["cn-sc"]
    assert {left.article for left in found.left_out} >= {"SC Art. 23", "SC Art. 24", "SC Art. 28", "SC Art. 69"}
    assert all(set(left.title) == {"zh", "en"} for left in found.left_out)


def test_an_article_that_the_local_law_does_not_have_is_remarked() -> None:
    """Citations of overlays are checked as those of the rulebook."""
    files, calendars = contract()
    files = dict(files)
    files["overlays/sichuan.toml"] = files["overlays/sichuan.toml"].replace(b"SC Art. 28", b"SC Art. 71")
    remarks = examine(files, calendars).remarks
    assert [(each.code, each.file) for each in remarks if each.severity == "error"] == [
        ("article-beyond", "overlays/sichuan.toml")
    ]


def test_the_overlay_is_part_of_the_bundle() -> None:
    """A changed overlay is another rulebook and another program."""
    before, after = contract_program(), sichuan("conditional = 5", "conditional = 4")
    assert (CONTRACTS / "data-sharing" / "overlays" / "sichuan.toml").is_file()
    assert before.rulebook_hash != after.rulebook_hash
    assert before.source_hash != after.source_hash
