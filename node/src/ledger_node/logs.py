"""Structured logs: one JSON object a line, for journald or a collector.

Rule: no payloads, no secrets, no personal data: events are named by member and id, requests by request id and route. Set up
once by whoever starts the process. Not here: what is worth a line.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, BinaryIO, Final

import msgspec
import structlog
from structlog.typing import EventDict, WrappedLogger

LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_SECRET_NAMES: Final = frozenset(
    {"token", "authorization", "seed", "secret", "password", "private_key", "body", "payload"}
)


def configure_logs(level: str = "info", stream: BinaryIO | None = None) -> None:
    """Write JSON lines of `level` and above to `stream` (default: standard error as bytes); the standard logger too."""
    target: BinaryIO = sys.stderr.buffer if stream is None else stream
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            drop_secrets,
            structlog.processors.JSONRenderer(serializer=_encode),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=structlog.BytesLoggerFactory(target),
        cache_logger_on_first_use=True,
    )
    # Libraries log through the standard logger; their lines become objects too.
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    root.setLevel(max(LEVELS[level], logging.WARNING))


def drop_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: names that could carry a secret or a payload never reach a log."""
    for name in _SECRET_NAMES.intersection(event):
        event[name] = "(left out)"
    return event


def _encode(event: Any, **_: Any) -> bytes:
    return msgspec.json.encode(event, enc_hook=str)


class _Forward(logging.Handler):
    """Hands a standard log record to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        """See `logging.Handler`."""
        extra = {"exc_info": record.exc_info} if record.exc_info else {}
        structlog.get_logger(record.name).log(record.levelno, record.getMessage(), logger=record.name, **extra)
