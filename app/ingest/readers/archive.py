"""Archives: what is in a zip, and its members on disk, within limits.

Promises that nothing is written outside the folder given, that no more is unpacked than the limit
says whatever the archive claims, and that names are readable (GBK names of old Chinese programs).
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

LARGEST: Final = 4 << 30
"""Bytes that may be unpacked from one archive."""
MOST_MEMBERS: Final = 10_000
_BLOCK: Final = 1 << 20
_LINK: Final = 0o120000
_TYPE: Final = 0o170000


@dataclass(frozen=True)
class Member:
    """A file in an archive, under a readable name."""

    name: str
    size: int
    info: zipfile.ZipInfo

    @property
    def suffix(self) -> str:
        """The ending of the name, lower case, without the dot."""
        return PurePosixPath(self.name).suffix.lower().lstrip(".")

    @property
    def base(self) -> str:
        """The name without the folders it is in."""
        return PurePosixPath(self.name).name

    @property
    def folder(self) -> str:
        """The folders it is in."""
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
    if len(infos) > MOST_MEMBERS:
        raise Invalid(
            f"The archive has {len(infos):,} files; at most {MOST_MEMBERS:,} are taken.",
            code="unpacks-too-large",
        )
    found = [Member(_member_path(info), info.file_size, info) for info in files]
    for member in found:
        check_member(member)
    check_unpacked_size(sum(member.size for member in found), LARGEST)
    return [one for one in found if not one.name.endswith("/") and not is_system_file(one.name)]


def check_unpacked_size(size: int, limit: int) -> None:
    """Refuse a file that unpacks to more than a limit.

    Raises
    ------
    Invalid
        ``unpacks-too-large``.
    """
    if size > limit:
        raise Invalid(
            f"The file unpacks to more than {limit >> 20:,} MB; split it into smaller ones.",
            code="unpacks-too-large",
        )


def unpack_member(path: Path, member: Member, target: Path, limit: int = LARGEST) -> Path:
    """Write one member to a path of ours."""
    with _catch_archive_errors(), zipfile.ZipFile(path) as archive, archive.open(member.info) as packed:
        _copy_within_limit(packed.read, target, limit)
    return target


def unpack_gzip(path: Path, target: Path, limit: int = LARGEST) -> Path:
    """Write what a gzip file holds to a path of ours."""
    with _catch_archive_errors(), gzip.open(path) as packed:
        _copy_within_limit(packed.read, target, limit)
    return target


def read_member_head(path: Path, member: Member, size: int) -> bytes:
    """Return the first bytes of one member."""
    with _catch_archive_errors(), zipfile.ZipFile(path) as archive, archive.open(member.info) as packed:
        return packed.read(size)


@contextmanager
def open_member(path: Path, member: Member) -> Iterator[IO[bytes]]:
    """Open one member to be read as a stream; no more comes out than `list_members` allowed."""
    with _catch_archive_errors(), zipfile.ZipFile(path) as archive, archive.open(member.info) as packed:
        yield packed


def _copy_within_limit(read: Callable[[int], bytes], target: Path, limit: int) -> None:
    # The sizes an archive states may be lies: what comes out is counted.
    written = 0
    with target.open("wb") as out:
        while block := read(_BLOCK):
            written += len(block)
            check_unpacked_size(written, limit)
            if shutil.disk_usage(target.parent).free < _BLOCK * 64:
                raise Invalid("There is no room to unpack the file.", code="unpacks-too-large")
            out.write(block)


def check_member(member: Member) -> None:
    if member.info.flag_bits & 0x1:
        raise Invalid("The archive is protected with a password.", code="encrypted-file")
    plain = member.name
    unsafe = plain.startswith("/") or ".." in plain.split("/") or plain[1:2] == ":"
    if unsafe or member.info.external_attr >> 16 & _TYPE == _LINK:
        raise Invalid(
            f"The archive holds a path or link that leads out of it: {member.name[:80]!r}.",
            code="unsafe-file",
        )


def _member_path(info: zipfile.ZipInfo) -> str:
    """Return the path of a member, with slashes: some programs of Windows write backslashes."""
    return decode_name(info).replace("\\", "/")


def decode_name(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & 0x800 or info.filename.isascii():
        return info.filename
    # No flag of UTF-8: zipfile read the bytes as code page 437.
    raw = info.filename.encode("cp437", "replace")
    for codec in ("utf-8", "gb18030"):
        try:
            return raw.decode(codec)
        except UnicodeDecodeError:
            continue
    return info.filename


def is_system_file(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or parts[-1].startswith("._") or parts[-1] in (".DS_Store", "Thumbs.db", "desktop.ini")


@contextmanager
def _catch_archive_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # a broken disk is not a broken archive
            raise
        raise _damaged_archive(error) from None
    except (
        zipfile.BadZipFile, zlib.error, EOFError, ValueError, IndexError, OverflowError, RuntimeError,
        struct.error,
    ) as error:  # fmt: skip
        raise _damaged_archive(error) from None


def _damaged_archive(error: Exception) -> Invalid:
    return Invalid(f"The archive cannot be read: {error}.", code="damaged-file")
