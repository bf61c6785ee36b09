"""XML files as text: detect their encoding, and reject what XML can do to a reader.

A document type, and with it every entity that a file could define, is rejected before the text reaches a parser. So no
file can make a reader expand or fetch anything, and the fast parser of the standard library can be used (defusedxml
takes four times as long).
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
from app.messages import Message

_DECLARATION: Final = re.compile(rb"""<\?xml[^>]*?\bencoding\s*=\s*["']([\w.:-]+)["']""")
_DOCUMENT_TYPE: Final = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)
_STRAY_AMPERSAND: Final = re.compile(r"&(?!(?:#\d+|#x[0-9a-fA-F]+|amp|lt|gt|quot|apos);)")
_ILLEGAL: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")
_LONGEST_REFERENCE: Final = 12
_LONGEST_KEYWORD: Final = 16
_HEAD_BYTES: Final = 4096
_PARSER_CHUNK: Final = 1 << 16


def detect_xml_encoding(file: SourceFile, stated: str | None) -> Encoding:
    """Return the encoding of an XML file: the stated one, or the one that its text fits.

    A note says if the declaration is wrong: devices declare GB2312 and write UTF-8, and the other way round.
    """
    with file.path.open("rb") as opened:
        declaration = _DECLARATION.search(opened.read(_HEAD_BYTES))
    name = declaration[1].decode("ascii", "replace") if declaration else "utf-8"
    codec = "utf-8"
    with suppress(Invalid):
        codec = encodings.parse_codec_name(name)
    if stated or codec.startswith("utf"):
        return encodings.detect_encoding(file.path, stated, narrow=True)
    utf8 = encodings.detect_utf8(file.path)
    if utf8 is None:
        return Encoding(codec, 0, None)
    if is_ascii(file):
        return utf8
    return replace(utf8, notes=(Message("The file declares {declared}, but its text is UTF-8.", declared=name),))


def iter_safe_blocks(file: SourceFile, encoding: Encoding, *, errors: str = "strict") -> Iterator[bytes]:
    """Yield the text in blocks of UTF-8; see `app.ingest.readers.encoding.iter_utf8_blocks` for `errors`.

    Raises
    ------
    Invalid
        ``unsafe-file``: the XML has a document type or entities; ``wrong-encoding``.
    """
    tail = b""
    for block in encodings.iter_utf8_blocks(file.path, encoding, errors=errors):
        # The end of a block may cut the keyword.
        check_no_document_type(tail + block[:_LONGEST_KEYWORD])
        check_no_document_type(block)
        tail = block[-_LONGEST_KEYWORD:]
        yield block


def iter_safe_text(file: SourceFile, encoding: Encoding, *, errors: str = "strict") -> Iterator[str]:
    """Yield the text in pieces, as `iter_safe_blocks`."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")
    for block in iter_safe_blocks(file, encoding, errors=errors):
        yield decoder.decode(block)


def repair_text(pieces: Iterator[str]) -> Iterator[str]:
    """Yield text without the usual mistakes of programs that write XML by hand.

    Removes blank lines before the declaration and control characters, and escapes stray ampersands: none of them can
    mean anything else.
    """
    pending, has_begun = "", False
    for piece in pieces:
        text = pending + _ILLEGAL.sub("", piece)
        if not has_begun:
            text = text.lstrip("\ufeff \t\r\n")
            has_begun = bool(text)
        # The end of a piece may cut a reference.
        cut = text.rfind("&", max(0, len(text) - _LONGEST_REFERENCE))
        text, pending = (text[:cut], text[cut:]) if cut >= 0 else (text, "")
        yield _escape_outside_cdata(text)
    yield _escape_outside_cdata(pending)


def _escape_outside_cdata(text: str) -> str:
    return text if "<![CDATA[" in text else _STRAY_AMPERSAND.sub("&amp;", text)


def repair_element(text: str) -> str:
    """Return the text of one element without control characters and stray ampersands."""
    return _STRAY_AMPERSAND.sub("&amp;", _ILLEGAL.sub("", text))


def check_no_document_type(text: bytes) -> None:
    """Raise Invalid if a text has a document type or entities."""
    # In two steps: nearly no text has the two characters.
    if b"<!" in text and _DOCUMENT_TYPE.search(text):
        message = Message("The XML has a document type or entities, which are not read. Save it without them.")
        raise Invalid(message, code="unsafe-file")


def parse_element(text: str) -> Any:
    """Return one element from text of `iter_safe_text`; raise ParseError if it is not valid."""
    return ElementTree.fromstring(text)  # noqa: S314 - iter_safe_text rejects document types


def get_local_name(element: Any) -> str:
    """Return the name of an element without its namespace."""
    return str(element.tag).rsplit("}", 1)[-1]


def iter_events(pieces: Iterator[str]) -> Iterator[tuple[str, Any]]:
    """Yield the starts and ends of elements, from text of `iter_safe_text`.

    Raises
    ------
    Invalid
        ``damaged-file`` with the line.
    """
    try:
        # Decoded text overrides the encoding of the declaration.
        yield from ElementTree.iterparse(  # noqa: S314 - iter_safe_text rejects document types
            _TextFile(pieces),
            events=("start", "end"),
        )
    except ParseError as error:
        raise build_syntax_error(*error.position) from None


def build_syntax_error(line: int, column: int) -> Invalid:
    """Return the error of text that is not valid XML, from the position at which the parser stopped."""
    message = Message(
        "The file is not valid XML: line {line:,}, character {column:,}. Export it again.", line=line, column=column + 1
    )
    return Invalid(message, code="damaged-file")


class _TextFile:
    """A file object for iterparse."""

    def __init__(self, pieces: Iterator[str]) -> None:
        # iterparse builds all elements of one reading before it returns the first.
        self._chunks = (
            piece[begin : begin + _PARSER_CHUNK] for piece in pieces for begin in range(0, len(piece), _PARSER_CHUNK)
        )

    def read(self, _size: int = -1) -> str:
        return next(self._chunks, "")


def is_ascii(file: SourceFile) -> bool:
    """Return whether a file has ASCII characters only."""
    with file.path.open("rb") as opened:
        return all(block.isascii() for block in iter(lambda: opened.read(1 << 20), b""))
