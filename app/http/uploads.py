"""A file as it comes in over HTTP: straight to disk while it arrives, counted and hashed, in no memory.

A body is the file itself, or multipart/form-data with the file in the part ``file`` and options in
the others.
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
from app.imports.preparation import Arrived

_BUFFER: Final = 1 << 20
_LONGEST_FIELD: Final = 1 << 20
_MOST_FIELDS: Final = 200
_LONGEST_NAME: Final = 200
TYPES: Final = ("multipart/form-data", "application/octet-stream")
"""Any other type but multipart is taken as the file itself: it is looked at, not believed."""
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)


class _Sink:
    """The file being written: a megabyte at a time, in a thread."""

    def __init__(self, path: Path) -> None:
        self.path, self.size = path, 0
        self._digest = hashlib.sha256()
        self._waiting = bytearray()
        self._file = path.open("xb")

    def take(self, data: bytes) -> None:
        self._waiting += data

    async def drain(self, *, least: int = _BUFFER) -> None:
        if len(self._waiting) >= least:
            ready, self._waiting = bytes(self._waiting), bytearray()
            await anyio.to_thread.run_sync(self._write, ready)

    def _write(self, data: bytes) -> None:
        self.size += len(data)
        self._digest.update(data)
        self._file.write(data)
        self._file.flush()

    def arrived(self, name: str) -> Arrived:
        self.close()
        return Arrived(self.path, _plain(name) or "file", self.size, self._digest.hexdigest())

    def close(self) -> None:
        self._file.close()


@asynccontextmanager
async def taken_in(
    request: Request, path: Path, name: str | None
) -> AsyncIterator[tuple[Arrived, list[tuple[str, str]]]]:
    """Give the file of a request, on disk, and the options of its form; it stays after a good end."""
    content_type, more = parse_options_header(request.headers.get("content-type", ""))
    if content_type.startswith(b"multipart/") and content_type != b"multipart/form-data":
        raise UnsupportedMediaType(content_type.decode("latin-1"), TYPES)
    try:
        sink = _Sink(path)
        try:
            if content_type == b"multipart/form-data":
                form = _Form(sink, more.get(b"boundary", b""))
                await _read(request, sink, form)
                file, fields = sink.arrived(name or form.file_name), form.fields
                form.check()
            else:
                await _read(request, sink, None)
                file, fields = sink.arrived(name or _disposition(request) or "file"), []
        finally:
            sink.close()
        yield file, fields
    except OSError as error:
        _drop(path)
        if error.errno in _FULL:
            raise NoSpace from error
        raise
    except BaseException:
        _drop(path)
        raise


def _drop(path: Path) -> None:
    path.unlink(missing_ok=True)


async def _read(request: Request, sink: _Sink, form: "_Form | None") -> None:
    try:
        async for chunk in request.stream():
            if form is None:
                sink.take(chunk)
            else:
                form.feed(chunk)
            await sink.drain()
    except ClientDisconnect as error:
        raise MalformedBody("The body ended before it was complete.") from error
    if form is not None:
        form.end()
    await sink.drain(least=1)


class _Form:
    """A multipart body on its way: the part ``file`` goes to the sink, the others are kept."""

    def __init__(self, sink: _Sink, boundary: bytes) -> None:
        if not boundary:
            raise MalformedBody("The multipart body does not say its boundary.")
        self.fields: list[tuple[str, str]] = []
        self.file_name, self.files = "", 0
        self._sink = sink
        self._name = self._header = self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._to_sink = False
        self._text = bytearray()
        self._whole = False
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._field,
                "on_header_value": self._told,
                "on_header_end": self._header_end,
                "on_headers_finished": self._headers_end,
                "on_part_data": self._data,
                "on_part_end": self._part_end,
                "on_end": self._end,
            },
        )

    def feed(self, chunk: bytes) -> None:
        try:
            self._parser.write(chunk)
        except MultipartParseError as error:
            raise MalformedBody(f"The multipart body is not valid: {error}.") from error

    def end(self) -> None:
        if not self._whole:
            raise MalformedBody("The multipart body ended before it was complete.")

    def check(self) -> None:
        if self.files != 1:
            message = f"one part named 'file' with a file is needed, there are {self.files}"
            raise Invalid(message.capitalize() + ".", issues=(Issue("/file", "file-missing", message),))

    def _begin(self) -> None:
        self._headers, self._header, self._value = {}, b"", b""

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _told(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _header_end(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header, self._value = b"", b""

    def _headers_end(self) -> None:
        _, told = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = told.get(b"name", b"")
        self._to_sink = self._name == b"file"
        if self._to_sink:
            self.files += 1
            self.file_name = _file_name(told.get(b"filename", b""))
        self._text = bytearray()

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._to_sink:
            if self.files == 1:
                self._sink.take(data[start:end])
            return
        self._text += data[start:end]
        if len(self._text) > _LONGEST_FIELD or len(self.fields) > _MOST_FIELDS:
            raise MalformedBody("The multipart body has more or longer fields than an import takes.")

    def _part_end(self) -> None:
        if not self._to_sink:
            self.fields.append((_text(self._name), _text(bytes(self._text))))

    def _end(self) -> None:
        self._whole = True


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise MalformedBody("The fields of the multipart body are not UTF-8.") from error


def _file_name(data: bytes) -> str:
    """Return a file name as it was meant: programs of a Chinese Windows send it in GBK."""
    for codec in ("utf-8", "gb18030"):
        with suppress(UnicodeDecodeError):
            return data.decode(codec)
    return data.decode("utf-8", "replace")


def _plain(name: str) -> str:
    """Return a file name that can be kept: without control characters, not too long, with its ending."""
    name = "".join(sign for sign in name if sign.isprintable()).strip()
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 20]}…{name[-19:]}"


def _disposition(request: Request) -> str | None:
    _, told = parse_options_header(request.headers.get("content-disposition", ""))
    name: Any = told.get(b"filename")
    return unquote(_file_name(name)) if name else None
