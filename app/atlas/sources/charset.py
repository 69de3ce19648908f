"""Which characters the bytes of a feed stand for, when the server, the feed and the truth disagree."""

import codecs
import re

import charset_normalizer

#: What begins a document, and the encoding that gives away.
_MARKS = (
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF16_BE, "utf-16"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (b"\0\0\0<", "utf-32-be"),
    (b"<\0\0\0", "utf-32-le"),
    (b"\0<\0", "utf-16-be"),
    (b"<\0", "utf-16-le"),
    (b"Lo\xa7\x94", "cp037"),
)
#: Names that are declared more widely than they are meant, and what is meant (as in the WHATWG's standard).
_MEANT = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "euc_kr": "cp949",
    "shift_jis": "cp932",
}
_CHARSET = re.compile(r"""charset\s*=\s*["']?\s*([\w.:-]+)""", re.IGNORECASE)
_DECLARED = re.compile(rb"""<\?xml[^>]{0,200}?\sencoding\s*=\s*["']\s*([\w.:-]+)""")
_MARKUP = re.compile(rb"<[^<>]*>|&#?\w+;")
_BEYOND_ASCII = re.compile("[^\x00-\x7f\ufffd]")
_HIGH_BYTES = re.compile(rb"[\x80-\xff]")
#: Fewer bytes than these allow no guess; Windows-1252 is the most common by far.
_FEW = 4
_SAMPLE_BYTES = 50_000
#: What pages are still found in when they do not say so.
_GUESSED = [
    "cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp1258", "cp874",
    "koi8_r", "tis_620", "big5", "gb18030", "euc_jp", "shift_jis", "euc_kr",
]  # fmt: skip


def decode(raw: bytes, content_type: str | None) -> tuple[str, str]:
    """Decode a document; return its text and the encoding found. At worst some characters become U+FFFD.

    A byte order mark wins. Then come the server's word, the XML declaration and a guess from the bytes; but
    bytes that are proper UTF-8 are taken for it when what was declared is only what servers say by default.
    """
    for mark, encoding in _MARKS:
        if raw.startswith(mark) and (text := _try(raw, encoding)) is not None:
            return text, encoding
    declared = _declared(raw, content_type)
    is_vague = all(encoding in ("cp1252", "utf-8") for encoding in declared)
    candidates = ["utf-8", *declared] if is_vague or "utf-8" in declared else [*declared, "utf-8"]
    for encoding in dict.fromkeys(candidates):
        if (text := _try(raw, encoding)) is not None:
            return text, encoding
    encoding = "utf-8" if _is_damaged_utf8(raw, "utf-8" in declared) else _guess(raw)
    return raw.decode(encoding, "replace").removeprefix("\ufeff"), encoding


def _declared(raw: bytes, content_type: str | None) -> list[str]:
    """List the encodings the server and the document name, as far as they exist."""
    names = _CHARSET.findall(content_type or "")[:1]
    names += [name.decode("ascii") for name in _DECLARED.findall(raw[:1024])[:1]]
    return [encoding for name in names if (encoding := _codec(name))]


def _codec(name: str) -> str | None:
    """Name Python's codec for an encoding as it is meant; None for what is none of text ("hex", "zlib")."""
    try:
        info = codecs.lookup(name)
    except LookupError:
        return None
    if not getattr(info, "_is_text_encoding", True):
        return None
    return _MEANT.get(info.name, info.name)


def _try(raw: bytes, encoding: str) -> str | None:
    try:
        return raw.decode(encoding)
    except (UnicodeError, LookupError):
        return None


def _is_damaged_utf8(raw: bytes, is_declared: bool) -> bool:  # noqa: FBT001
    """Whether this is UTF-8 with a few bytes cut or mixed in, which must not spoil all the rest."""
    sample = raw[:_SAMPLE_BYTES].decode("utf-8", "replace")
    damaged = sample.count("\ufffd")
    whole = len(_BEYOND_ASCII.findall(sample))
    return whole >= damaged * (1 if is_declared else 2)


def _guess(raw: bytes) -> str:
    """Guess from the letters, without the tags, which look the same in any encoding."""
    sample = _MARKUP.sub(b" ", raw[:_SAMPLE_BYTES])
    if len(_HIGH_BYTES.findall(sample)) < _FEW:
        return "cp1252"
    guesses = charset_normalizer.from_bytes(sample, cp_isolation=_GUESSED)
    best = guesses.best()
    if best is None or any(guess.encoding == "cp1252" and guess.chaos <= best.chaos for guess in guesses):
        return "cp1252"
    return _codec(best.encoding) or "cp1252"
