"""Which encoding a text file has, and its text as UTF-8 in blocks.

Promises that no byte is replaced or dropped: what does not decode is refused with its byte and
line. UTF-8 is believed only when the whole file is UTF-8. Among the rest a guess is judged by how
common its characters are, not by whether it decodes: nearly anything decodes as GB18030.
"""

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from charset_normalizer import from_bytes

from app.errors import Invalid

_BLOCK: Final = 1 << 20
_SAMPLE: Final = 1 << 18
# UTF-32 before UTF-16: its mark begins with the same two bytes.
_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
# So many well-formed UTF-8 sequences in other text do not happen by chance.
_SURELY_UTF8: Final = 12
_COMMON_SHARE: Final = 0.7
CHINESE: Final = ("gb18030", "big5hkscs")
"""Encodings that are told by how common their characters are."""
# In the order of preference among those that read equally well.
_OTHERS: Final = (
    "cp1252", "cp1251", "cp1250", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "koi8_r", "cp866",
    "shift_jis",
)  # fmt: skip
_EQUAL: Final = 0.02


@dataclass(frozen=True)
class Encoding:
    """An encoding and where its text begins; ``lines`` counts lines, None when not known."""

    codec: str
    mark: int = 0
    lines: int | None = None
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name told to people."""
        return f"{self.codec} with BOM" if self.mark else self.codec


def detect(path: Path, stated: str | None = None, *, narrow: bool = False) -> Encoding:
    """Return the encoding of a text file, the stated one when it is given.

    `narrow` is for formats whose text is UTF-8 by their standard: only Chinese is taken beside it,
    so that one broken byte is told instead of making the file windows-1252.

    Raises
    ------
    Invalid
        ``unknown-encoding``: the stated name is none; ``wrong-encoding``: the file is UTF-8 but
        for some bytes.
    """
    with path.open("rb") as file:
        head = file.read(_SAMPLE)
    mark = next(((sign, codec) for sign, codec in _MARKS if head.startswith(sign)), None)
    if stated:
        codec = codec_of(stated)
        sign = next((sign for sign, of in _MARKS if of == codec and head.startswith(sign)), b"")
        return Encoding(codec, len(sign), _line_count(path, codec))
    if mark is not None and mark[1] != "utf-8":
        return Encoding(mark[1], len(mark[0]))
    if mark is None and (wide := _unmarked_utf16(head)):
        return Encoding(wide, notes=(f"The file has no byte order mark; it reads as {wide}.",))
    checked = _check_utf8(path)
    length = len(mark[0]) if mark else 0
    if checked.failed_at is None:
        return _utf8(path, length, checked)
    if length or checked.sequences >= _SURELY_UTF8:
        raise wrong("utf-8", checked.failed_at, checked.lines + 1, checked.byte)
    codec = guess(_telling(path, checked.failed_at, head))
    if narrow and codec not in CHINESE:
        raise wrong("utf-8", checked.failed_at, checked.lines + 1, checked.byte)
    if codec == "gb18030" and (line := _utf8_line(path)):
        raise Invalid(
            f"The file reads as {codec}, but line {line:,} is UTF-8. Save it again in one encoding.",
            code="wrong-encoding",
        )
    note = f"The file is not UTF-8; it reads as {codec}. Name the encoding if that is wrong."
    return Encoding(codec, 0, _line_count(path, codec), (note,))


def as_utf8(path: Path) -> Encoding | None:
    """Return UTF-8 when the whole file is that, else None."""
    checked = _check_utf8(path)
    with path.open("rb") as file:
        mark = len(codecs.BOM_UTF8) if file.read(3) == codecs.BOM_UTF8 else 0
    return _utf8(path, mark, checked) if checked.failed_at is None else None


def _utf8(path: Path, mark: int, checked: "_Checked") -> Encoding:
    return Encoding("utf-8", mark, checked.lines + _unended(path))


def rough(head: bytes) -> Encoding:
    """Return an encoding in which markup and signs of ASCII can be found, from a few bytes."""
    for sign, codec in _MARKS:
        if head.startswith(sign):
            return Encoding(codec, len(sign))
    return Encoding(_unmarked_utf16(head) or "utf-8")


def text_blocks(path: Path, encoding: Encoding, size: int = _BLOCK, *, errors: str = "strict") -> Iterator[bytes]:
    r"""Yield the text as UTF-8 with line feeds only (``\r\n`` is left as it is).

    Parameters
    ----------
    errors : str
        ``replace``: bytes that do not decode become U+FFFD, for a reader that tells of them.

    Raises
    ------
    Invalid
        ``wrong-encoding`` with the byte and line of the first bytes that do not decode.
    """
    held = b""
    for block in _utf8_blocks(path, encoding, size, errors):
        block = held + block
        held = b""
        if b"\r" in block:
            tail = len(block) - len(block.rstrip(b"\r"))
            if tail:
                block, held = block[:-tail], block[-tail:]
            if block.count(b"\r") != block.count(b"\r\n"):
                block = block.replace(b"\r\r\n", b"\n").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if block:
            yield block
    if held:
        yield b"\n"


def text_pieces(path: Path, encoding: Encoding) -> Iterator[str]:
    """Yield the text in pieces, as `text_blocks`."""
    decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")
    for block in text_blocks(path, encoding):
        yield decoder.decode(block)


def head_text(path: Path, encoding: Encoding, size: int) -> tuple[str, bool]:
    """Return about the first `size` bytes as text, and whether that is the whole file."""
    blocks = text_blocks(path, encoding, size)
    first = next(blocks, b"")
    whole = next(blocks, None) is None if path.stat().st_size > size else True
    return codecs.getincrementaldecoder("utf-8")().decode(first), whole


def guess(sample: bytes) -> str:
    """Return the encoding that makes the most ordinary text of a sample that is not UTF-8."""
    chinese = {codec: _common_share(sample, codec) for codec in CHINESE}
    best = max(chinese, key=lambda codec: chinese[codec])
    if chinese[best] >= _COMMON_SHARE:
        return best
    found = list(from_bytes(sample, cp_isolation=list(_OTHERS), threshold=0.5))
    if found:
        equal = [
            codec
            for match in found
            if match.chaos <= found[0].chaos + _EQUAL and match.coherence >= found[0].coherence - _EQUAL
            for codec in (match.encoding, *match.could_be_from_charset)
        ]
        return min((codec for codec in equal if codec in _OTHERS), key=_OTHERS.index)
    return best if chinese[best] > 0 else "cp1252"


def fits(sample: bytes, codec: str) -> bool:
    """Tell whether a sample decodes, and into everyday characters where it is Chinese."""
    try:
        sample.decode(codec)
    except UnicodeDecodeError:
        return False
    return looks_ordinary(sample, codec)


def looks_ordinary(sample: bytes, codec: str) -> bool:
    """Tell whether a sample, broken bytes aside, is everyday characters where it is Chinese."""
    return codec not in CHINESE or _common_share(sample, codec) >= _COMMON_SHARE / 2


def wrong(codec: str, byte: int, line: int, value: int | None) -> Invalid:
    """Return the refusal of text that does not decode."""
    shown = f" (0x{value:02X})" if value is not None else ""
    return Invalid(
        f"The file does not read as {codec}: byte {byte:,}{shown}, in line {line:,}, is not valid "
        "there. Save it again in one encoding, or name the encoding it has.",
        code="wrong-encoding",
    )


@dataclass(frozen=True)
class _Checked:
    failed_at: int | None
    byte: int | None
    sequences: int
    lines: int


def _check_utf8(path: Path) -> _Checked:
    decoder = codecs.getincrementaldecoder("utf-8")()
    place = lines = sequences = 0
    with path.open("rb") as file:
        while True:
            block = file.read(_BLOCK)
            held = decoder.getstate()[0]
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                valid = (held + block)[: error.start].decode("utf-8")
                return _Checked(
                    place - len(held) + error.start,
                    error.object[error.start],
                    sequences + _multibyte(valid, error.start),
                    lines + valid.count("\n"),
                )
            if not block:
                return _Checked(None, None, sequences, lines)
            sequences += _multibyte(text, len(held) + len(block) - len(decoder.getstate()[0]))
            lines += block.count(b"\n")
            place += len(block)


def _multibyte(text: str, size: int) -> int:
    """Return at least how many characters of a text of so many bytes take more than one."""
    return (size - len(text)) // 3


def _utf8_blocks(path: Path, encoding: Encoding, size: int, errors: str) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(encoding.mark)
        if encoding.codec == "utf-8" and encoding.lines is not None:
            # Checked as a whole when it was opened.
            while block := file.read(size):
                yield block
            return
        decoder = codecs.getincrementaldecoder(encoding.codec)(errors)
        place, lines = encoding.mark, 1
        while True:
            block = file.read(size)
            held = decoder.getstate()[0]
            try:
                text = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                before = error.object[: error.start]
                lines += before.decode(encoding.codec, "ignore").count("\n")
                at = place - len(held) + error.start
                raise wrong(encoding.codec, at, lines, error.object[error.start]) from None
            if text:
                yield text.encode("utf-8", "surrogatepass")
            if not block:
                return
            place += len(block)
            lines += text.count("\n")


def codec_of(stated: str) -> str:
    """Return the codec that a name means.

    Raises
    ------
    Invalid
        ``unknown-encoding``.
    """
    try:
        name = codecs.lookup(stated.strip()).name
        b"".decode(name)
    except (LookupError, ValueError):
        raise Invalid(
            f"There is no text encoding {stated!r}; usual ones are utf-8, gb18030, gbk, big5, utf-16 and windows-1252.",
            code="unknown-encoding",
        ) from None
    # GB18030 reads everything that GB2312 and GBK can hold, and what programs call by these names.
    known = {"utf-8-sig": "utf-8", "gb2312": "gb18030", "gbk": "gb18030", "hz": "hz"}
    return known.get(name, name)


def _utf8_line(path: Path) -> int | None:
    """Return the first line that is Chinese in UTF-8, of a file that is not UTF-8 as a whole.

    Files that were put together of two read as mojibake from there on, and nothing would tell it.
    """
    lines, held = 1, b""
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            block = held + block
            cut = block.rfind(b"\n") + 1 or len(block)
            held, block = block[cut:], block[:cut]
            if (found := _first_utf8_line(block)) is not None:
                return lines + block.count(b"\n", 0, found)
            lines += block.count(b"\n")
    found = _first_utf8_line(held)
    return None if found is None else lines


def _first_utf8_line(block: bytes) -> int | None:
    at = 0
    while found := _HANZI.search(block, at):
        begin = block.rfind(b"\n", 0, found.start()) + 1
        end = block.find(b"\n", begin)
        line = block[begin : end if end >= 0 else len(block)]
        if len(_HANZI.findall(line)) >= _HANZI_OF_A_LINE:
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                pass
            else:
                return found.start()
        at = begin + len(line)
    return None


_HANZI: Final = re.compile(rb"[\xe4-\xe9][\x80-\xbf]{2}")
_HANZI_OF_A_LINE: Final = 4
"""Fewer of them may be rare characters of GBK."""


def _line_count(path: Path, codec: str) -> int | None:
    # A line feed is one byte of its own in all of these; not so in UTF-16 and UTF-32.
    if codec.startswith(("utf-16", "utf-32", "utf-8")):
        return None
    with path.open("rb") as file:
        lines = sum(block.count(b"\n") for block in iter(lambda: file.read(_BLOCK), b""))
    return lines + _unended(path)


def _unended(path: Path) -> int:
    """Return 1 when the last line has no line feed."""
    with path.open("rb") as file:
        if not file.seek(0, 2):
            return 0
        file.seek(-1, 2)
        return int(file.read(1) != b"\n")


def _unmarked_utf16(head: bytes) -> str | None:
    even, odd = head[0:4096:2], head[1:4096:2]
    if len(odd) < 4 or not (b"\n\x00" in head or b"\x00\n" in head):
        return None
    # Text has no zero bytes; in UTF-16 every plain letter has one, always on the same side.
    after, before = odd.count(0), even.count(0)
    if after > len(odd) * 0.05 and before * 20 < after:
        return "utf-16-le"
    if before > len(odd) * 0.05 and after * 20 < before:
        return "utf-16-be"
    return None


def _telling(path: Path, failed_at: int, head: bytes) -> bytes:
    """Return whole lines that are not ASCII: from the first such place on."""
    with path.open("rb") as file:
        file.seek(max(0, failed_at - 4096))
        sample = file.read(_SAMPLE)
    begins = failed_at < 4096
    lines = sample.split(b"\n")
    if not begins:
        lines = lines[1:]
    if len(sample) == _SAMPLE and len(lines) > 1:
        lines = lines[:-1]
    telling = b"\n".join(line for line in lines if not line.isascii())
    return telling or head


def _common_share(sample: bytes, codec: str) -> float:
    """Return the share of non-ASCII characters that are everyday ones of a Chinese encoding."""
    # A broken byte must not hide what the rest is: reading will name it.
    other = [character for character in sample.decode(codec, "replace") if character > "\x7f"]
    if not other:
        return 0.0
    encode = codecs.getencoder(codec)
    common = sum(_everyday(encode(character, "ignore")[0], codec) for character in other)
    return common / len(other)


def _everyday(pair: bytes, codec: str) -> bool:
    """Tell characters of level 1 and the punctuation rows (GB/T 2312-1980 rows 1-3, 16-55; Big5)."""
    if len(pair) != 2:
        return False
    lead, trail = pair
    if codec == "gb18030":
        return trail >= 0xA1 and (0xA1 <= lead <= 0xA3 or 0xB0 <= lead <= 0xD7)
    return 0xA1 <= lead <= 0xC6
