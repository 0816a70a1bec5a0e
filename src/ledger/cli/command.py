"""What every command is: options with texts from the catalogue, `--json` and friends, help in zh and en.

Rules: help texts are looked up when help is shown, by command path and option name, so that no text stands in code;
groups import a command when it runs. Not here: error handling (see `main`), settings (see `settings`).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

import click
from click.shell_completion import CompletionItem

from ledger.cli.commands import Table
from ledger.cli.help import GLOBAL_OPTIONS, PROGRAM, command_rows, page, summary
from ledger.cli.output import Console
from ledger.cli.tables import screen_columns

_Function = TypeVar("_Function", bound=Callable[..., Any])

CONTEXT: Final[dict[str, Any]] = {"help_option_names": ["-h", "--help"]}

pass_console = click.make_pass_decorator(Console)
"""Hands the command its `Console`."""


class UnknownCommandError(click.UsageError):
    """No such command; `name` as typed, `meant` the nearest one."""

    def __init__(self, name: str, meant: str, ctx: click.Context) -> None:
        super().__init__(f"no such command: {name}", ctx)
        self.name, self.meant = name, meant


class _Page:
    """Help of commands and groups."""

    def get_help(self, ctx: click.Context) -> str:
        """The help page of this command."""
        console = ctx.find_object(Console) or Console()
        texts, path = console.texts, command_path(ctx)
        command = ctx.command
        rows = command_rows(texts, path, command.table) if isinstance(command, LazyGroup) else []
        sections = [
            ("commands", rows),
            ("arguments", _argument_rows(console, path, command)),
            ("options", _option_rows(console, path, command)),
        ]
        usage = " ".join((ctx.command_path, *_usage_pieces(ctx)))
        return page(texts, path, usage, sections, min(screen_columns(console.out, console.environment) or 80, 100))

    def get_help_option(self, ctx: click.Context) -> click.Option | None:  # noqa: ARG002 - click\'s signature
        """`--help`, whose page is the command's result."""
        return click.Option(["-h", "--help"], is_flag=True, is_eager=True, expose_value=False, callback=_show_page)


def _show_page(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
    if value and not ctx.resilient_parsing:
        text = ctx.get_help()
        (ctx.find_object(Console) or Console()).result({"help": text}, text)
        ctx.exit()


class Command(_Page, click.Command):
    """A command; its callback is given what its options say."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs["context_settings"] = {**CONTEXT, **kwargs.get("context_settings", {})}
        super().__init__(*args, **kwargs)
        self.params.extend(_global_options())

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Option names with their texts."""
        items = super().shell_complete(ctx, incomplete)
        console = ctx.find_object(Console) or Console()
        by_option = {name: param for param in self.params if isinstance(param, click.Option) for name in param.opts}
        for item in items:
            param = by_option.get(item.value)
            if param is not None:
                item.help = _option_text(console, command_path(ctx), param)
        return items


class LazyGroup(_Page, click.Group):
    """A group that knows its commands by name and imports one when it is called."""

    def __init__(self, name: str, table: Table) -> None:
        super().__init__(name, context_settings=CONTEXT, no_args_is_help=True)
        self.table = table
        self.params.extend(_global_options())

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click\'s signature
        """Names, in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click\'s signature
        """The command of this name, imported now."""
        return None if cmd_name not in self.table else load(cmd_name, self.table[cmd_name])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """As click does, with the nearest name when there is none."""
        if args and args[0] not in self.table and not args[0].startswith("-") and not ctx.resilient_parsing:
            import difflib

            near = difflib.get_close_matches(args[0], self.table, 1)
            raise UnknownCommandError(args[0], near[0] if near else "", ctx)
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of commands with their texts, without importing any."""
        console = ctx.find_object(Console) or Console()
        path = command_path(ctx)
        items = [
            CompletionItem(name, help=summary(console.texts, f"{path} {name}".strip()))
            for name in self.table
            if name.startswith(incomplete)
        ]
        return items + (click.Command.shell_complete(self, ctx, incomplete) if incomplete.startswith("-") else [])


def load(name: str, entry: str | Table) -> click.Command:
    """The command or group of a table entry."""
    if not isinstance(entry, str):
        return LazyGroup(name, entry)
    module, _, attribute = entry.partition(":")
    command: click.Command = getattr(importlib.import_module(module), attribute)
    return command


def command_path(ctx: click.Context) -> str:
    """`event append` for `ledger event append`."""
    return ctx.command_path.partition(" ")[2]


def argument(*declarations: str, **attributes: Any) -> Callable[[_Function], _Function]:
    """An argument; its text is `<path>.<name>` in the catalogue `help`."""
    return click.argument(*declarations, **attributes)


def option(*declarations: str, **attributes: Any) -> Callable[[_Function], _Function]:
    """An option; its text is `<path>.<longest name without dashes>` in the catalogue `help`, or `common.<name>`."""
    return click.option(*declarations, **attributes)


def command(name: str) -> Callable[[Callable[..., Any]], Command]:
    """Makes a function a command that is given its `Console` first."""

    def decorate(function: Callable[..., Any]) -> Command:
        made = click.command(name, cls=Command)(pass_console(function))
        if not isinstance(made, Command):
            raise TypeError("click returned another class")
        return made

    return decorate


def _global_options() -> list[click.Parameter]:
    """Options that `main` has read from the command line before click does; here they only have to be known."""
    return [
        click.Option(["--json"], is_flag=True, expose_value=False),
        click.Option(["--lang"], type=click.Choice(["zh", "en", "auto"]), expose_value=False),
        click.Option(["--no-color"], is_flag=True, expose_value=False),
        click.Option(["-q", "--quiet"], is_flag=True, expose_value=False),
    ]


_GLOBAL_NAMES: Final = frozenset(("--json", "--lang", "--no-color", "--quiet"))


def _usage_pieces(ctx: click.Context) -> list[str]:
    if isinstance(ctx.command, LazyGroup):
        return ["COMMAND", "[ARGS]..."]
    pieces = ["[OPTIONS]"]
    for param in ctx.command.params:
        if isinstance(param, click.Argument):
            pieces.append(param.make_metavar(ctx))
    return pieces


def _argument_rows(console: Console, path: str, command: click.Command) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for param in command.params:
        if isinstance(param, click.Argument) and param.name:
            text = console.texts.find(f"{path}.{param.name.replace('_', '-')}", "help")
            rows.append(((param.metavar or param.name).upper(), text or ""))
    return rows


def _option_rows(console: Console, path: str, command: click.Command) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for param in command.params:
        if isinstance(param, click.Option) and not param.hidden and _GLOBAL_NAMES.isdisjoint(param.opts):
            rows.append((_spelling(param), _option_text(console, path, param)))
    if isinstance(command, LazyGroup):
        return rows
    rows.append(("--json", console.texts.text("global.json", catalogue_name="help")))
    rows.append(("-h, --help", console.texts.text("global.help", catalogue_name="help")))
    return rows


def _spelling(param: click.Option) -> str:
    names = ", ".join(sorted(param.opts, key=len))
    if param.secondary_opts:
        names += f"/{param.secondary_opts[0]}"
    if param.is_flag or param.count:
        return names
    if isinstance(param.type, click.Choice):
        return f"{names} {'|'.join(map(str, param.type.choices))}"
    return f"{names} {param.metavar or (param.name or '').upper()}"


def _option_text(console: Console, path: str, param: click.Option) -> str:
    name = max(param.opts, key=len).lstrip("-")
    texts = console.texts
    text = texts.find(f"{path}.{name}", "help") or texts.find(f"common.{name}", "help") or ""
    for known, key in GLOBAL_OPTIONS:
        if not text and known.split(" ")[0] in param.opts:
            text = texts.text(key, catalogue_name="help")
    if param.required:
        text += f" [{texts.text('required', catalogue_name='help')}]"
    elif isinstance(param.default, (str, int)) and param.default and not param.is_flag:
        text += f" [{texts.text('default', catalogue_name='help')}: {param.default}]"
    if param.multiple:
        text += f" [{texts.text('repeatable', catalogue_name='help')}]"
    return text.strip()


def arguments_before_dashes(arguments: Sequence[str]) -> list[str]:
    """The arguments up to a `--`, behind which nothing is an option."""
    return list(arguments[: arguments.index("--")]) if "--" in arguments else list(arguments)


__all__ = [
    "PROGRAM",
    "Command",
    "Console",
    "LazyGroup",
    "UnknownCommandError",
    "argument",
    "arguments_before_dashes",
    "command",
    "command_path",
    "load",
    "option",
    "pass_console",
]
