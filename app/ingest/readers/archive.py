"""Archives: list the files of a zip, and unpack them within limits.

Nothing is written outside the given folder, and no more is unpacked than the limit allows, whatever sizes the archive
states. File names are decoded also from GBK, as old Chinese programs write them.
"""

import errno
import gzip
import shutil
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Final

from app.errors import Invalid
from app.messages import Message

MAX_BYTES: Final = 4 << 30
"""Bytes that may be unpacked from one archive."""
MAX_MEMBERS: Final = 10_000
_FREE_BYTES: Final = 64 << 20
_BLOCK: Final = 1 << 20
_LINK: Final = 0o120000
_FILE_TYPE: Final = 0o170000
_SYSTEM_FILES: Final = (".DS_Store", "Thumbs.db", "desktop.ini")
_ARCHIVE_ERRORS: Final = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    IndexError,
    OverflowError,
    RuntimeError,
    struct.error,
)


@dataclass(frozen=True)
class Member:
    """A file in an archive, under a decoded name."""

    name: str
    size: int
    info: zipfile.ZipInfo

    @property
    def suffix(self) -> str:
        """The ending of the name, lower case, without the dot."""
        return PurePosixPath(self.name).suffix.lower().lstrip(".")

    @property
    def base(self) -> str:
        """The name without its folders."""
        return PurePosixPath(self.name).name

    @property
    def folder(self) -> str:
        """The folders of the file."""
        return str(PurePosixPath(self.name).parent)

    @property
    def stem(self) -> str:
        """The path without the ending, lower case."""
        return str(PurePosixPath(self.name).with_suffix("")).lower()


def list_members(path: Path) -> list[Member]:
    """Return the files of a zip, without folders and what operating systems add.

    Raises
    ------
    Invalid
        ``damaged-file``, ``encrypted-file``, ``unsafe-file`` (a path out of the archive, a link),
        ``unpacks-too-large``.
    """
    with _catch_archive_errors(), zipfile.ZipFile(path) as archive:
        infos = archive.infolist()
        files = [info for info in infos if not info.is_dir()]
    if len(infos) > MAX_MEMBERS:
        message = Message(
            "The archive has {count:,} files; at most {most:,} are possible. Send fewer files.",
            count=len(infos),
            most=MAX_MEMBERS,
        )
        raise Invalid(message, code="unpacks-too-large")
    members = [Member(_member_path(info), info.file_size, info) for info in files]
    for member in members:
        check_member(member)
    check_unpacked_size(sum(member.size for member in members), MAX_BYTES)
    return [member for member in members if not member.name.endswith("/") and not is_system_file(member.name)]


def check_unpacked_size(size: int, limit: int) -> None:
    """Raise Invalid (``unpacks-too-large``) if a file unpacks to more than a limit."""
    if size > limit:
        message = Message("The file unpacks to more than {most:,} MB. Split it into smaller files.", most=limit >> 20)
        raise Invalid(message, code="unpacks-too-large")


def disk_full() -> Invalid:
    """Return the error of a file that does not fit on the disk when it is unpacked."""
    message = Message("The server has not enough disk space to unpack the file. Send a smaller file.")
    return Invalid(message, code="unpacks-too-large")


def unpack_member(path: Path, member: Member, target: Path, limit: int = MAX_BYTES) -> Path:
    """Unpack one file to a path."""
    with open_member(path, member) as packed:
        _copy_within_limit(packed.read, target, limit)
    return target


def unpack_gzip(path: Path, target: Path, limit: int = MAX_BYTES) -> Path:
    """Unpack a gzip file to a path."""
    with _catch_archive_errors(), gzip.open(path) as packed:
        _copy_within_limit(packed.read, target, limit)
    return target


def read_member_head(path: Path, member: Member, size: int) -> bytes:
    """Return the first bytes of one file."""
    with open_member(path, member) as packed:
        return packed.read(size)


@contextmanager
def open_member(path: Path, member: Member) -> Iterator[IO[bytes]]:
    """Open one file as a stream; it gives no more bytes than `list_members` allowed."""
    with _catch_archive_errors(), zipfile.ZipFile(path) as archive, archive.open(member.info) as packed:
        yield packed


def _copy_within_limit(read: Callable[[int], bytes], target: Path, limit: int) -> None:
    # The sizes that an archive states may be wrong: the unpacked bytes are counted.
    written = 0
    with target.open("wb") as out:
        while block := read(_BLOCK):
            written += len(block)
            check_unpacked_size(written, limit)
            if shutil.disk_usage(target.parent).free < _FREE_BYTES:
                raise disk_full()
            out.write(block)


def check_member(member: Member) -> None:
    """Raise Invalid if a file has a password, or leads out of the archive."""
    if member.info.flag_bits & 0x1:
        message = Message("The archive is protected with a password. Pack it without a password.")
        raise Invalid(message, code="encrypted-file")
    name = member.name
    leads_out = name.startswith("/") or ".." in name.split("/") or name[1:2] == ":"
    if leads_out or member.info.external_attr >> 16 & _FILE_TYPE == _LINK:
        message = Message(
            "The archive has a path or link that leads out of it: {name!r}. Pack the files themselves.", name=name[:80]
        )
        raise Invalid(message, code="unsafe-file")


def _member_path(info: zipfile.ZipInfo) -> str:
    return decode_name(info).replace("\\", "/")  # some Windows programs write backslashes


def decode_name(info: zipfile.ZipInfo) -> str:
    """Return the name of a file that may be in UTF-8 or GBK without saying so."""
    if info.flag_bits & 0x800 or info.filename.isascii():
        return info.filename
    # Without the UTF-8 flag zipfile decodes as code page 437.
    raw = info.filename.encode("cp437", "replace")
    for codec in ("utf-8", "gb18030"):
        try:
            return raw.decode(codec)
        except UnicodeDecodeError:
            continue
    return info.filename


def is_system_file(name: str) -> bool:
    """Return whether an operating system added a file."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or parts[-1].startswith("._") or parts[-1] in _SYSTEM_FILES


@contextmanager
def _catch_archive_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # a broken disk is not a broken archive
            raise
        raise _damaged_archive(error) from None
    except _ARCHIVE_ERRORS as error:
        raise _damaged_archive(error) from None


def _damaged_archive(error: Exception) -> Invalid:
    message = Message("The archive cannot be read: {reason}. Pack it again.", reason=str(error))
    return Invalid(message, code="damaged-file")
