"""Writes the tables of docs/CLI.md, docs/HTTP.md, docs/NODE.md and docs/ERRORS.md from the code that they describe.

A document holds `<!-- begin: NAME -->` … `<!-- end -->`; what stands between is replaced, the rest is written by hand.
`--check` writes nothing and says which documents differ (exit code 1). Nothing is started, no network is used.
"""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Final, cast

import click

ROOT: Final = Path(__file__).resolve().parent.parent
SOURCES: Final = ("src/ledger", "node/src/ledger_node")
PLURAL: Final = re.compile(r"\{[a-z_]+\|[^{}|]*\|((?:[^{}|]|\{[a-z_]+\})*)\}")
"""Words chosen by a number (`ledger.cli.texts.fill`): a reference shows the last."""

BLOCK: Final = re.compile(r"(<!-- begin: ([a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
FAMILY_NAMES: Final = (
    "MalformedError",
    "VerificationError",
    "ForkError",
    "RejectedError",
    "ConflictError",
    "NotFoundError",
    "UnavailableError",
    "RuntimeFault",
    "FatalError",
)
SETTING_TEXTS: Final = {
    "passphrase": ("passphrase of encrypted key files", "加密密钥文件的口令"),
    "reader-token": (
        "token of a reader, for a node that answers named readers only",
        "查阅令牌，用于只答复具名查阅者的节点",
    ),
    "token": ("the local writers' token of the node", "节点的本机写入令牌"),
}
NODE_NOTES: Final = {
    "http.host": "Where the node listens: a loopback address.",
    "http.port": "0 takes any free port, which the `ready` line names.",
    "http.header_timeout_s": "How long a client may take to send the head of a request.",
    "http.body_timeout_s": "How long it may take to send the body.",
}
"""Settings that say enough to a programmer, but not to an operator."""

CODE_TEXTS: Final = {"merkle-bounds": ("an index or size outside the tree", "序号或大小超出树的范围")}
"""Codes whose message is put together where they are raised."""


def cell(text: str) -> str:
    """`text` on one line of a Markdown table."""
    outside = re.split(r"(`[^`]*`)", " ".join(text.split()).replace("|", "\\|"))
    # A bare <word> would be read as HTML and vanish.
    return "".join(part if part.startswith("`") else part.replace("<", "&lt;") for part in outside)


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A Markdown table."""
    titles = list(head)
    lines = ["| " + " | ".join(titles) + " |", "|" + "---|" * len(titles)]
    lines += ["| " + " | ".join(cell(value) for value in row) + " |" for row in rows]
    return "\n".join(lines) + "\n"


# --- command line ------------------------------------------------------------------------------------------------------


def both(key: str, name: str = "") -> tuple[str, str]:
    """(English, Chinese) of a help key, with `common.<name>` as the second place to look."""
    from ledger.cli.texts import Texts

    english, chinese = (
        texts.find(key, "help") or texts.find(f"common.{name}", "help") or "" for texts in (Texts("en"), Texts("zh"))
    )
    return english, chinese


def leaves(entries: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """(command path, `module:attribute`) of every command."""
    for name, entry in entries.items():
        below = f"{path} {name}".strip()
        if isinstance(entry, str):
            yield below, entry
        else:
            yield from leaves(entry, below)


def commands() -> str:
    """One row a command."""
    from ledger.cli.commands import COMMANDS

    rows = []
    for path, _ in leaves(COMMANDS):
        english, chinese = (text.split("\n")[0] for text in both(f"{path}.text"))
        rows.append((f"[`ledger {path}`](#ledger-{path.replace(' ', '-')})", english, chinese))
    return table(("Command", "", ""), rows)


def options() -> str:
    """One section a command, with its arguments and options."""
    from ledger.cli.command import load
    from ledger.cli.commands import COMMANDS

    parts = []
    for path, entry in leaves(COMMANDS):
        command = load(path.rpartition(" ")[2], entry)
        names = [spelling(param) for param in command.params if isinstance(param, click.Argument)]
        english, chinese = both(f"{path}.text")
        parts.append(f"### `ledger {path}`\n")
        parts.append(f"```\nledger {' '.join([path, '[OPTIONS]', *names])}\n```\n")
        parts += [text.replace("\n", " ") + "\n" for text in (english, chinese) if text]
        rows = []
        for param in command.params:
            if is_global(param) or getattr(param, "hidden", False):
                continue
            name = long_name(param)
            rows.append((f"`{spelling(param)}`", *both(f"{path}.{name}", name)))
        if rows:
            parts.append(table(("", "", ""), rows))
    return "\n".join(parts)


def is_global(param: click.Parameter) -> bool:
    """Whether the option belongs to every command."""
    return bool({"--json", "--lang", "--no-color", "--quiet"} & set(param.opts))


def long_name(param: click.Parameter) -> str:
    """The name under which the catalogue has the text of an option or argument."""
    if isinstance(param, click.Argument):
        return (param.name or "").replace("_", "-")
    return max(param.opts, key=len).lstrip("-")


def spelling(param: click.Parameter) -> str:
    """`--port PORT`, `--direction up|down`, `SOURCE`, `[NAMES]...`."""
    if isinstance(param, click.Argument):
        name = (param.metavar or param.name or "").upper()
        name = name if param.required else f"[{name}]"
        return f"{name}..." if param.nargs != 1 else name
    option = cast("click.Option", param)
    names = ", ".join(sorted(option.opts, key=len)) + (f"/{option.secondary_opts[0]}" if option.secondary_opts else "")
    if option.is_flag or option.count:
        return names
    if isinstance(option.type, click.Choice):
        return f"{names} {'|'.join(map(str, option.type.choices))}"
    return f"{names} {option.metavar or (option.name or '').upper()}"


def global_options() -> str:
    """Options that every command takes."""
    from ledger.cli.help import GLOBAL_OPTIONS

    return table(("", "", ""), [(f"`{name}`", *both(key)) for name, key in GLOBAL_OPTIONS])


def exit_codes() -> str:
    """The enum of exit codes, with the error families that lead there."""
    from ledger.cli.exits import FAMILIES, LOCAL, Exit

    words = {
        Exit.OK: ("done; a verification found everything in order", "完成；核验全部通过"),
        Exit.OPERATIONAL: ("it could not be done, or a request was refused", "未能完成，或请求被拒绝"),
        Exit.USAGE: ("wrong usage or settings; nothing was done", "用法或设置有误，未做任何事"),
        Exit.NOT_FOUND: ("no such thing", "没有这一对象"),
        Exit.CONFLICT: ("contradicts what is recorded", "与已记录内容冲突"),
        Exit.UNREACHABLE: ("no node answered, or not now", "节点不可达或暂不可用"),
        Exit.INTEGRITY: ("an integrity finding: something does not check", "发现完整性问题：核验不通过"),
        Exit.INCOMPLETE: (
            "nothing wrong, but less was checked than asked (missing key, pruned, stale, not pinned)",
            "未见问题，但核验的内容少于所求（缺密钥、已裁剪、过旧、未固定标识）",
        ),
        Exit.INTERRUPTED: ("Ctrl-C", "被中断"),
        Exit.PIPE_CLOSED: ("the reader of the output went away", "输出管道已关闭"),
    }
    rows = []
    for code in Exit:
        families = ", ".join(f"`{family.__name__}`" for family, target in FAMILIES if target is code)
        if code is Exit.OPERATIONAL:  # what is unavailable on this very machine
            families += "; " + ", ".join(f"`{name}`" for name in sorted(LOCAL))
        rows.append((str(int(code)), *words[code], families))
    return table(("Code", "Meaning", "含义", "Errors"), rows)


def settings() -> str:
    """Settings of the command line."""
    from ledger.cli.settings import KNOWN, variable

    rows = []
    for setting in KNOWN:
        english, chinese = SETTING_TEXTS.get(setting.name) or both("", setting.name)
        default = f"`{setting.default}`" if setting.default else ""
        rows.append((f"`{setting.name}`", f"`{variable(setting.name)}`", default, english, chinese))
    return table(("Setting", "Variable", "Default", "Meaning", "含义"), rows)


# --- node --------------------------------------------------------------------------------------------------------------


def openapi() -> dict[str, Any]:
    """The OpenAPI document; routes are built without a node, which none of them needs before it is called."""
    from fastapi import FastAPI

    from ledger_node.http.app import create_app
    from ledger_node.http.openapi import describe
    from ledger_node.settings import Settings

    edge = create_app(cast("Any", None), Settings(), search=False)
    app = next(value for value in vars(edge).values() if isinstance(value, FastAPI))
    document: dict[str, Any] = json.loads(describe(app))
    return document


def routes() -> str:
    """One row a route."""
    rows: list[tuple[str, str, str, str]] = []
    for path, methods in openapi()["paths"].items():
        for method, route in methods.items():
            queries = [each["name"] for each in route.get("parameters", []) if each["in"] == "query"]
            names = ", ".join(f"`{name}`" for name in queries if name != "lang")
            answers = " ".join(status for status in sorted(route["responses"]) if status not in ("421", "422", "503"))
            what = route.get("description") or route.get("summary", "")
            rows.append((f"`{method.upper()} {path}`", what, names, answers))
    rows.sort(key=lambda row: row[0].split(" ")[1].strip("`"))
    return table(("Route", "What it answers", "Query", "Status"), rows)


def families() -> str:
    """Error families and their status."""
    from ledger_node.http.problems import FAMILIES

    rows = [(f"`{kind.__name__}`", f"`urn:suyuan:problem:{name}`", str(status)) for kind, name, status in FAMILIES]
    rows.append(("a defect of ours", "`urn:suyuan:problem:internal`", "500"))
    return table(("Family", "`type`", "Status"), rows)


def node_settings() -> str:
    """Settings of a node, with the sentences that stand below them in the code."""
    from ledger_node.settings import ENV_PREFIX, Settings

    rows = []
    for section, field in Settings.model_fields.items():
        model = cast("Any", field.annotation)
        notes = field_notes(inspect.getsource(model))
        for name, inner in model.model_fields.items():
            default = inner.default
            shown = ", ".join(default) if isinstance(default, tuple) else str(default)
            variable = f"{ENV_PREFIX}{section}_{name}".upper()
            note = notes.get(name) or NODE_NOTES.get(f"{section}.{name}", "")
            rows.append((f"`{section}.{name}`", f"`{variable}`", f"`{shown}`" if shown else "", note))
    return table(("Setting", "Variable", "Default", "Meaning"), rows)


def field_notes(source: str) -> dict[str, str]:
    """The string below each annotated field of a class, or the allowed values of a `Literal`."""
    body = ast.parse(source).body[0]
    notes: dict[str, str] = {}
    last = ""
    for node in cast("ast.ClassDef", body).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            last = node.target.id
            annotation = ast.unparse(node.annotation)
            if annotation.startswith("Literal["):
                notes[last] = annotation[len("Literal[") : -1].replace("'", "`")
        elif last and isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            notes[last] = ". ".join(part for part in (notes.get(last, ""), str(node.value.value)) if part)
            last = ""
        else:
            last = ""
    return notes


# --- errors ------------------------------------------------------------------------------------------------------------


def raised() -> dict[str, tuple[set[str], str]]:
    """(families, a message) by code of every error that the code names where it raises it."""
    found: dict[str, tuple[set[str], str]] = {}
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if not isinstance(node, ast.Call) or not node.args:
                    continue
                name = ast.unparse(node.func).rpartition(".")[2]
                first = node.args[0]
                if name in FAMILY_NAMES and isinstance(first, ast.Constant) and isinstance(first.value, str):
                    second = node.args[1] if len(node.args) > 1 else None
                    families, message = found.get(first.value, (set(), ""))
                    found[first.value] = ({*families, name}, message or written(second))
    return found


def written(node: ast.expr | None) -> str:
    """The text of a literal, what an f-string fills in as …; empty for anything else."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(written(part) or "…" for part in node.values)
    return ""


def texts_of(code: str) -> tuple[str, str]:
    """(English, Chinese) of a code, from the command line's catalogue or the node's."""
    from ledger.cli.texts import CATALOGUES, TextError, Texts
    from ledger_node.texts import load_catalogue

    found = []
    for language in ("en", "zh"):
        text = ""
        if "errors" in CATALOGUES:
            try:
                text = Texts(language).find(f"{code}.what", "errors") or ""
            except TextError:
                text = ""
        if not text:
            try:
                text = load_catalogue().detail(code, language)
            except OSError:
                text = ""
        found.append(PLURAL.sub(r"\1", text))
    return found[0], found[1]


def error_codes() -> str:
    """One row an error code."""
    rows = []
    for code, (names, message) in sorted(raised().items()):
        english, chinese = CODE_TEXTS.get(code) or texts_of(code)
        rows.append((f"`{code}`", ", ".join(f"`{name}`" for name in sorted(names)), english or message, chinese))
    return table(("Code", "Family", "Meaning", "含义"), rows)


def http_codes() -> str:
    """Codes of requests that fail as HTTP."""
    from ledger_node.http.problems import HTTP_STATUS

    rows = [(f"`{code}`", str(status), *texts_of(code)) for code, status in HTTP_STATUS.items()]
    return table(("Code", "Status", "Meaning", "含义"), rows)


DOCUMENTS: Final[dict[str, dict[str, Callable[[], str]]]] = {
    "docs/CLI.md": {
        "commands": commands,
        "global-options": global_options,
        "exit-codes": exit_codes,
        "settings": settings,
        "options": options,
    },
    "docs/HTTP.md": {"routes": routes, "families": families, "http-codes": http_codes},
    "docs/NODE.md": {"node-settings": node_settings},
    "docs/ERRORS.md": {"error-codes": error_codes},
}


def render(name: str, text: str) -> str:
    """The document with its tables made anew; `ValueError` where one of them has no place in it."""
    makers = DOCUMENTS[name]
    places = [found[1] for found in BLOCK.findall(text)]
    if sorted(places) != sorted(makers):
        raise ValueError(f"{name}: wants exactly one place for each of {sorted(makers)}, has {places}")
    return BLOCK.sub(lambda match: f"{match[1]}\n{makers[match[2]]()}\n{match[3]}", text)


def main() -> int:
    """Write or check every document; exit code 1 when `--check` finds one that differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when a document differs")
    check: bool = parser.parse_args().check
    differing = []
    for name in DOCUMENTS:
        path = ROOT / name
        old = path.read_text(encoding="utf-8")
        new = render(name, old)
        if new != old:
            differing.append(name)
            if not check:
                path.write_text(new, encoding="utf-8")
    for name in differing:
        print(f"{'differs' if check else 'written'}: {name}")
    return 1 if check and differing else 0


if __name__ == "__main__":
    sys.exit(main())
