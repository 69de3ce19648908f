"""Logs: one line an event on standard output, JSON for machines or words for people.

Keys of every event: `ts` (UTC), `level`, `event`, `logger`, and `correlation_id` while something is being
done for someone. What other libraries log by the standard library comes out the same way. Nothing that
looks like a secret leaves: neither by the name of its key nor by its form.
"""

import io
import logging
import re
import sys
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal, TextIO

import structlog

#: What an event belongs to: a request, or the item that request made, up to its last stage.
correlation_id: ContextVar[str | None] = ContextVar("correlation_id", default=None)

MASK = "[secret]"
_SECRET_KEY = re.compile(r"password|passwd|secret|authorization|cookie|api_?key|token", re.IGNORECASE)
_SECRET_FORM = re.compile(r"\batl_[\w-]{20,}|(?<=://)[^\s/@:]*:[^\s/@]+(?=@)")

#: Loggers that tell every step of every connection.
_CHATTY = (
    "alembic.runtime.plugins",
    "httpcore2",
    "httpx2",
    "asyncio",
    "python_multipart",
    "charset_normalizer",
)

Event = MutableMapping[str, Any]

_stamp = structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts")


@contextmanager
def correlated(value: str) -> Iterator[None]:
    """Log everything inside the block with this correlation id."""
    token = correlation_id.set(value)
    try:
        yield
    finally:
        correlation_id.reset(token)


def configure(
    level: Literal["debug", "info", "warning", "error"],
    form: Literal["json", "console"],
    *,
    stream: TextIO | None = None,
) -> None:
    """Send all logs of this process to `stream` (None: standard output)."""
    stream = stream or sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(errors="backslashreplace")  # an odd character must not cost the line
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        _stamp,
        _add_correlation_id,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,  # plain text: without the values of variables
            redact,
            _renderer(form, stream),
        ],
    )
    handler = _Handler(stream)
    handler.setFormatter(formatter)
    handler.render = _renderer(form, stream)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)


def note(logger: str, level: int, event: str, **fields: str | float) -> None:
    """Log an event by a short way, for what is logged once a request: the long one took a quarter of it.

    The line is the same. Secrets are looked for in values alone: the names are ours.
    """
    handler = next((one for one in logging.getLogger().handlers if isinstance(one, _Handler)), None)
    if handler is None:
        structlog.stdlib.get_logger(logger).log(level, event, **fields)
        return
    if not logging.getLogger(logger).isEnabledFor(level):
        return
    begun = {"level": logging.getLevelName(level).lower(), "event": event, "logger": logger}
    line = _add_correlation_id(None, "", _stamp(None, "", begun))
    line.update({name: mask(value) if isinstance(value, str) else value for name, value in fields.items()})
    handler.write(str(handler.render(None, "", line)))


class _Handler(logging.StreamHandler[TextIO]):
    """Writes lines; what makes one of an event is set when it is made."""

    render: structlog.typing.Processor

    def write(self, line: str) -> None:
        """Write a line between those of records."""
        self.acquire()
        try:
            self.stream.write(line + self.terminator)
            self.flush()
        finally:
            self.release()


def redact(_logger: object, _method: str, event: Event) -> Event:
    """Replace secrets: whatever stands under a key that names one, and what has the form of one anywhere."""
    event.pop("color_message", None)  # uvicorn says everything twice
    for key, value in event.items():
        event[key] = MASK if _SECRET_KEY.search(key) and value is not None else _clean(value)
    return event


def mask(text: str) -> str:
    """Return `text` without what has the form of a secret."""
    return _SECRET_FORM.sub(MASK, text)


def _clean(value: object) -> object:
    if isinstance(value, str):
        return mask(value)
    if isinstance(value, dict):
        return {key: MASK if _SECRET_KEY.search(str(key)) else _clean(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set):
        return [_clean(inner) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return mask(str(value))


def _add_correlation_id(_logger: object, _method: str, event: Event) -> Event:
    value = correlation_id.get()
    if value is not None:
        event.setdefault("correlation_id", value)
    return event


def _renderer(form: str, stream: TextIO) -> structlog.typing.Processor:
    if form == "json":
        return _json
    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty(), timestamp_key="ts", exception_formatter=structlog.dev.plain_traceback
    )


_FIRST = ("ts", "level", "event", "logger", "correlation_id")
_dump = structlog.processors.JSONRenderer(ensure_ascii=False)


def _json(logger: object, method: str, event: Event) -> str:
    ordered = {key: event.pop(key) for key in _FIRST if key in event}
    text = _dump(logger, method, {**ordered, **event})
    return text if isinstance(text, str) else text.decode()
