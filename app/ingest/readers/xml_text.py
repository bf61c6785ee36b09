"""XML files as text: their encoding, and the refusal of what XML can do to a reader.

A document type, and with it every entity that a file could define, is refused in the text before
any of it reaches a parser. So no reader of this package can be made to expand or to fetch anything,
and the fast parser of the standard library can be used (defusedxml's is four times slower).
"""

import codecs
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final
from xml.etree import ElementTree
from xml.etree.ElementTree import ParseError

from app.errors import Invalid
from app.ingest.readers import encoding as encodings
from app.ingest.readers.encoding import Encoding
from app.ingest.readers.model import SourceFile

_DECLARED: Final = re.compile(rb"""<\?xml[^>]*?\bencoding\s*=\s*["']([\w.:-]+)["']""")
_TYPE: Final = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_ALONE: Final = re.compile(r"&(?!(?:#\d+|#x[0-9a-fA-F]+|amp|lt|gt|quot|apos);)")
_ILLEGAL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_REFERENCE: Final = 12
"""Signs of the longest reference to a character."""
_CUT: Final = 16
_HEAD: Final = 4096
_READING: Final = 1 << 16


def detect_xml_encoding(file: SourceFile, stated: str | None) -> Encoding:
    """Return the encoding of an XML file: stated, or what its text reads as.

    What the declaration says is told where the text is of another kind: devices write GB2312
    above UTF-8 and the other way round.
    """
    with file.path.open("rb") as opened:
        declared = _DECLARED.search(opened.read(_HEAD))
    name = declared[1].decode("ascii", "replace") if declared else "utf-8"
    codec = "utf-8"
    with suppress(Invalid):
        codec = encodings.parse_codec_name(name)
    if stated or codec.startswith("utf"):
        return encodings.detect_encoding(file.path, stated, narrow=True)
    found = encodings.detect_utf8(file.path)
    if found is None:
        return Encoding(codec, 0, None)
    if is_ascii(file):
        return found
    note = f"The file says {name}, its text reads as UTF-8; that is taken."
    return replace(found, notes=(note,))


def iter_safe_blocks(file: SourceFile, coding: Encoding, *, errors: str = "strict") -> Iterator[bytes]:
    """Yield the text in blocks of UTF-8; see `app.ingest.readers.encoding.iter_utf8_blocks` for `errors`.

    Raises
    ------
    Invalid
        ``unsafe-file``: it has a document type or entities; ``wrong-encoding``.
    """
    end = b""
    for block in encodings.iter_utf8_blocks(file.path, coding, errors=errors):
        # The word may be cut by the end of a block.
        check_no_document_type(end + block[:_CUT])
        check_no_document_type(block)
        end = block[-_CUT:]
        yield block


def iter_safe_text(file: SourceFile, coding: Encoding, *, errors: str = "strict") -> Iterator[str]:
    """Yield the text in pieces, as `iter_safe_blocks`."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")
    for block in iter_safe_blocks(file, coding, errors=errors):
        yield decoder.decode(block)


def repair_text(pieces: Iterator[str]) -> Iterator[str]:
    """Yield text without what programs that write XML by hand get wrong and cannot mean otherwise.

    Blank lines before the declaration, control characters, and an ampersand that begins nothing.
    """
    held, begun = "", False
    for piece in pieces:
        text = held + _ILLEGAL.sub("", piece)
        if not begun:
            text = text.lstrip("\ufeff \t\r\n")
            begun = bool(text)
        # A reference may be cut by the end of a piece.
        cut = text.rfind("&", max(0, len(text) - _REFERENCE))
        text, held = (text[:cut], text[cut:]) if cut >= 0 else (text, "")
        yield escape_stray_ampersands(text)
    yield escape_stray_ampersands(held)


def escape_stray_ampersands(text: str) -> str:
    return text if "<![CDATA[" in text else _ALONE.sub("&amp;", text)


def check_no_document_type(text: bytes) -> None:
    # Looked for in two steps: nearly no text has the two signs.
    if b"<!" in text and _TYPE.search(text):
        raise Invalid(
            "The XML has a document type or entities, which are not read; save it without them.",
            code="unsafe-file",
        )


def parse_element(text: str) -> Any:
    """Return one element, parsed from text that `iter_safe_text` gave.

    Raises
    ------
    ParseError
        The text is no element.
    """
    return ElementTree.fromstring(text)  # noqa: S314 - text_of refused document types


def iter_events(pieces: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """Yield the starts and ends of elements of a document, from text that `iter_safe_text` gave.

    Raises
    ------
    Invalid
        ``damaged-file`` with the line.
    """
    try:
        # Text that is decoded already overrides the declaration.
        yield from ElementTree.iterparse(  # noqa: S314 - text_of refused document types
            _TextFile(pieces),
            events=("start", "end"),
        )
    except ParseError as error:
        raise build_syntax_error(*error.position) from None


def build_syntax_error(line: int, sign: int) -> Invalid:
    """Return the refusal of text that is no XML, from where the parser stopped."""
    return Invalid(f"The file is not valid XML: line {line:,}, sign {sign + 1:,}.", code="damaged-file")


class _TextFile:
    """What iterparse reads from."""

    def __init__(self, pieces: Iterator[str]) -> None:
        # Elements of one reading are built before the first is looked at.
        self._parts = (piece[at : at + _READING] for piece in pieces for at in range(0, len(piece), _READING))

    def read(self, _size: int = -1) -> str:
        return next(self._parts, "")


def is_ascii(file: SourceFile) -> bool:
    with file.path.open("rb") as opened:
        return all(block.isascii() for block in iter(lambda: opened.read(1 << 20), b""))
