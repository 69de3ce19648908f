"""Asks a language model of the user's choice, by the protocol that most of them speak (OpenAI's).

The address is one that the user configured, so it may stand in the user's own network; redirects are not
followed, and nothing of the environment (proxies) is believed.
"""

import json
import time
from typing import Any

import httpx2

from atlas.settings import Settings

#: Bytes of an answer.
MOST_ANSWER = 1_000_000
#: What it says to a text that it does not take, such as one too long for it.
_OF_THE_TEXT = {400, 413, 422}


class LlmError(Exception):
    """The model gave no usable answer; the message says why. `blames` when that is the endpoint's trouble."""

    def __init__(self, message: str, *, blames: bool = True) -> None:
        super().__init__(message)
        self.blames = blames


def ask(settings: Settings, system: str, text: str, *, most_tokens: int = 400) -> str:
    """Return the model's answer to `text`. Raises LlmError."""
    body = {
        "model": settings.llm_model,
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": text}],
        "max_tokens": most_tokens,
        "temperature": 0.2,
        "stream": False,
    }
    headers = {"Accept": "application/json", "User-Agent": settings.user_agent}
    if settings.llm_api_key is not None:
        headers["Authorization"] = f"Bearer {settings.llm_api_key.get_secret_value()}"
    address = settings.llm_url.rstrip("/") + "/chat/completions"
    ends = time.monotonic() + settings.llm_timeout_seconds
    try:
        with (
            httpx2.Client(
                timeout=settings.llm_timeout_seconds, follow_redirects=False, trust_env=False
            ) as client,
            client.stream("POST", address, json=body, headers=headers) as response,
        ):
            raw = _body(response, ends)
    except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as error:
        raise LlmError(f"The language model does not answer: {type(error).__name__}.") from None
    if response.status_code != 200:
        message = f"The language model answers with status {response.status_code}."
        raise LlmError(message, blames=response.status_code not in _OF_THE_TEXT)
    return _answer(raw)


def _body(response: httpx2.Response, ends: float) -> bytes:
    raw = bytearray()
    for part in response.iter_bytes():
        raw += part
        if len(raw) > MOST_ANSWER:
            raise LlmError("The language model's answer is too long.")
        if time.monotonic() > ends:
            raise LlmError("The language model takes too long.")
    return bytes(raw)


def _answer(raw: bytes) -> str:
    try:
        answer: Any = json.loads(raw)
        text = answer["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError, RecursionError):
        raise LlmError("The language model's answer cannot be understood.") from None
    if not isinstance(text, str) or not text.strip():
        raise LlmError("The language model's answer is empty.", blames=False)
    return text
