"""From bytes to text: which encoding a page is in, whatever it says about itself."""

import codecs
import re

from atlas.stages.page import PageError

#: Labels whose meaning on the web differs from Python's (WHATWG Encoding Standard).
_WEB_CODECS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "latin-1": "cp1252",
    "iso8859-9": "cp1254",
    "iso8859-11": "cp874",
    "tis-620": "cp874",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "cp936": "gb18030",
    "big5": "big5hkscs",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    # A page that can be read so far is not in UTF-16, whatever its meta element says.
    "utf-16": "utf-8",
    "utf-16-le": "utf-8",
    "utf-16-be": "utf-8",
}
#: Labels of the web that Python does not know.
_WEB_LABELS = {
    "x-sjis": "cp932",
    "windows-31j": "cp932",
    "ks_c_5601-1987": "cp949",
    "windows-949": "cp949",
    "x-gbk": "gb18030",
    "x-x-big5": "big5hkscs",
    "x-cp1250": "cp1250",
    "x-cp1251": "cp1251",
    "x-cp1252": "cp1252",
    "unicode-1-1-utf-8": "utf-8",
    "x-mac-roman": "mac-roman",
    "x-mac-cyrillic": "mac-cyrillic",
    "x-user-defined": "cp1252",
    "dos-874": "cp874",
    "iso-8859-8-i": "iso8859-8",
    "logical": "iso8859-8",
    "visual": "iso8859-8",
}
#: Python's own: they could smuggle markup in, or break whatever errors they are told to bear.
_NOT_OF_THE_WEB = {"utf-7", "idna", "punycode", "undefined", "unicode-escape", "raw-unicode-escape"}
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_HTTP_CHARSET = re.compile(r"""charset\s*=\s*["']?\s*([\w.:+-]+)""", re.IGNORECASE)
_META_CHARSET = re.compile(
    rb"""<meta\b[^>]{0,200}?charset\s*=\s*["']?\s*([\w.:+-]+)|^\s*<\?xml[^>]{0,100}?encoding\s*=\s*["']([\w.:+-]+)""",
    re.IGNORECASE,
)
_SAMPLE_BYTES = 400_000
#: A page declares its encoding near its beginning: 1024 bytes by the book, more in practice.
_META_BYTES = 8192
#: Bytes that no text holds (the "binary data bytes" of the WHATWG MIME Sniffing Standard).
_BINARY = bytes([*range(9), 0x0B, *range(0x0E, 0x1B), *range(0x1C, 0x20)])
#: Encodings that can read almost any bytes: their success proves nothing.
_UNDISCERNING = {"cp1252", "mac-roman", "iso8859-15"}
#: What part of a page may be broken characters before its declared encoding is not believed.
_BROKEN_SHARE = 0.002


def decode(raw: bytes, content_type: str | None) -> str:
    """Read `raw` as text, by its BOM, the HTTP header, its meta element, or its bytes, in this order.

    A declaration is believed only as long as the bytes bear it out. Raises PageError(undecodable).
    """
    for bom, codec in _BOMS:
        if raw.startswith(bom):
            return raw[len(bom) :].decode(codec, "replace")
    if (codec_without_bom := _utf16_without_bom(raw)) is not None:
        return raw.decode(codec_without_bom, "replace")
    declared = _declared(raw, content_type)
    if (text := _strictly(raw, "utf-8")) is not None and not _stateful(declared):
        return text
    for codec in declared:
        if codec in _UNDISCERNING and _mostly_beyond_ascii(raw):
            break
        text = raw.decode(codec, "replace")
        if text.count("\ufffd") <= len(text) * _BROKEN_SHARE:
            return text
    return _guess(raw)


def is_binary(raw: bytes) -> bool:
    """Tell whether the bytes are no text in any encoding of the web."""
    head = raw[:65536]
    if not head or head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or _utf16_without_bom(raw):
        return False
    return len(head) - len(head.translate(None, _BINARY)) > len(head) * 0.003


def _declared(raw: bytes, content_type: str | None) -> list[str]:
    """Codecs that the header and the page name, most credible first."""
    http = _HTTP_CHARSET.search(content_type or "")
    meta = _META_CHARSET.search(raw[:_META_BYTES])
    codecs_named = [
        codec
        for label in (
            http.group(1) if http else None,
            (meta.group(1) or meta.group(2)).decode("ascii", "replace") if meta else None,
        )
        if label and (codec := _codec(label))
    ]
    # Many a server adds its default to pages that know better.
    codecs_named.sort(key=lambda codec: codec in _UNDISCERNING)
    return list(dict.fromkeys(codecs_named))


def _codec(label: str) -> str | None:
    label = label.strip().lower()
    if label in _WEB_LABELS:
        return _WEB_LABELS[label]
    try:
        info = codecs.lookup(label)
    except LookupError:
        return None
    if not info._is_text_encoding or info.name in _NOT_OF_THE_WEB:
        return None
    return _WEB_CODECS.get(info.name, info.name)


def _stateful(declared: list[str]) -> bool:
    """Tell encodings that look like plain ASCII, and so like valid UTF-8."""
    return bool(declared) and declared[0].startswith(("iso2022", "hz"))


def _strictly(raw: bytes, codec: str) -> str | None:
    try:
        return raw.decode(codec)
    except UnicodeDecodeError:
        return None


def _utf16_without_bom(raw: bytes) -> str | None:
    head = raw[:512]
    if head[1::2].count(0) > len(head) * 0.4:
        return "utf-16-le"
    if head[0::2].count(0) > len(head) * 0.4:
        return "utf-16-be"
    return None


def _mostly_beyond_ascii(raw: bytes) -> bool:
    """Tell text of another script: western Europe has not that many letters with accents in a word."""
    words = re.findall(rb"[A-Za-z\x80-\xff]+", raw[:_SAMPLE_BYTES])
    letters = b"".join(word for word in words if not word.isascii())
    return len(letters) > 40 and sum(byte >= 0x80 for byte in letters) > len(letters) * 0.6


def _sample(raw: bytes) -> bytes:
    """Return text between tags that is not ASCII: all else looks alike in all encodings."""
    parts = re.split(rb"<[^<>]*>", raw[:_SAMPLE_BYTES])
    return b"\n".join(part for part in parts if not part.isascii())[:50_000]


def _guess(raw: bytes) -> str:
    """Read bytes that do not say what they are, or lie."""
    import charset_normalizer  # noqa: PLC0415 - heavy, and almost every page does without

    best = charset_normalizer.from_bytes(_sample(raw)).best()
    codec = _codec(best.encoding) if best else None
    for candidate in (codec, "utf-8", "cp1252"):
        if candidate:
            text = raw.decode(candidate, "replace")
            if text.count("\ufffd") <= len(text) * _BROKEN_SHARE:
                return text
    raise PageError(
        "undecodable", "The page's encoding cannot be told: its letters would come out as nonsense."
    )
