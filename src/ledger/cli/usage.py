"""Turns click's usage errors into ours, so that they too exist in zh and en and as JSON."""

from __future__ import annotations

import click

from ledger.cli.command import UnknownCommandError
from ledger.errors import LedgerError


class UsageProblem(LedgerError):
    """The command line cannot be understood; nothing was done."""


def as_error(error: click.UsageError) -> LedgerError | None:
    """The error to tell, None where the help page is the answer (a group without a command)."""
    if type(error).__name__ == "NoArgsIsHelpError":
        return None
    path = error.ctx.command_path if error.ctx is not None else "ledger"
    if isinstance(error, UnknownCommandError):
        meant = {"meant": error.meant} if error.meant else {}
        return UsageProblem("usage-command", error.message, command=error.name, path=path, **meant)
    if isinstance(error, click.NoSuchOption):
        meant = {"meant": error.possibilities[0]} if error.possibilities else {}
        return UsageProblem("usage-option", error.message, option=error.option_name, path=path, **meant)
    if isinstance(error, click.MissingParameter):
        return UsageProblem("usage-missing", error.format_message(), name=_name(error), path=path)
    if isinstance(error, click.BadParameter):
        return UsageProblem("usage-value", error.message, name=_name(error), reason=error.message, path=path)
    return UsageProblem("usage", error.format_message(), reason=error.format_message(), path=path)


def _name(error: click.BadParameter) -> str:
    if isinstance(error.param, click.Option):
        return max(error.param.opts, key=len)
    if error.param is not None and error.param.name:
        return (error.param.metavar or error.param.name).upper()
    return str(error.param_hint or "")
