"""Times the stages of something that runs in this process, each exclusive: a stage inside another counts once.

Not here: which functions are stages of what (see `profile` and `levels`).
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

Places = tuple[tuple[Any, str, str], ...]


class Stages:
    """Exclusive seconds by stage: this process's processor time, and what was only waited for (a disk, the worker).

    `places` are (owner, attribute, stage): every place where a stage begins. A name that is gone fails the run.
    """

    def __init__(self, places: Places) -> None:
        self._places = places
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.waited: defaultdict[str, float] = defaultdict(float)
        self._open: list[str] = []
        self._since = (0.0, 0.0)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Every function of the places is timed inside; each is as it was afterwards."""
        with ExitStack() as stack:
            for owner, name, stage in self._places:
                original = vars(owner)[name]
                setattr(owner, name, self._timed(original, stage))
                stack.callback(setattr, owner, name, original)
            yield

    def _timed(self, function: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def timed(*arguments: Any, **named: Any) -> Any:
            self.enter(stage)
            try:
                return function(*arguments, **named)
            finally:
                self.leave()

        return timed

    def enter(self, stage: str) -> None:
        """From now on time counts for `stage`."""
        self._count()
        self._open.append(stage)

    def leave(self) -> None:
        """Time counts again for the stage around this one."""
        self._count()
        self._open.pop()

    def _count(self) -> None:
        now = (time.process_time(), time.perf_counter())
        if self._open:
            spent = now[0] - self._since[0]
            self.seconds[self._open[-1]] += spent
            self.waited[self._open[-1]] += max(0.0, now[1] - self._since[1] - spent)
        self._since = now
