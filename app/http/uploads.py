"""Uploads: a file goes to disk while it arrives, and is counted and hashed, without being held in memory.

A body is the file itself, or multipart/form-data with the file in the part ``file`` and options in the others.
"""

import errno
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote

import anyio
from fastapi import Request
from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect

from app.errors import Invalid, Issue, MalformedBody, NoSpace, UnsupportedMediaType
from app.imports.preparation import Upload
from app.messages import Message

_BUFFER_BYTES: Final = 1 << 20
_MAX_FIELD_BYTES: Final = 1 << 20
_MAX_FIELDS: Final = 200
_MAX_NAME_LENGTH: Final = 200
MEDIA_TYPES: Final = ("multipart/form-data", "application/octet-stream")
"""Any other type, except another multipart, is the file itself: its format is detected from its content."""
_FULL_DISK: Final = (errno.ENOSPC, errno.EDQUOT)


class _UploadFile:
    """The file on disk: written one megabyte at a time, in a thread."""

    def __init__(self, path: Path) -> None:
        self.path, self.size = path, 0
        self._digest = hashlib.sha256()
        self._buffer = bytearray()
        self._file = path.open("xb")

    def add_bytes(self, data: bytes) -> None:
        self._buffer += data

    async def flush_buffer(self, *, min_bytes: int = _BUFFER_BYTES) -> None:
        if len(self._buffer) >= min_bytes:
            data, self._buffer = bytes(self._buffer), bytearray()
            await anyio.to_thread.run_sync(self._write_bytes, data)

    def _write_bytes(self, data: bytes) -> None:
        self.size += len(data)
        self._digest.update(data)
        self._file.write(data)
        self._file.flush()

    def finish_upload(self, name: str) -> Upload:
        self.close()
        return Upload(self.path, _clean_file_name(name) or "file", self.size, self._digest.hexdigest())

    def close(self) -> None:
        self._file.close()


@asynccontextmanager
async def receive_upload(
    request: Request, path: Path, name: str | None
) -> AsyncIterator[tuple[Upload, list[tuple[str, str]]]]:
    """Yield the file of a request, written to ``path``, and the options of its form; after an error it is deleted."""
    content_type, options = parse_options_header(request.headers.get("content-type", ""))
    is_form = content_type == b"multipart/form-data"
    if content_type.startswith(b"multipart/") and not is_form:
        raise UnsupportedMediaType(content_type.decode("latin-1"), MEDIA_TYPES)
    try:
        file = _UploadFile(path)
        try:
            form = _UploadForm(file, options.get(b"boundary", b"")) if is_form else None
            await _read_body(request, file, form)
            file_name = form.file_name if form else _parse_disposition(request)
            upload = file.finish_upload(name or file_name or "")
            if form:
                form.check_file_count()
        finally:
            file.close()
        yield upload, form.fields if form else []
    except OSError as error:
        _delete_file(path)
        if error.errno in _FULL_DISK:
            raise NoSpace from error
        raise
    except BaseException:
        _delete_file(path)
        raise


def _delete_file(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _read_body(request: Request, file: _UploadFile, form: "_UploadForm | None") -> None:
    try:
        async for chunk in request.stream():
            if form is None:
                file.add_bytes(chunk)
            else:
                form.parse_chunk(chunk)
            await file.flush_buffer()
    except ClientDisconnect as error:
        raise MalformedBody(Message("The body is not complete: the client closed the connection.")) from error
    if form is not None:
        form.check_end()
    await file.flush_buffer(min_bytes=1)


class _UploadForm:
    """A multipart body while it arrives: the part ``file`` goes to disk, the others are fields."""

    def __init__(self, file: _UploadFile, boundary: bytes) -> None:
        if not boundary:
            raise MalformedBody(Message("The Content-Type of the multipart body has no boundary."))
        self.fields: list[tuple[str, str]] = []
        self.file_name, self._file_count = "", 0
        self._file = file
        self._part_name = self._header_name = self._header_value = b""
        self._headers: dict[bytes, bytes] = {}
        self._is_file = False
        self._text = bytearray()
        self._is_complete = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._on_part_begin,
                "on_header_field": self._on_header_name,
                "on_header_value": self._on_header_value,
                "on_header_end": self._on_header_end,
                "on_headers_finished": self._on_headers_finished,
                "on_part_data": self._on_part_data,
                "on_part_end": self._on_part_end,
                "on_end": self._on_end,
            },
        )

    def parse_chunk(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise MalformedBody(Message("The multipart body is not valid: {reason}.", reason=str(error))) from error

    def check_end(self) -> None:
        if not self._is_complete:
            raise MalformedBody(Message("The multipart body is not complete: its last boundary is missing."))

    def check_file_count(self) -> None:
        if self._file_count != 1:
            message = Message(
                "The form needs one part named 'file' with a file; it has {count}.", count=self._file_count
            )
            raise Invalid(message, issues=(Issue("/file", "file-missing", message),))

    def _on_part_begin(self) -> None:
        self._headers, self._header_name, self._header_value = {}, b"", b""

    def _on_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._header_name.lower()] = self._header_value
        self._header_name, self._header_value = b"", b""

    def _on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._part_name = options.get(b"name", b"")
        self._is_file = self._part_name == b"file"
        if self._is_file:
            self._file_count += 1
            self.file_name = _decode_file_name(options.get(b"filename", b""))
        self._text = bytearray()

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            if self._file_count == 1:
                self._file.add_bytes(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > _MAX_FIELD_BYTES or len(self.fields) > _MAX_FIELDS:
            message = Message(
                "The form is too large. An import takes at most {count} fields of {size:,} bytes.",
                count=_MAX_FIELDS,
                size=_MAX_FIELD_BYTES,
            )
            raise MalformedBody(message)

    def _on_part_end(self) -> None:
        if not self._is_file:
            self.fields.append((_decode_field(self._part_name), _decode_field(bytes(self._text))))

    def _on_end(self) -> None:
        self._is_complete = True


def _decode_field(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise MalformedBody(Message("A field of the multipart body is not valid UTF-8.")) from error


def _decode_file_name(data: bytes) -> str:
    """Return a file name; programs of a Chinese Windows send it in GBK."""
    for codec in ("utf-8", "gb18030"):
        with suppress(UnicodeDecodeError):
            return data.decode(codec)
    return data.decode("utf-8", "replace")


def _clean_file_name(name: str) -> str:
    """Return a file name without control characters, shortened in the middle so that its ending stays."""
    name = "".join(letter for letter in name if letter.isprintable()).strip()
    return name if len(name) <= _MAX_NAME_LENGTH else f"{name[: _MAX_NAME_LENGTH - 20]}…{name[-19:]}"


def _parse_disposition(request: Request) -> str | None:
    _, options = parse_options_header(request.headers.get("content-disposition", ""))
    name: Any = options.get(b"filename")
    return unquote(_decode_file_name(name)) if name else None
