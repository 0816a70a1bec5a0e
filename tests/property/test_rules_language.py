"""Laws of the rule language over generated expressions: both runtimes compute the same, guards hold, budgets are equal."""

from __future__ import annotations

import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ledger.adapters.runtime.monty import Monty
from ledger.core import canonical
from ledger.errors import MalformedError, UnavailableError
from ledger.limits import INT_MAX
from ledger.rules.check import check_rule
from ledger.rules.plain import Plain
from ledger.rules.program import Program
from tests.unit.rules.books import NOW, Ledger, contract, tiny_files

# Plain Python warns of odd displays that a generator makes; rule authors see it in their editor.
pytestmark = pytest.mark.filterwarnings("ignore::SyntaxWarning")

INTS = st.sampled_from(["0", "1", "-1", "2", "7", "31", "1000", "9007199254740991", "-9007199254740991"])
TEXTS = st.sampled_from(["''", "'a'", "'ab'", "'b,a'", "'字'", "'😀'", "'\\n'", "'A'", "'é'"])
LEAVES = st.one_of(
    INTS, TEXTS, st.sampled_from(["True", "False", "None", "n", "s", "xs", "d", "event.time", "[]", "{}"]),
)  # fmt: skip
PAIRS = ["{} + {}", "{} - {}", "{} * {}", "{} // {}", "{} % {}", "{} == {}", "{} != {}", "{} < {}", "{} <= {}", "{} > {}",
         "{} >= {}", "{} in {}", "{} not in {}", "{} and {}", "{} or {}", "[{}, {}]", "{}[{}]", "min({}, {})", "max({}, {})",
         "{}.startswith({})", "{}.endswith({})", "{}.removeprefix({})", "{}.removesuffix({})", "{}.split({})", "{}.join({})",
         "{}.get({})", "{{'b': {}, 'a': {}}}", "range({}, {})", "[y for y in {} if y == {}]", "{}[{}:]", "{}[:{}]",
         "[[y, z] for y in {} for z in {}]", "{{k: v for k, v in {}.items() if k != {}}}"]  # fmt: skip
SINGLES = ["not {}", "-{}", "len({})", "sorted({})", "sum({})", "any({})", "all({})", "min({})", "max({})", "range({})",
           "{} is None", "{} is not None", "[y for y in {}]", "[len(y) for y in {}]", "{{y: 1 for y in {}}}", "{}.keys()",
           "{}.values()", "{}.items()", "{}['a']", "{}.get('b')", "{}[0]", "{}[-1]", "{}[1:2]", "[{}][0]",
           "day({})", "month({})",
           "{} in ('a', 1)"]  # fmt: skip


def grow(children: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Expressions one level larger; every part is in brackets, so precedence never matters."""
    wrapped = children.map(lambda text: f"({text})")
    return st.one_of(
        st.tuples(st.sampled_from(PAIRS), wrapped, wrapped).map(lambda t: t[0].format(t[1], t[2])),
        st.tuples(st.sampled_from(SINGLES), wrapped).map(lambda t: t[0].format(t[1])),
        st.tuples(wrapped, wrapped, wrapped).map(lambda t: f"{t[0]} if {t[1]} else {t[2]}"),
    )


expressions = st.recursive(LEAVES, grow, max_leaves=6)
groups = st.lists(expressions, min_size=6, max_size=24)

RULE = '''"""{name} 式 · Expression. Law 1."""


def on_thing_do(event, state, env):
    n = event.body["n"]
    s = event.body["s"]
    xs = [3, 1, 2]
    d = {{"b": 2, "a": "x"}}
    x = {expression}
    t = f"{{s}}-{{n}}"
    return alert("look", x=x, t=t)
'''


def program_of(group: list[str]) -> Program:
    """A tiny rulebook with one rule for each expression."""
    rules = {}
    for number, text in enumerate(group):
        source = RULE.format(name=f"R{number}", expression=text)
        try:
            check_rule(f"rules/R{number}.py", source.encode())
        except MalformedError:
            continue  # a name used twice inside nested lists, or an `is` with something else than None
        rules[f"R{number}"] = source
    assume(rules)
    return Program.compile(tiny_files(rules), contract()[1])


def decided(program: Program, runtimes: list[object]) -> list[object]:
    """The outcomes of one event in each runtime."""
    ledger = Ledger(program)
    thing = ledger.thing()
    call = ledger.scratch.call(NOW, [], [ledger.event("thing.do", {"thing": thing}, {"n": 5, "s": "ab"})[1]])
    return [runtime.run_block(call) for runtime in runtimes]  # type: ignore[attr-defined]


@pytest.mark.slow
@settings(max_examples=12)
@given(groups)
def test_expressions_agree_in_both_runtimes(group: list[str]) -> None:
    """Every generated expression has the same value, or the same failure at the same line, in CPython and in monty."""
    program = program_of(group)
    try:
        monty = Monty(program)
    except UnavailableError as error:
        pytest.skip(f"no second runtime: {error.message}")
    with monty:
        first, second = decided(program, [program, monty])
    assert second == first


@settings(max_examples=15)
@given(groups)
def test_values_stay_within_bounds(group: list[str]) -> None:
    """Whatever an expression computes, a fact of a verdict is a bounded plain value, and its bytes are canonical."""

    def bounded(value: object, depth: int) -> bool:
        if isinstance(value, (list, dict)):
            items = list(value.values()) if isinstance(value, dict) else value
            return depth < 8 and len(value) <= 1024 and all(bounded(item, depth + 1) for item in items)
        return not isinstance(value, int) or abs(value) <= INT_MAX or isinstance(value, str)

    (outcomes,) = decided(program_of(group), [program_of(group)])
    data = outcomes[0][3]  # type: ignore[index]
    verdict = canonical.parse(data)
    assert canonical.encode_reference(verdict) == data
    assert all(bounded(item["args"]["x"], 0) for item in verdict.get("alerts", []))


@settings(max_examples=15)
@given(groups)
def test_plain_python_computes_the_same_where_no_guard_speaks(group: list[str]) -> None:
    """Where the compiled expression has a value, plain Python has the same; guards refuse, they never change a value."""
    program = program_of([text for text in group if "*" not in text])  # plain repetition takes all the memory there is
    first, second = decided(program, [program, Plain(program)])
    compiled = {item["rule"]: item for item in canonical.parse(first[0][3]).get("alerts", [])}  # type: ignore[index]
    plain = {item["rule"]: item for item in json.loads(second[0][3]).get("alerts", [])}  # type: ignore[index]
    for rule, item in compiled.items():
        if rule in plain:
            assert plain[rule] == item
