"""Detect the encoding of a text file, and read its text as UTF-8 in blocks.

No byte is replaced or dropped: bytes that do not decode are an error with their offset and line. A file is UTF-8 only
if all of it is. Among other encodings, a guess is judged by how common its characters are, not by whether it decodes:
nearly anything decodes as GB18030.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from charset_normalizer import from_bytes

from app.errors import Invalid
from app.messages import Message

_BLOCK: Final = 1 << 20
_SAMPLE_BYTES: Final = 1 << 18
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    # UTF-32 before UTF-16: its mark begins with the same two bytes.
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SURELY_UTF8: Final = 12
"""Valid UTF-8 sequences of several bytes; so many do not occur in other text by chance."""
_COMMON_SHARE: Final = 0.7
CHINESE: Final = ("gb18030", "big5hkscs")
"""Encodings that are recognised by how common their characters are."""
_OTHERS: Final = (
    "cp1252",
    "cp1251",
    "cp1250",
    "cp1253",
    "cp1254",
    "cp1255",
    "cp1256",
    "cp1257",
    "koi8_r",
    "cp866",
    "shift_jis",
)
"""In the order of preference among those that fit equally well."""
_EQUAL_SCORE: Final = 0.02
_HANZI: Final = re.compile(rb"[\xe4-\xe9][\x80-\xbf]{2}")
_MIN_HANZI: Final = 4
"""Fewer characters in a line may be rare characters of GBK."""


@dataclass(frozen=True)
class Encoding:
    """An encoding, and the number of bytes before its text; ``lines`` is None if not counted."""

    codec: str
    mark: int = 0
    lines: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name in reports."""
        return f"{self.codec} with BOM" if self.mark else self.codec


def detect_encoding(path: Path, stated: str | None = None, *, narrow: bool = False) -> Encoding:
    """Return the encoding of a text file, the stated one if there is one.

    `narrow` is for formats whose standard requires UTF-8: only Chinese encodings are possible besides, so that one
    broken byte is an error and does not turn the file into windows-1252.

    Raises
    ------
    Invalid
        ``unknown-encoding``: the stated name is not known; ``wrong-encoding``: the file is UTF-8 except for some
        bytes.
    """
    with path.open("rb") as file:
        head = file.read(_SAMPLE_BYTES)
    mark = next(((sign, codec) for sign, codec in _MARKS if head.startswith(sign)), None)
    if stated:
        codec = parse_codec_name(stated)
        sign = next((sign for sign, marked in _MARKS if marked == codec and head.startswith(sign)), b"")
        return Encoding(codec, len(sign), count_lines(path, codec))
    if mark is not None and mark[1] != "utf-8":
        return Encoding(mark[1], len(mark[0]))
    if mark is None and (utf16 := detect_unmarked_utf16(head)):
        note = Message("The file has no byte order mark; it is read as {encoding}.", encoding=utf16)
        return Encoding(utf16, notes=(note,))
    check = _check_utf8(path)
    mark_size = len(mark[0]) if mark else 0
    if check.error_offset is None:
        return _build_utf8(path, mark_size, check)
    if mark_size or check.sequences >= _SURELY_UTF8:
        raise build_decoding_error("utf-8", check.error_offset, check.lines + 1, check.error_byte)
    codec = guess_encoding(_read_non_ascii_lines(path, check.error_offset, head))
    if narrow and codec not in CHINESE:
        raise build_decoding_error("utf-8", check.error_offset, check.lines + 1, check.error_byte)
    if codec == "gb18030" and (line := find_utf8_line(path)):
        message = Message(
            "The file is {encoding}, but line {line:,} is UTF-8. Save it in one encoding.", encoding=codec, line=line
        )
        raise Invalid(message, code="wrong-encoding")
    note = Message(
        "The file is not UTF-8; it is read as {encoding}. Set the encoding if that is wrong.", encoding=codec
    )
    return Encoding(codec, 0, count_lines(path, codec), (note,))


def detect_utf8(path: Path) -> Encoding | None:
    """Return UTF-8 if the whole file is UTF-8, else None."""
    check = _check_utf8(path)
    with path.open("rb") as file:
        mark_size = len(codecs.BOM_UTF8) if file.read(3) == codecs.BOM_UTF8 else 0
    return _build_utf8(path, mark_size, check) if check.error_offset is None else None


def _build_utf8(path: Path, mark_size: int, check: "_Utf8Check") -> Encoding:
    return Encoding("utf-8", mark_size, check.lines + _count_unended_line(path))


def detect_roughly(head: bytes) -> Encoding:
    """Return an encoding in which ASCII characters can be found, from the first bytes."""
    for sign, codec in _MARKS:
        if head.startswith(sign):
            return Encoding(codec, len(sign))
    return Encoding(detect_unmarked_utf16(head) or "utf-8")


def iter_utf8_blocks(path: Path, encoding: Encoding, size: int = _BLOCK, *, errors: str = "strict") -> Iterator[bytes]:
    r"""Yield the text as UTF-8 with line feeds only (``\r\n`` stays as it is).

    Parameters
    ----------
    errors : str
        ``replace``: bytes that do not decode become U+FFFD, for a reader that reports them.

    Raises
    ------
    Invalid
        ``wrong-encoding`` with the offset and line of the first bytes that do not decode.
    """
    pending = b""
    for fresh in _iter_decoded_blocks(path, encoding, size, errors):
        block, pending = pending + fresh, b""
        if b"\r" in block:
            # The next block may begin with the line feed.
            tail = len(block) - len(block.rstrip(b"\r"))
            if tail:
                block, pending = block[:-tail], block[-tail:]
            if block.count(b"\r") != block.count(b"\r\n"):
                block = block.replace(b"\r\r\n", b"\n").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if block:
            yield block
    if pending:
        yield b"\n"


def iter_text(path: Path, encoding: Encoding) -> Iterator[str]:
    """Yield the text in pieces, as `iter_utf8_blocks`."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")
    for block in iter_utf8_blocks(path, encoding):
        yield decoder.decode(block)


def read_head_text(path: Path, encoding: Encoding, size: int) -> tuple[str, bool]:
    """Return about the first `size` bytes as text, and whether that is the whole file."""
    blocks = iter_utf8_blocks(path, encoding, size)
    first = next(blocks, b"")
    is_whole = next(blocks, None) is None if path.stat().st_size > size else True
    return codecs.getincrementaldecoder("utf-8")().decode(first), is_whole


def guess_encoding(sample: bytes) -> str:
    """Return the encoding that makes the most ordinary text of a sample that is not UTF-8."""
    shares = {codec: compute_common_share(sample, codec) for codec in CHINESE}
    best = max(shares, key=lambda codec: shares[codec])
    if shares[best] >= _COMMON_SHARE:
        return best
    matches = list(from_bytes(sample, cp_isolation=list(_OTHERS), threshold=0.5))
    if matches:
        equal = [
            codec
            for match in matches
            if match.chaos <= matches[0].chaos + _EQUAL_SCORE and match.coherence >= matches[0].coherence - _EQUAL_SCORE
            for codec in (match.encoding, *match.could_be_from_charset)
        ]
        return min((codec for codec in equal if codec in _OTHERS), key=_OTHERS.index)
    return best if shares[best] > 0 else "cp1252"


def is_plausible(sample: bytes, codec: str) -> bool:
    """Return whether a sample decodes, if Chinese to everyday characters."""
    try:
        sample.decode(codec)
    except UnicodeDecodeError:
        return False
    return is_ordinary_text(sample, codec)


def is_ordinary_text(sample: bytes, codec: str) -> bool:
    """Return whether a sample is everyday characters of a Chinese encoding, broken bytes left out."""
    return codec not in CHINESE or compute_common_share(sample, codec) >= _COMMON_SHARE / 2


def build_decoding_error(codec: str, offset: int, line: int, byte: int | None) -> Invalid:
    """Return the error of text that does not decode."""
    message = Message(
        "The file is not valid {encoding}: byte {offset:,}{value} in line {line:,}. "
        "Save it in one encoding, or set the encoding that it has.",
        encoding=codec,
        offset=offset,
        value=f" (0x{byte:02X})" if byte is not None else "",
        line=line,
    )
    return Invalid(message, code="wrong-encoding")


@dataclass(frozen=True)
class _Utf8Check:
    error_offset: int | None
    error_byte: int | None
    sequences: int
    lines: int


def _check_utf8(path: Path) -> _Utf8Check:
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = lines = sequences = 0
    with path.open("rb") as file:
        while True:
            block = file.read(_BLOCK)
            pending = decoder.getstate()[0]
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                valid = (pending + block)[: error.start].decode("utf-8")
                return _Utf8Check(
                    offset - len(pending) + error.start,
                    error.object[error.start],
                    sequences + _count_multibyte(valid, error.start),
                    lines + valid.count("\n"),
                )
            if not block:
                return _Utf8Check(None, None, sequences, lines)
            sequences += _count_multibyte(text, len(pending) + len(block) - len(decoder.getstate()[0]))
            lines += block.count(b"\n")
            offset += len(block)


def _count_multibyte(text: str, size: int) -> int:
    """Return at least how many characters of a text of so many bytes take more than one byte."""
    return (size - len(text)) // 3


def _iter_decoded_blocks(path: Path, encoding: Encoding, size: int, errors: str) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(encoding.mark)
        if encoding.codec == "utf-8" and encoding.lines is not None:
            # detect_encoding has checked the whole file.
            while block := file.read(size):
                yield block
            return
        decoder = codecs.getincrementaldecoder(encoding.codec)(errors)
        offset, line = encoding.mark, 1
        while True:
            block = file.read(size)
            pending = decoder.getstate()[0]
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                valid = error.object[: error.start]
                line += valid.decode(encoding.codec, "ignore").count("\n")
                error_offset = offset - len(pending) + error.start
                raise build_decoding_error(encoding.codec, error_offset, line, error.object[error.start]) from None
            if text:
                yield text.encode("utf-8", "surrogatepass")
            if not block:
                return
            offset += len(block)
            line += text.count("\n")


def parse_codec_name(stated: str) -> str:
    """Return the codec of a name.

    Raises
    ------
    Invalid
        ``unknown-encoding``.
    """
    try:
        name = codecs.lookup(stated.strip()).name
        b"".decode(name)
    except (LookupError, ValueError):
        message = Message(
            "Unknown text encoding {encoding!r}. Usual encodings: utf-8, gb18030, gbk, big5, utf-16, windows-1252.",
            encoding=stated,
        )
        raise Invalid(message, code="unknown-encoding") from None
    # GB18030 includes GB2312 and GBK, and everything that programs call by these names.
    return {"utf-8-sig": "utf-8", "gb2312": "gb18030", "gbk": "gb18030"}.get(name, name)


def find_utf8_line(path: Path) -> int | None:
    """Return the first line that is Chinese in UTF-8, of a file that is not UTF-8 as a whole.

    The rest of a file that was joined from two encodings would be read as wrong characters without an error.
    """
    lines, pending = 1, b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            block = pending + block
            cut = block.rfind(b"\n") + 1 or len(block)
            pending, block = block[cut:], block[:cut]
            if (offset := _find_utf8_offset(block)) is not None:
                return lines + block.count(b"\n", 0, offset)
            lines += block.count(b"\n")
    return None if _find_utf8_offset(pending) is None else lines


def _find_utf8_offset(block: bytes) -> int | None:
    offset = 0
    while match := _HANZI.search(block, offset):
        begin = block.rfind(b"\n", 0, match.start()) + 1
        end = block.find(b"\n", begin)
        line = block[begin : end if end >= 0 else len(block)]
        if len(_HANZI.findall(line)) >= _MIN_HANZI:
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                pass
            else:
                return match.start()
        offset = begin + len(line)
    return None


def count_lines(path: Path, codec: str) -> int | None:
    """Return the number of lines, None in encodings in which a line feed is not one byte."""
    if codec.startswith(("utf-16", "utf-32", "utf-8")):
        return None
    with path.open("rb") as file:
        lines = sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK), b""))
    return lines + _count_unended_line(path)


def _count_unended_line(path: Path) -> int:
    """Return 1 if the last line has no line feed."""
    with path.open("rb") as file:
        if not file.seek(0, 2):
            return 0
        file.seek(-1, 2)
        return int(file.read(1) != b"\n")


def detect_unmarked_utf16(head: bytes) -> str | None:
    """Return the kind of UTF-16 of a file without a byte order mark, None if it is another encoding."""
    even_bytes, odd_bytes = head[0:4096:2], head[1:4096:2]
    if len(odd_bytes) < 4 or not (b"\n\x00" in head or b"\x00\n" in head):
        return None
    # Text has no zero bytes. In UTF-16 every ASCII letter has one, always on the same side.
    after, before = odd_bytes.count(0), even_bytes.count(0)
    if after > len(odd_bytes) * 0.05 and before * 20 < after:
        return "utf-16-le"
    if before > len(odd_bytes) * 0.05 and after * 20 < before:
        return "utf-16-be"
    return None


def _read_non_ascii_lines(path: Path, error_offset: int, head: bytes) -> bytes:
    """Return whole lines that are not ASCII, from the first bytes on that are not UTF-8."""
    with path.open("rb") as file:
        file.seek(max(0, error_offset - 4096))
        sample = file.read(_SAMPLE_BYTES)
    lines = sample.split(b"\n")
    if error_offset >= 4096:
        lines = lines[1:]
    if len(sample) == _SAMPLE_BYTES and len(lines) > 1:
        lines = lines[:-1]
    return b"\n".join(line for line in lines if not line.isascii()) or head


def compute_common_share(sample: bytes, codec: str) -> float:
    """Return the share of non-ASCII characters that are everyday ones of a Chinese encoding."""
    # One broken byte must not hide the encoding of the others: reading reports it.
    characters = [character for character in sample.decode(codec, "replace") if character > "\x7f"]
    if not characters:
        return 0.0
    encode = codecs.getencoder(codec)
    common = sum(is_everyday_character(encode(character, "ignore")[0], codec) for character in characters)
    return common / len(characters)


def is_everyday_character(code: bytes, codec: str) -> bool:
    """Return whether a character is of level 1 or punctuation (GB/T 2312-1980 rows 1-3, 16-55; Big5)."""
    if len(code) != 2:
        return False
    lead, trail = code
    if codec == "gb18030":
        return trail >= 0xA1 and (0xA1 <= lead <= 0xA3 or 0xB0 <= lead <= 0xD7)
    return 0xA1 <= lead <= 0xC6
