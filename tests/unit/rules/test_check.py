"""The rule language: what is written in it, what is not, and what the author is told."""

from __future__ import annotations

import ast

import pytest

from ledger.errors import MalformedError
from ledger.rules import grammar
from ledger.rules.check import check_rule

TITLE = '"""R1 规则 · Rule. Law 1."""\n'


def check(source: str) -> None:
    """Check a rule file that is called R1."""
    check_rule("rules/R1.py", (TITLE + source).encode())


def handler(body: str) -> str:
    """`body`, one line each, inside a handler."""
    lines = "\n".join("    " + line for line in body.splitlines())
    return f"def on_thing_make(event, state, env):\n{lines}\n"


ALLOWED = [
    "x = 1\nreturn refuse('no', x=x)",
    "if event.time > env.now:\n    return None",
    "for item in event.body['l']:\n    if item == 'a':\n        break\n    continue",
    "items = []\nfor item in event.refs['l']:\n    items.append(item)\nreturn alert('look', items=items)",
    "found = {}\nfound['a'] = 1\nreturn alert('look', found=found)",
    "return alert('look', n=len([x for x in event.body['l'] if x != 'a']))",
    "return alert('look', n={k: v for k, v in state['thing'].items()})",
    "match event.body['s']:\n    case 'a' | 'b':\n        return None\n    case None:\n        return None\n    case _:\n        pass",
    "a, b = ['x', 'y']\nreturn alert('look', text=f'{a}/{b}')",
    "return write('thing', value=sorted(event.body['l'])[0], note='x'.join(['a', 'b']))",
    "x = 3\nx += 2 * 3 - 1 // 1 % 2\nreturn None",
    "return None if state['thing'] is None else refuse('no')",
    "return refuse('no') if event.kind in ('a', 'b') else None",
    "x = -1\nreturn alert('look', n=[x, not True, 1 < 2 < 3, 'a' in ['b'], 'c' not in {'d': 1}])",
    "x = 'abc'[1:2]\nreturn alert('look', x=x.removeprefix('a').split(',')[0])",
    "return duty('R1', by=event.member, on='thing', due=working_days(env, 3, since=event.time), kinds=['thing.do'])",
    "return [move('thing', 'late'), discharge('R1', on='thing'), clear_timer('R1', on='thing')]",
    "return set_timer('R1.soon', on='thing', due=hours(env, 2), label=event.member, note='x')",
    "return breach('LAW/1', about=event.refs['member'], on='thing', held=event.member, n=min(1, 2))",
    "return env.params['days'] if env.signer.key == 'k' and 'r' in env.signer.roles else day(env.now) + len(month(ms('2026-01-01')))",
]  # fmt: skip


@pytest.mark.parametrize("body", ALLOWED)
def test_rule_language_holds_what_rules_need(body: str) -> None:
    """Every construct that the language promises is accepted."""
    check(handler(body))


def test_functions_and_constants() -> None:
    """A rule may have constants and own functions, in any order, and pass its arguments on under their names."""
    check(
        "LIMIT = {'a': [1, -2, True, None]}\n"
        + handler("return other(env, 3)")
        + "def other(env, n):\n    return LIMIT['a']\n"
    )


REFUSED = [
    ("import os", "Import is not allowed here", "imports nothing"),
    ("from os import path", "ImportFrom is not allowed here", "imports nothing"),
    ("class A:\n    pass", "ClassDef", "use dicts"),
    ("x = 1", "upper-case name", "LIMIT"),
    ("X = 1.5", "float values do not exist", "fen"),
    ("X = 3j", "complex values do not exist", ""),
    ("X = b'a'", "bytes values do not exist", ""),
    ("X = ...", "ellipsis values do not exist", ""),
    ("X = {1: 2}", "keys of a map are strings", ""),
    ("X = {'a': f()}", "a constant is a literal", ""),
    ("X = 9007199254740992", "number is too large", ""),
    ("X = Y = 1", "one upper-case name", ""),
    ("X: int = 1", "AnnAssign", "annotations"),
    ("X = 1\nX = 2", "set twice", ""),
    ("async def on_thing_make(event, state, env):\n    return None", "AsyncFunctionDef", "at once"),
    ("@refuse\ndef f():\n    return 1", "no decorators", ""),
    ("def f() -> int:\n    return 1", "no decorators, annotations", ""),
    ("def f(a=1):\n    return 1", "plain positional arguments", ""),
    ("def f(*a):\n    return 1", "plain positional arguments", ""),
    ("def f(**a):\n    return 1", "plain positional arguments", ""),
    ("def f(a, /):\n    return 1", "plain positional arguments", ""),
    ("def f(*, a):\n    return 1", "plain positional arguments", ""),
    ("def f(a: int):\n    return 1", "annotations", ""),
    ("def f(a, a):\n    return 1", "a name is used twice", ""),
    ("def f(sum):\n    return 1", "has a meaning in the language", "another name"),
    ("def working_days(env):\n    return 1", "has a meaning", ""),
    ("def f():\n    return 1\ndef f():\n    return 2", "a name is used twice", ""),
    ("def f():\n    return f()", "calls itself", "use `for`"),
    ("def f():\n    return g()\ndef g():\n    return f()", "calls itself", "use `for`"),
    ("def on_thing_make(event, env):\n    return None", "takes event, state, env", ""),
    ("def on_timer_R1(event, state, env):\n    return None", "takes timer, state, env", ""),
    ("def _f():\n    return 1", "no name for this", ""),
    ("def f__x():\n    return 1", "no name for this", ""),
    ("if True:\n    X = 1", "If is not allowed here", "constants and functions"),
    ("print('x')", "Expr is not allowed here", "constants and functions"),
]


@pytest.mark.parametrize(("source", "message", "advice"), REFUSED)
def test_file_outside_the_language_is_refused(source: str, message: str, advice: str) -> None:
    """What does not belong at the top of a rule file is refused with line and advice."""
    with pytest.raises(MalformedError) as caught:
        check(source)
    assert caught.value.code == "rule"
    assert message in caught.value.message
    assert advice in str(caught.value.evidence["advice"])
    assert caught.value.evidence["file"] == "rules/R1.py"
    assert int(str(caught.value.evidence["line"])) >= 1


REFUSED_INSIDE = [
    ("while True:\n    pass", "While", "every loop ends"),
    ("try:\n    pass\nexcept Exception:\n    pass", "Try", "does not catch"),
    ("try:\n    pass\nexcept* Exception:\n    pass", "TryStar", "does not catch"),
    ("raise ValueError('x')", "Raise", "return refuse"),
    ("assert True", "Assert", "return refuse"),
    ("global x", "Global", "state objects"),
    ("def g():\n    return 1", "FunctionDef", "at the top"),
    ("class A:\n    pass", "ClassDef", "use dicts"),
    ("import os", "Import", "imports nothing"),
    ("with x:\n    pass", "With", "nothing to open"),
    ("del event", "Delete", "build a new list"),
    ("x: int = 1", "AnnAssign", "annotations"),
    ("x = lambda: 1", "Lambda", "small function"),
    ("x = (y for y in [1])", "GeneratorExp", "any(["),
    ("x = any(y for y in [1])", "GeneratorExp", "any(["),
    ("x = {1, 2}", "Set", "use a list"),
    ("x = {y for y in [1]}", "SetComp", "use a list"),
    ("x = (y := 1)", "NamedExpr", "on a line of its own"),
    ("yield 1", "a value that nobody uses", ""),
    ("x = yield 1", "Yield", "return a list"),
    ("x = [*event.body['l']]", "Starred", "one by one"),
    ("x = {**event.body['l']}", "** is not allowed", "one by one"),
    ("return alert('look', **event.body)", "** is not allowed", "name the arguments"),
    ("return max(*event.body['l'])", "Starred", ""),
    ("x = 1 / 2", "Div does not exist", "use //"),
    ("x = 2 ** 3", "Pow does not exist", "multiply"),
    ("x = 1 << 3", "LShift does not exist", "multiply"),
    ("x = 1 | 2", "BitOr does not exist", "`or`"),
    ("x = ~1", "Invert does not exist", "`not`"),
    ("x = +1", "UAdd does not exist", ""),
    ("x = 1\nx /= 2", "operator does not exist", "use //"),
    ("x = event == env", "cannot be used as a value", ""),
    ("x = 1\ny = x is 1", "compares with None only", "use =="),
    ("return event", "event cannot be used as a value", "event.field"),
    ("x = state", "state cannot be used as a value", ""),
    ("x = state.get('thing')", "state cannot be used", ""),
    ("name = 'thing'\nx = state[name]", "literal name", "state["),
    ("x = env.params[event.kind]", "literal name", "env.params["),
    ("x = event.secret", "no field 'secret'", "fields of event"),
    ("x = event.time.real", "no field 'real'", ""),
    ("x = env.signer.secret", "no field 'secret'", ""),
    ("x = 'a'.upper()", "no method 'upper'", "startswith"),
    ("x = 'a'.format(event)", "no method 'format'", ""),
    ("x = 'a'.join", "no field 'join'", ""),
    ("x = [].append(1)", "no method 'append'", ""),
    ("event.body['l'].append(1)", "a value that nobody uses", ""),
    ("items = event.body['l']\nitems.append(1)", "only a list built in this function", ""),
    ("items = []\nitems = event.body['l']\nitems.append(1)", "only a list built in this function", ""),
    ("for items in [[1]]:\n    items.append(1)", "only a list built in this function", ""),
    ("event.body['x'] = 1", "cannot be assigned to", ""),
    ("x = event.body\nx['y'] = 1", "only a list or map built in this function", "write"),
    ("event = 1", "the argument 'event' is assigned to", ""),
    ("x = sum", "sum can only be called", ""),
    ("x = refuse", "refuse can only be called", ""),
    ("x = unknown", "unknown name 'unknown'", ""),
    ("return getattr(event, 'body')", "unknown function 'getattr'", ""),
    ("return open('x')", "unknown function 'open'", ""),
    ("return (1)(2)", "only named functions", ""),
    ("return [refuse][0]('no')", "only named functions", ""),
    ("sum = 1", "has a meaning", ""),
    ("_x = 1", "no name for this", ""),
    ("__x = 1", "no name for this", ""),
    ("x = y = 1", "assign to one target", ""),
    ("x = 1, 2", "commas and no brackets", "use a list"),
    ("return ()", "commas and no brackets", "use a list"),
    ("x, *y = [1, 2]", "cannot be assigned to", ""),
    ("[x, y] = [1, 2]", "cannot be assigned to", ""),
    ("(x, (y, z)) = [1, 2]", "cannot be assigned to", ""),
    ("x = 1\nx.y = 2", "cannot be assigned to", ""),
    ("for x in [1]:\n    pass\nelse:\n    pass", "for … else", ""),
    ("x = [1][::2]", "slices have no step", ""),
    ("x = f'{event.body}'", "plain names only", "assign first"),
    ("x = 1\ny = f'{x!r}'", "plain names only", ""),
    ("x = 1\ny = f'{x:>5}'", "plain names only", ""),
    ("x = 1\ny = f'{x=}'", "plain names only", ""),
    ("match event.kind:\n    case {'a': x}:\n        pass", "pattern is not allowed", "literals"),
    ("match event.kind:\n    case [x]:\n        pass", "pattern is not allowed", ""),
    ("match event.kind:\n    case x:\n        pass", "pattern is not allowed", ""),
    ("match event.kind:\n    case str():\n        pass", "pattern is not allowed", ""),
    ("match event.kind:\n    case 1.5:\n        pass", "float values", ""),
    ("1 + 1", "a value that nobody uses", "return the effect"),
    ("refuse('no')", "a value that nobody uses", ""),
    ("return refuse(event.kind)", "is a literal name", ""),
    ("return refuse()", "takes code", ""),
    ("return refuse('no', 'yes')", "takes code", ""),
    ("return write(event.kind, value=1)", "is a literal name", ""),
    ("return write('thing')", "sets no field", ""),
    ("return write('thing', _open=1)", "has no _open=", ""),
    ("return move('thing', event.kind)", "is a literal name", ""),
    ("return finding('LAW/1', on=event.kind)", "is a literal name", ""),
    ("return duty('R1', by='a', on='thing')", "needs due=", ""),
    ("return duty('R1', on='thing', due=None)", "needs due= and by=", ""),
    ("return duty('R1', by='a', due=None)", "needs on=", ""),
    ("return duty('R1', by='a', on='thing', due=None, kinds=event.body['l'])", "literal list", ""),
    ("return duty('R1', by='a', on='thing', due=None, label='x', kinds=['thing.do'])", "only when its label is its obligor", ""),
    ("return duty('bad name', by='a', on='thing', due=None)", "names no duty or timer", ""),
    ("return set_timer('R1', on='thing')", "needs due=", ""),
    ("x = 'a'\nreturn discharge('R1', on='thing', label=x)", "follows from the event", ""),
    ("x = 'a'\nreturn clear_timer('R1', on='thing', label=x)", "follows from the event", ""),
    ("return working_days(3)", "begins with env", ""),
    ("return working_days(env)", "takes env, a count", ""),
    ("return working_days(env, 3, until=1)", "takes env, a count", ""),
    ("return sum([1], 2)", "too few, too many", ""),
    ("return sorted([1], key=len)", "too few, too many", ""),
    ("return [x for x in [1] for y in [1] for z in [1]]", "at most two", ""),
    ("x = 1\nreturn [x for x in [1]]", "used already", ""),
    ("return [event for event in [1]]", "has a meaning", ""),
    ("break", "outside a loop", ""),
    ("nonlocal x", "Nonlocal", ""),
    ("x = await event", "Await", "at once"),
    ("return other(event)", "unknown function", ""),
]  # fmt: skip


@pytest.mark.parametrize(("body", "message", "advice"), REFUSED_INSIDE)
def test_rule_outside_the_language_is_refused(body: str, message: str, advice: str) -> None:
    """What the language does not hold is refused inside a function, with line and advice."""
    with pytest.raises(MalformedError) as caught:
        check(handler(body))
    assert caught.value.code == "rule"
    assert message in caught.value.message
    assert advice in str(caught.value.evidence["advice"])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("other(event, 3)", "passed on under their own names"),
        ("other(3, env)", "passed on under their own names"),
        ("other(env, env)", "passed on under their own names"),
        ("other(env)", "takes 2 values"),
        ("other(env, n=3)", "takes 2 values"),
        ("on_other(event, state, env)", "called by the ledger only"),
    ],
)
def test_own_functions_are_called_plainly(call: str, message: str) -> None:
    """Own functions take their values in order, and what the ledger passes keeps its name."""
    with pytest.raises(MalformedError) as caught:
        check(handler(f"return {call}") + "def other(env, n):\n    return n\n")
    assert message in caught.value.message


@pytest.mark.parametrize(
    "title",
    ["", '"""X1 规则 · Rule. Law 1."""\n', '"""R1 Rule. Law 1."""\n', '"""R1 规则 · Rule"""\n', "X = 1\n", "1 + 1\n"],
)
def test_title_line_is_required(title: str) -> None:
    """A rule file begins with its id, Chinese and English title and article."""
    with pytest.raises(MalformedError) as caught:
        check_rule("rules/R1.py", (title + handler("return None")).encode())
    assert "first line names the rule" in caught.value.message


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"X = 1\r\n", "control character"),
        (b"X = '\\x41'\n", "escape"),
        (b"X = '\\N{DASH}'\n", "escape"),
        (b"X = '\\u0041'\n", "escape"),
        (b"X = \\\n1\n", "escape"),
        (b"X = 'a\x00b'\n", "control character"),
        (b"X = (\n", "not Python"),
        (b"X = " + b"(" * 5000 + b")" * 5000, "not Python"),
        (b"X = " + b"-" * 5000 + b"1", ""),
        (b"X = 1" + b"0" * 5000, "not Python"),
        ("def ｆ():\n    return 1\n".encode(), "ASCII letter"),
        (b"#" * 70_000, "too long"),
        (b"type X = int\n", ""),
        (b"def f[T](a):\n    return a\n", ""),
    ],
)
def test_text_that_python_versions_read_differently_is_refused(data: bytes, message: str) -> None:
    """Encodings, escapes, disguised letters and what no parser survives never become a rule."""
    with pytest.raises(MalformedError) as caught:
        check_rule("rules/R1.py", TITLE.encode() + data)
    assert caught.value.code == "rule"
    assert message in caught.value.message


def test_functions_call_each_other_at_most_so_deep() -> None:
    """A chain of own functions is bounded, however it is ordered, because the stack is not the rule's."""
    depth = grammar.CALL_DEPTH_MAX
    chain = (
        "".join(f"def f{n}():\n    return f{n + 1}()\n" for n in range(depth - 1))
        + f"def f{depth - 1}():\n    return 1\n"
    )
    check(chain)
    with pytest.raises(MalformedError) as caught:
        check(f"def g():\n    return f0()\n{chain}")
    assert "too deep" in caught.value.message
    with pytest.raises(MalformedError):
        check(f"{chain}def g():\n    return f0()\n")


def test_blocks_and_alternatives_are_bounded() -> None:
    """Nesting that an interpreter would refuse, or no reader follows, is refused with the place where it begins."""
    nested = "".join("    " * n + f"for x{n} in [1]:\n" for n in range(12)) + "    " * 12 + "pass"
    many = "if event.time == 0:\n    pass\n" + "elif event.time == 1:\n    pass\n" * 1000
    long = "x = 1" + " + 1" * 15_000
    for body, message in ((nested, "nested too deep"), (many, "too many elif"), (long, "")):
        with pytest.raises(MalformedError) as caught:
            check(handler(body))
        assert message in caught.value.message


def test_every_node_of_the_syntax_is_either_allowed_or_refused() -> None:
    """The allowlist names statements and expressions; no statement or expression of this Python slips past it."""
    statements = {node for node in ast.stmt.__subclasses__() if node not in grammar.STATEMENTS}
    assert {ast.Import, ast.While, ast.Try, ast.ClassDef, ast.With, ast.Delete, ast.Raise, ast.Global} <= statements
    expressions = {node for node in ast.expr.__subclasses__() if node not in grammar.EXPRESSIONS}
    assert {ast.Lambda, ast.GeneratorExp, ast.Await, ast.Yield, ast.NamedExpr, ast.Starred, ast.Set} <= expressions
    assert not set(grammar.STATEMENTS) & {ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef}
