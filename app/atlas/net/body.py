"""Reading an answer's body: decompressed as it comes, and never more of it than was agreed."""

import zlib
from collections.abc import Iterable, Iterator

from atlas.net.errors import FetchError

#: What we say we can read. All of it can be decompressed piece by piece, which is what bounds a bomb.
ACCEPT_ENCODING = "gzip, deflate"

_PIECE = 64 * 1024
_GZIP_START = b"\x1f\x8b"
#: Real pages shrink to a tenth, a very repetitive one to a hundredth; deflate can do a thousandth.
_BOMB_RATIO = 200
_BOMB_FROM = 1024 * 1024


def read_body(chunks: Iterable[bytes], encoding: str, max_bytes: int) -> bytes:
    """Return the decompressed body, at most `max_bytes` of it.

    `encoding` is the Content-Encoding header. Raises FetchError: `body_too_large`, `decompression_bomb`,
    `bad_response` (unknown or broken compression), `connection_failed` (compressed data broke off).
    """
    coding = encoding.strip().lower()
    if coding in ("", "identity"):
        return _collect(((len(chunk), chunk) for chunk in chunks), max_bytes)
    if coding not in ("gzip", "x-gzip", "deflate"):
        raise FetchError(
            "bad_response", f"The site sent a kind of compression Atlas did not ask for ({coding[:40]})."
        )
    try:
        return _collect(_inflated(chunks), max_bytes)
    except zlib.error as error:
        raise FetchError(
            "bad_response", "The site's answer is damaged: it cannot be decompressed."
        ) from error


def _collect(pieces: Iterable[tuple[int, bytes]], max_bytes: int) -> bytes:
    """Join pieces, each given with the number of bytes that came over the wire for it."""
    body = bytearray()
    received = 0
    for wire_bytes, piece in pieces:
        received += wire_bytes
        body += piece
        if len(body) > _BOMB_FROM and len(body) > received * _BOMB_RATIO:
            message = "The site's answer is a few bytes that unpack to a huge file; it was not opened."
            raise FetchError("decompression_bomb", message)
        if max(len(body), received) > max_bytes:
            raise too_large(max_bytes)
    return bytes(body)


def too_large(max_bytes: int) -> FetchError:
    """Return the error for a body of more than `max_bytes`."""
    return FetchError(
        "body_too_large", f"The file is larger than {max_bytes / 1e6:g} MB, the most Atlas takes."
    )


def _inflated(chunks: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Unpack gzip (also several in a row), zlib or bare deflate, in pieces of at most `_PIECE` bytes."""
    inflater = None
    ended = False
    for chunk in chunks:
        wire_bytes, data = len(chunk), chunk
        while data:
            if inflater is None:
                if ended and not data.startswith(_GZIP_START[:1]):
                    return  # padding after the end, which browsers ignore as well
                inflater = zlib.decompressobj(_window(data))
            yield wire_bytes, inflater.decompress(data, _PIECE)
            wire_bytes = 0
            data = inflater.unconsumed_tail
            if inflater.eof:
                data, inflater, ended = inflater.unused_data, None, True
    if inflater is not None:
        raise FetchError("connection_failed", "The site's answer broke off in the middle.", retry=True)


def _window(data: bytes) -> int:
    """Choose zlib's `wbits` for what begins with `data`; "deflate" is sent with and without a header."""
    has_header = data.startswith(_GZIP_START[:1]) or data[0] & 0x0F == 8
    return 32 + zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS
