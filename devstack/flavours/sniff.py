"""The content type that Go's `http.DetectContentType` finds in the first 512 bytes.

The signatures are those of https://mimesniff.spec.whatwg.org/ that Go checks and that stored data is likely to have;
fonts and the rarer audio and video containers are left out and come as `application/octet-stream`.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["SNIFF_LENGTH", "content_type_of"]

SNIFF_LENGTH: Final = 512

_HTML: Final = re.compile(
    rb"[\t\n\x0c\r ]*<(?:!DOCTYPE HTML|HTML|HEAD|SCRIPT|IFRAME|H1|DIV|FONT|TABLE|A|STYLE|TITLE|B|BODY|BR|P|!--)[ >]",
    re.IGNORECASE,
)
_XML: Final = re.compile(rb"[\t\n\x0c\r ]*<\?xml")
_MASKED: Final = (
    (re.compile(rb"RIFF....WEBPVP", re.DOTALL), "image/webp"),
    (re.compile(rb"RIFF....WAVE", re.DOTALL), "audio/wave"),
    (re.compile(rb"RIFF....AVI ", re.DOTALL), "video/avi"),
)
_EXACT: Final = (
    (b"%PDF-", "application/pdf"),
    (b"%!PS-Adobe-", "application/postscript"),
    (b"\xfe\xff", "text/plain; charset=utf-16be"),
    (b"\xff\xfe", "text/plain; charset=utf-16le"),
    (b"\xef\xbb\xbf", "text/plain; charset=utf-8"),
    (b"\x00\x00\x01\x00", "image/x-icon"),
    (b"BM", "image/bmp"),
    (b"GIF87a", "image/gif"),
    (b"GIF89a", "image/gif"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"ID3", "audio/mpeg"),
    (b"OggS\x00", "application/ogg"),
    (b"MThd\x00\x00\x00\x06", "audio/midi"),
    (b"\x1aE\xdf\xa3", "video/webm"),
    (b"Rar!\x1a\x07\x00", "application/x-rar-compressed"),
    (b"Rar!\x1a\x07\x01\x00", "application/x-rar-compressed"),
    (b"PK\x03\x04", "application/zip"),
    (b"\x1f\x8b\x08", "application/x-gzip"),
    (b"\x00asm", "application/wasm"),
)
# Bytes that no text has: all control bytes but tab, line feed, form feed, carriage return and escape.
_BINARY: Final = bytes([*range(0x09), 0x0B, *range(0x0E, 0x1B), *range(0x1C, 0x20)])


def content_type_of(start: bytes) -> str:
    """The content type of data that begins with these bytes; text unless a byte says otherwise, as an empty body."""
    head = start[:SNIFF_LENGTH]
    if _HTML.match(head):
        return "text/html; charset=utf-8"
    if _XML.match(head):
        return "text/xml; charset=utf-8"
    for signature, kind in _EXACT:
        if head.startswith(signature):
            return kind
    for pattern, kind in _MASKED:
        if pattern.match(head):
            return kind
    if head.translate(None, _BINARY) == head:
        return "text/plain; charset=utf-8"
    return "application/octet-stream"
