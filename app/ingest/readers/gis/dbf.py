"""The attribute table of a Shapefile (dBase III and its successors), read as the text it is.

Promises numbers with the digits that stand in the file: a 20-digit code in a numeric field is
kept, where other readers make a double of it. The encoding of the bytes is checked against what
the side files claim.
"""

import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from app.errors import Invalid
from app.ingest.readers import encoding as encodings
from app.ingest.readers.header_row import build_headers
from app.ingest.readers.model import FormatIssue
from app.ingest.values.text import build_text_column, clean_column
from app.ingest.values.typed_text import format_double, format_integer

# Language driver numbers of the dBase header that occur with Chinese data (Esri, dBase manuals).
_DRIVERS: Final = {
    0x4D: "gb18030",
    0x7A: "gb18030",
    0x4F: "big5hkscs",
    0x78: "big5hkscs",
    0x03: "cp1252",
}
_WESTERN: Final = ("cp1252", "iso8859-1", "latin-1")
"""What programs write into the side file without looking; any bytes read as it."""
_DOUBLE: Final = ("utf-8", "gb2312")
"""What text of several bytes a sign reads as, and text of single ones hardly ever."""
_NAME_BYTES: Final = 10
_SAMPLE_ROWS: Final = 5_000
_NUMBERS: Final = "NF"
_LONG: Final = re.compile(r"[eE]|\d{16}")
_WHOLE: Final = re.compile(r"[+-]?\d+")


@dataclass(frozen=True)
class DbfField:
    name: bytes
    kind: str
    offset: int
    width: int


@dataclass(frozen=True, eq=False)
class DbfTable:
    """An attribute table that is open."""

    path: Path
    fields: tuple[DbfField, ...]
    names: tuple[str, ...]
    codec: str
    count: int
    first_offset: int
    record_size: int
    notes: tuple[str, ...]

    def read_cells(
        self, first: int, count: int
    ) -> tuple[dict[str, pa.StringArray], NDArray[np.bool_], list[FormatIssue]]:
        """Return columns of records from `first` (0-based) on, which are deleted, what is odd."""
        block = self.read_records(first, count)
        odd: list[FormatIssue] = []
        columns = {
            name: self._parse_column(field, block, first, odd)
            for name, field in zip(self.names, self.fields, strict=True)
        }
        return columns, block[:, 0] == ord("*"), odd

    def read_records(self, first: int, count: int) -> NDArray[np.uint8]:
        with self.path.open("rb") as file:
            file.seek(self.first_offset + first * self.record_size)
            raw = file.read(min(count, self.count - first) * self.record_size)
        whole = len(raw) // self.record_size
        return np.frombuffer(raw, np.uint8, whole * self.record_size).reshape(whole, self.record_size)

    def _parse_column(
        self, field: DbfField, block: NDArray[np.uint8], first: int, odd: list[FormatIssue]
    ) -> pa.StringArray:
        part = np.ascontiguousarray(block[:, field.offset : field.offset + field.width])
        values = part.view(f"S{field.width}").ravel()
        match field.kind:
            case "I":
                return pa.array(part.view("<i4").ravel()).cast(pa.string())
            case "B" | "O" if field.width == 8:
                return build_text_column([format_double(value) for value in part.view("<f8").ravel().tolist()])
        if (part < 128).all():
            texts = clean_column(pc.ascii_rtrim(pa.array(values, pa.binary()).cast(pa.string()), " \x00"))
        else:
            texts = build_text_column([self._decode_text(value, first + at, odd) for at, value in enumerate(values)])
        if field.kind in _NUMBERS:
            return format_numbers(texts)
        if field.kind == "D":
            dates = pc.extract_regex(texts, r"^(?P<y>[0-9]{4})(?P<m>[0-9]{2})(?P<d>[0-9]{2})$")
            dashed = pc.binary_join_element_wise(*dates.flatten(), "-")
            zero = pc.match_substring_regex(texts, "^0*$")
            return pc.if_else(zero, pa.scalar(None, pa.string()), pc.coalesce(dashed, texts))
        if field.kind == "L":
            yes, no = (
                pc.is_in(texts, pa.array(list("TtYy"))),
                pc.is_in(texts, pa.array(list("FfNn"))),
            )
            return pc.if_else(yes, "true", pc.if_else(no, "false", pa.scalar(None, pa.string())))
        return texts

    def _decode_text(self, value: bytes, record: int, odd: list[FormatIssue]) -> str:
        raw = value.rstrip(b" \x00")
        try:
            return raw.decode(self.codec)
        except UnicodeDecodeError as error:
            # Fields have a fixed number of bytes: programs cut a character in half at the end.
            if len(raw) - error.start > 3 or error.start < len(raw) - 3:
                raise encodings.build_decoding_error(
                    self.codec,
                    self.first_offset + record * self.record_size,
                    record + 1,
                    error.object[error.start],
                ) from None
            message = "A text of the attribute table is cut in the middle of a character."
            odd.append(FormatIssue(record + 1, "cut-text", message))
            return raw[: error.start].decode(self.codec)


def open_dbf(path: Path, claimed: str | None, stated: str | None) -> DbfTable:
    """Open an attribute table.

    Parameters
    ----------
    path : Path
        The .dbf file.
    claimed : str or None
        What the .cpg file says.
    stated : str or None
        The encoding that the sender names.

    Raises
    ------
    Invalid
        ``damaged-file``, ``unknown-encoding``.
    """
    with path.open("rb") as file:
        head = file.read(32)
        if len(head) < 32:
            raise _damaged_table("its header is cut off")
        count, begin, record = struct.unpack("<IHH", head[4:12])
        rest = file.read(max(0, begin - 32))
    if record < 1 or begin < 33:
        raise _damaged_table("its header makes no sense")
    fields, skipped = parse_fields(rest, record)
    present = max(0, path.stat().st_size - begin) // record
    notes = []
    if present < count:
        notes.append(f"The attribute table is cut off: {present:,} of {count:,} records are there.")
    if skipped:
        notes.append(f"Columns of a kind that is not read: {', '.join(skipped)}.")
    table = DbfTable(path, fields, (), "ascii", min(count, present), begin, record, ())
    codec, told = detect_dbf_encoding(table, head[29], claimed, stated)
    names = build_headers([decode_field_name(field.name, codec) for field in fields])
    cut = [
        name
        for name, field in zip(names, fields, strict=True)
        if len(field.name) >= _NAME_BYTES - 1 and not field.name.isascii()
    ]
    if cut:
        notes.append(
            f"Names of columns have {_NAME_BYTES} bytes at most in a Shapefile; these may be cut: "
            f"{', '.join(cut)}. Map those that are not recognised."
        )
    return DbfTable(path, fields, names, codec, table.count, begin, record, (*notes, *((told,) if told else ())))


def parse_fields(rest: bytes, record: int) -> tuple[tuple[DbfField, ...], list[str]]:
    fields: list[DbfField] = []
    skipped = []
    offset = 1
    for at in range(0, len(rest) - 31, 32):
        entry = rest[at : at + 32]
        if entry[0] == 0x0D:
            break
        name, kind = entry[:11].split(b"\x00")[0], chr(entry[11])
        # Clipper kept the high byte of long text fields where others keep decimals.
        width = entry[16] + (entry[17] << 8 if kind == "C" else 0)
        if width == 0 or offset + width > record:
            raise _damaged_table("its columns are wider than its records")
        if kind in "CNFDL" or (kind == "I" and width == 4) or (kind in "BO" and width == 8):
            fields.append(DbfField(name, kind, offset, width))
        else:
            skipped.append(name.decode("latin-1"))
        offset += width
    return tuple(fields), skipped


def detect_dbf_encoding(
    table: DbfTable, driver: int, claimed: str | None, stated: str | None
) -> tuple[str, str | None]:
    """Return the encoding: stated, else the first claim that the bytes bear out, else a guess."""
    if stated:
        return encodings.parse_codec_name(stated), None
    sample = read_text_sample(table)
    claims = []
    if claimed:
        with suppress(Invalid):  # a .cpg file may hold anything
            claims.append(encodings.parse_codec_name(claimed))
    if driver in _DRIVERS:
        claims.append(_DRIVERS[driver])
    if not sample:
        return (claims or ["utf-8"])[0], None
    for codec in claims:
        doubted = codec in _WESTERN and any(is_plausible_encoding(sample, other) for other in _DOUBLE)
        if is_plausible_encoding(sample, codec) and not doubted:
            return codec, None
    likely = (codec for codec in ("utf-8", "gb18030", "big5hkscs") if is_plausible_encoding(sample, codec))
    codec = next(likely, None) or encodings.guess_encoding(b"\n".join(sample))
    if claims:
        return codec, f"The Shapefile says {claims[0]}, its text reads as {codec}; that is taken."
    return codec, f"The Shapefile names no encoding; its text reads as {codec}."


def is_plausible_encoding(cells: list[bytes], codec: str) -> bool:
    """Tell whether cells read in an encoding, but for what is cut off at their ends."""
    whole = []
    for cell in cells:
        try:
            cell.decode(codec)
        except UnicodeDecodeError as error:
            if error.start < len(cell) - 3:
                return False
            whole.append(cell[: error.start])
        else:
            whole.append(cell)
    return encodings.is_plausible(b"\n".join(whole), codec)


def read_text_sample(table: DbfTable) -> list[bytes]:
    """Return text cells that are not ASCII, and such column names."""
    block = table.read_records(0, min(table.count, _SAMPLE_ROWS))
    cells = [field.name for field in table.fields if not field.name.isascii()]
    for field in table.fields:
        if field.kind != "C":
            continue
        part = np.ascontiguousarray(block[:, field.offset : field.offset + field.width])
        odd = part[(part > 127).any(axis=1)]
        cells += [bytes(row).rstrip(b" \x00") for row in odd]
    return cells


def decode_field_name(raw: bytes, codec: str) -> str:
    try:
        return raw.decode(codec)
    except UnicodeDecodeError as error:
        return raw[: error.start].decode(codec)


def format_numbers(texts: pa.StringArray) -> pa.StringArray:
    """Drop zeros that only fill up the decimals; read E-notation; show where digits are lost.

    Stars are no number: GDAL and others fill a field with them where there is none.
    """
    stars = pc.match_substring_regex(texts, r"^\*+$")
    if pc.any(stars).as_py():
        texts = pc.if_else(stars, pa.scalar(None, pa.string()), texts)
    texts = pc.replace_substring_regex(texts, r"^([+-]?[0-9]+)\.0*$", r"\1")
    texts = pc.replace_substring_regex(texts, r"^([+-]?[0-9]*\.[0-9]*[1-9])0+$", r"\1")
    if not pc.any(pc.match_substring_regex(texts, "[eE]|[0-9]{16}")).as_py():
        return texts
    return build_text_column([_format_long_number(text) for text in texts.to_pylist()])


def _format_long_number(text: str | None) -> str | None:
    if text is None or not _LONG.search(text):
        return text
    try:
        return format_integer(int(text)) if _WHOLE.fullmatch(text) else _format_real(text)
    except ValueError:
        return text


def _format_real(text: str) -> str | None:
    return format_double(float(text)) if "e" in text.lower() else text


def _damaged_table(why: str) -> Invalid:
    return Invalid(f"The attribute table (.dbf) cannot be read: {why}.", code="damaged-file")


def iter_ranges(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield beginnings and lengths that cover a count."""
    for first in range(0, count, size):
        yield first, min(size, count - first)
