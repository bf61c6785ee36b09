"""The attribute table of a Shapefile (dBase III and its successors), read as text.

Numbers keep the digits of the file: a 20-digit code in a numeric field is read exactly, where other readers make a
double of it. The encoding that the side files state is checked against the bytes.
"""

import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
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
from app.messages import Message

# Language driver numbers of the dBase header that occur with Chinese data (Esri, dBase manuals).
_DRIVERS: Final = {
    0x4D: "gb18030",
    0x7A: "gb18030",
    0x4F: "big5hkscs",
    0x78: "big5hkscs",
    0x03: "cp1252",
}
_WESTERN: Final = ("cp1252", "iso8859-1", "latin-1")
"""Encodings that programs state without checking; any bytes decode as them."""
_MULTIBYTE: Final = ("utf-8", "gb2312")
"""Encodings that text in a single-byte encoding hardly ever fits."""
_MAX_NAME_BYTES: Final = 10
_SAMPLE_ROWS: Final = 5_000
_NUMERIC_KINDS: Final = "NF"
_LONG_NUMBER: Final = re.compile(r"[eE]|\d{16}")
_INTEGER: Final = re.compile(r"[+-]?\d+")
_CUT_TEXT: Final = Message("A text of the attribute table is cut in the middle of a character.")


@dataclass(frozen=True)
class DbfField:
    """One field of the records."""

    name: bytes
    kind: str
    offset: int
    width: int


@dataclass(frozen=True, eq=False)
class DbfTable:
    """An open attribute table."""

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
        """Return the columns of records from `first` (0-based) on, which records are deleted, and issues."""
        block = self.read_records(first, count)
        issues: list[FormatIssue] = []
        columns = {
            name: self._parse_column(field, block, first, issues)
            for name, field in zip(self.names, self.fields, strict=True)
        }
        return columns, block[:, 0] == ord("*"), issues

    def read_records(self, first: int, count: int) -> NDArray[np.uint8]:
        """Return the bytes of records, one row each."""
        with self.path.open("rb") as file:
            file.seek(self.first_offset + first * self.record_size)
            raw = file.read(min(count, self.count - first) * self.record_size)
        whole = len(raw) // self.record_size
        return np.frombuffer(raw, np.uint8, whole * self.record_size).reshape(whole, self.record_size)

    def _parse_column(
        self, field: DbfField, block: NDArray[np.uint8], first: int, issues: list[FormatIssue]
    ) -> pa.StringArray:
        raw = np.ascontiguousarray(block[:, field.offset : field.offset + field.width])
        values = raw.view(f"S{field.width}").ravel()
        match field.kind:
            case "I":
                return pa.array(raw.view("<i4").ravel()).cast(pa.string())
            case "B" | "O" if field.width == 8:
                return build_text_column([format_double(value) for value in raw.view("<f8").ravel().tolist()])
        if (raw < 128).all():
            texts = clean_column(pc.ascii_rtrim(pa.array(values, pa.binary()).cast(pa.string()), " \x00"))
        else:
            texts = build_text_column(
                [self._decode_text(value, first + index, issues) for index, value in enumerate(values)]
            )
        if field.kind in _NUMERIC_KINDS:
            return format_numbers(texts)
        if field.kind == "D":
            return format_dates(texts)
        if field.kind == "L":
            is_true = pc.is_in(texts, pa.array(list("TtYy")))
            is_false = pc.is_in(texts, pa.array(list("FfNn")))
            return pc.if_else(is_true, "true", pc.if_else(is_false, "false", pa.scalar(None, pa.string())))
        return texts

    def _decode_text(self, value: bytes, record: int, issues: list[FormatIssue]) -> str:
        raw = value.rstrip(b" \x00")
        try:
            return raw.decode(self.codec)
        except UnicodeDecodeError as error:
            # Fields have a fixed number of bytes: programs cut the last character.
            if error.start < len(raw) - 3:
                offset = self.first_offset + record * self.record_size
                raise encodings.build_decoding_error(
                    self.codec, offset, record + 1, error.object[error.start]
                ) from None
            issues.append(FormatIssue(record + 1, "cut-text", _CUT_TEXT))
            return raw[: error.start].decode(self.codec)


def open_dbf(path: Path, claimed: str | None, stated: str | None) -> DbfTable:
    """Open an attribute table.

    Parameters
    ----------
    path : Path
        The .dbf file.
    claimed : str or None
        Encoding in the .cpg file.
    stated : str or None
        Encoding that the sender states.

    Raises
    ------
    Invalid
        ``damaged-file``, ``unknown-encoding``.
    """
    with path.open("rb") as file:
        head = file.read(32)
        if len(head) < 32:
            raise _damaged_table(Message("its header is cut off"))
        count, first_offset, record_size = struct.unpack("<IHH", head[4:12])
        entries = file.read(max(0, first_offset - 32))
    if record_size < 1 or first_offset < 33:
        raise _damaged_table(Message("its header is not valid"))
    fields, skipped = parse_fields(entries, record_size)
    present = max(0, path.stat().st_size - first_offset) // record_size
    notes: list[str] = []
    if present < count:
        notes.append(
            Message(
                "The attribute table is cut off: it has {present:,} of {count:,} records.", present=present, count=count
            )
        )
    if skipped:
        notes.append(Message("Columns of a type that is not read: {columns}.", columns=", ".join(skipped)))
    table = DbfTable(path, fields, (), "ascii", min(count, present), first_offset, record_size, ())
    codec, codec_notes = detect_dbf_encoding(table, head[29], claimed, stated)
    names = build_headers([decode_field_name(field.name, codec) for field in fields])
    cut_names = [
        name
        for name, field in zip(names, fields, strict=True)
        if len(field.name) >= _MAX_NAME_BYTES - 1 and not field.name.isascii()
    ]
    if cut_names:
        notes.append(
            Message(
                "Column names of a Shapefile have at most {most} bytes; these may be cut: {columns}. "
                "Map those that are not recognised.",
                most=_MAX_NAME_BYTES,
                columns=", ".join(cut_names),
            )
        )
    return replace(table, names=names, codec=codec, notes=(*notes, *codec_notes))


def parse_fields(entries: bytes, record_size: int) -> tuple[tuple[DbfField, ...], list[str]]:
    """Return the fields of the header, and the names of fields of a type that is not read."""
    fields: list[DbfField] = []
    skipped = []
    offset = 1
    for begin in range(0, len(entries) - 31, 32):
        entry = entries[begin : begin + 32]
        if entry[0] == 0x0D:
            break
        name, kind = entry[:11].split(b"\x00")[0], chr(entry[11])
        # Clipper stores the high byte of long text fields in the byte for decimals.
        width = entry[16] + (entry[17] << 8 if kind == "C" else 0)
        if width == 0 or offset + width > record_size:
            raise _damaged_table(Message("its columns are wider than its records"))
        if kind in "CNFDL" or (kind == "I" and width == 4) or (kind in "BO" and width == 8):
            fields.append(DbfField(name, kind, offset, width))
        else:
            skipped.append(name.decode("latin-1"))
        offset += width
    return tuple(fields), skipped


def detect_dbf_encoding(
    table: DbfTable, driver: int, claimed: str | None, stated: str | None
) -> tuple[str, tuple[Message, ...]]:
    """Return the encoding: stated, else the first claim that fits the bytes, else a guess; and notes."""
    if stated:
        return encodings.parse_codec_name(stated), ()
    sample = read_text_sample(table)
    claims = []
    if claimed:
        with suppress(Invalid):  # a .cpg file may contain anything
            claims.append(encodings.parse_codec_name(claimed))
    if driver in _DRIVERS:
        claims.append(_DRIVERS[driver])
    if not sample:
        return (claims or ["utf-8"])[0], ()
    for codec in claims:
        is_doubtful = codec in _WESTERN and any(is_plausible_encoding(sample, multibyte) for multibyte in _MULTIBYTE)
        if is_plausible_encoding(sample, codec) and not is_doubtful:
            return codec, ()
    likely = (codec for codec in ("utf-8", "gb18030", "big5hkscs") if is_plausible_encoding(sample, codec))
    codec = next(likely, None) or encodings.guess_encoding(b"\n".join(sample))
    if claims:
        note = Message(
            "The Shapefile states the encoding {stated}; its text is read as {encoding}.",
            stated=claims[0],
            encoding=codec,
        )
        return codec, (note,)
    return codec, (Message("The Shapefile states no encoding; its text is read as {encoding}.", encoding=codec),)


def is_plausible_encoding(cells: list[bytes], codec: str) -> bool:
    """Return whether cells decode, except for characters that are cut at their ends."""
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
    """Return text cells and column names that are not ASCII."""
    block = table.read_records(0, min(table.count, _SAMPLE_ROWS))
    cells = [field.name for field in table.fields if not field.name.isascii()]
    for field in table.fields:
        if field.kind != "C":
            continue
        raw = np.ascontiguousarray(block[:, field.offset : field.offset + field.width])
        cells += [bytes(row).rstrip(b" \x00") for row in raw[(raw > 127).any(axis=1)]]
    return cells


def decode_field_name(raw: bytes, codec: str) -> str:
    """Return the name of a field without a character that is cut at its end."""
    try:
        return raw.decode(codec)
    except UnicodeDecodeError as error:
        return raw[: error.start].decode(codec)


def format_dates(texts: pa.StringArray) -> pa.StringArray:
    """Return dates such as 20240305 in ISO form; zeros are blank."""
    dates = pc.extract_regex(texts, r"^(?P<y>[0-9]{4})(?P<m>[0-9]{2})(?P<d>[0-9]{2})$")
    dashed = pc.binary_join_element_wise(*dates.flatten(), "-")
    is_zero = pc.match_substring_regex(texts, "^0*$")
    return pc.if_else(is_zero, pa.scalar(None, pa.string()), pc.coalesce(dashed, texts))


def format_numbers(texts: pa.StringArray) -> pa.StringArray:
    """Return numbers without filling zeros and exponents; lost digits show.

    Stars are blank: GDAL and other programs fill a field with them if it has no value.
    """
    is_stars = pc.match_substring_regex(texts, r"^\*+$")
    if pc.any(is_stars).as_py():
        texts = pc.if_else(is_stars, pa.scalar(None, pa.string()), texts)
    texts = pc.replace_substring_regex(texts, r"^([+-]?[0-9]+)\.0*$", r"\1")
    texts = pc.replace_substring_regex(texts, r"^([+-]?[0-9]*\.[0-9]*[1-9])0+$", r"\1")
    if not pc.any(pc.match_substring_regex(texts, "[eE]|[0-9]{16}")).as_py():
        return texts
    return build_text_column([_format_long_number(text) for text in texts.to_pylist()])


def _format_long_number(text: str | None) -> str | None:
    if text is None or not _LONG_NUMBER.search(text):
        return text
    try:
        if _INTEGER.fullmatch(text):
            return format_integer(int(text))
        return format_double(float(text)) if "e" in text.lower() else text
    except ValueError:
        return text


def _damaged_table(reason: Message) -> Invalid:
    message = Message("The attribute table (.dbf) cannot be read: {reason}. Export the layer again.", reason=reason)
    return Invalid(message, code="damaged-file")


def iter_ranges(count: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield first elements and lengths that cover a count."""
    for first in range(0, count, size):
        yield first, min(size, count - first)
