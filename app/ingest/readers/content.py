"""The beginning of a file and the names in its archive, read once for the content tests of all formats."""

import re
from functools import cached_property
from pathlib import Path
from typing import Final

from app.ingest.readers import archive
from app.ingest.readers import encoding as encodings
from app.ingest.readers.archive import Member
from app.ingest.readers.model import SourceFile
from app.messages import Message

_HEAD_BYTES: Final = 1 << 16
_ZIP: Final = (b"PK\x03\x04", b"PK\x05\x06")
OFFICE: Final = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
"""The container of old Office documents."""
SQLITE: Final = b"SQLite format 3\x00"
_PROLOGUE: Final = re.compile(
    r"\s*(?:<\?.*?\?>|<!--.*?-->|<!\[[^>]*>|<!doctype(?:[^>\[]|\[[^\]]*\])*>)",
    re.DOTALL | re.IGNORECASE,
)
DRAWING: Final = Message("a CAD drawing; save its points as a table with coordinates, or as a Shapefile")
_TEXT_PATTERNS: Final = (
    (re.compile(r"mime-version:", re.IGNORECASE), Message("a web archive (MHT); save it as XLSX")),
    (re.compile(r"(?:999\s*\n.*\n\s*)?0\s*\n\s*SECTION\s*\n"), DRAWING),
    (
        re.compile(r"!table\s*\n|version\s+\d+\s*\n\s*charset\s", re.IGNORECASE),
        Message("one file of a MapInfo table; pack .tab, .dat, .map and .id, or .mif and .mid, into one zip"),
    ),
    (
        re.compile(
            r"(?:--.*\n|/\*.*?\*/;?|\s+)*(?:insert\s+into|create\s+table|drop\s+table|set\s+names)\s",
            re.IGNORECASE | re.DOTALL,
        ),
        Message("an SQL dump; export the table as CSV"),
    ),
    (
        re.compile(r"HTTP/\d|(?:GET|POST|PUT)\s\S{1,2000}\sHTTP/\d"),
        Message("a recorded HTTP message; save its body alone"),
    ),
)
_ROOT: Final = re.compile(r"\s*<([A-Za-z][\w:.-]*)")


class FileContent:
    """What the content tests look at.

    Each attribute is computed when a test first needs it. Raises ``Invalid`` if an archive cannot be read.
    """

    def __init__(self, file: SourceFile) -> None:
        self.file = file
        self.head = read_head(file.path)

    @cached_property
    def is_zip(self) -> bool:
        """Whether the file is a zip archive."""
        return self.head.startswith(_ZIP)

    @cached_property
    def members(self) -> list[Member]:
        """Files of the archive; none if the file is not an archive."""
        return archive.list_members(self.file.path) if self.is_zip else []

    @cached_property
    def member_names(self) -> frozenset[str]:
        """Paths of the files of the archive."""
        return frozenset(member.name for member in self.members)

    @cached_property
    def member_suffixes(self) -> frozenset[str]:
        """Endings of the files of the archive, lower case, without the dot."""
        return frozenset(member.suffix for member in self.members)

    @cached_property
    def text(self) -> str:
        """The head as text, "" if it is binary."""
        head = self.head.rstrip(b"\x00")  # programs that fail leave unwritten blocks at the end
        encoding = encodings.detect_roughly(head)
        if self.head.startswith((*_ZIP, OFFICE, SQLITE)) or is_binary(head):
            return ""
        return head[encoding.mark :].decode(encoding.codec, "replace")

    @cached_property
    def start(self) -> str:
        """The text without blanks before it."""
        return self.text.lstrip("\ufeff \t\r\n\x1e")

    @cached_property
    def is_markup(self) -> bool:
        """Whether the text is XML or HTML."""
        return self.start.startswith("<")

    @cached_property
    def is_json(self) -> bool:
        """Whether the text may be JSON."""
        return self.start.startswith(("{", "["))

    @cached_property
    def other_text(self) -> Message | None:
        """What a text is that is not a table, None if it may be one."""
        start = self.start.replace("\r\n", "\n")
        return next((description for pattern, description in _TEXT_PATTERNS if pattern.match(start)), None)

    @cached_property
    def root_offset(self) -> int:
        """Where the root element begins in the text of `start`, after declarations and comments."""
        offset = 0
        while (prologue := _PROLOGUE.match(self.start, offset)) and prologue.end() > offset:
            offset = prologue.end()
        return offset

    @cached_property
    def root_name(self) -> str:
        """Name of the root element of markup, "?" if there is none."""
        root = _ROOT.match(self.start, self.root_offset)
        return root[1] if root else "?"


def read_head(path: Path) -> bytes:
    """Return the first 64 KB of a file."""
    with path.open("rb") as file:
        return file.read(_HEAD_BYTES)


def is_binary(head: bytes) -> bool:
    """Return whether bytes have more control characters than text has."""
    if encodings.detect_roughly(head).codec.startswith(("utf-16", "utf-32")):
        return False
    controls = sum(head.count(bytes((code,))) for code in (*range(9), *range(14, 27), 28, 29, 31))
    return controls > len(head) * 0.01
