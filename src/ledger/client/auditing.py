"""`@audited`: calling the function is recorded as an event, before it runs.

    @audited(dataset="ga/hukou", action="use.access", purpose="credit-check", refs={"grant": "ga/0192…"})
    def read_households(ids): ...

Rules: with a recorder in closed mode the function does not run when the event cannot be made safe: no record, no access.
`dataset` and each ref may be a function of the call's arguments. Plain functions and coroutines are both meant.
Not here: what the function returns; results belong to an event of their own.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

from ledger.client.recorder import Recorder
from ledger.errors import NotFoundError

Value = str | Sequence[str] | Callable[..., Any]
_Function = TypeVar("_Function", bound=Callable[..., Any])

_process_default: list[Recorder | None] = [None]


def use_recorder(recorder: Recorder | None) -> None:
    """Make `recorder` the one that `@audited` uses in this process unless it names its own; None takes it away."""
    _process_default[0] = recorder


def audited(
    dataset: Value,
    action: str,
    purpose: str | None = None,
    *,
    refs: Mapping[str, Value] | None = None,
    body: Mapping[str, Any] | None = None,
    recorder: Recorder | None = None,
) -> Callable[[_Function], _Function]:
    """Record an event of kind `action` about `dataset` at each call, with `purpose`, further `refs` and body fields."""

    def decorate(function: _Function) -> _Function:
        def event(arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
            wanted = {"dataset": dataset, **(refs or {})}
            found = {name: _resolve(value, arguments, named) for name, value in wanted.items()}
            fields = dict(body or {})
            if purpose is not None:
                fields["purpose"] = purpose
            return {name: value for name, value in found.items() if value}, fields

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def in_task(*arguments: Any, **named: Any) -> Any:
                found, fields = event(arguments, named)
                await _recorder(recorder).record_async(action, found, fields)
                return await function(*arguments, **named)

            return cast(_Function, in_task)

        @functools.wraps(function)
        def in_thread(*arguments: Any, **named: Any) -> Any:
            found, fields = event(arguments, named)
            _recorder(recorder).record(action, found, fields)
            return function(*arguments, **named)

        return cast(_Function, in_thread)

    return decorate


def _resolve(value: Value, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    return value(*arguments, **named) if callable(value) else value


def _recorder(given: Recorder | None) -> Recorder:
    found = given or _process_default[0]
    if found is None:
        raise NotFoundError("recorder", "no recorder: name one in @audited or call use_recorder first")
    return found
