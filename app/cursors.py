"""Cursors of pages: the opaque form of the value that a page starts after."""

import base64
import binascii
from typing import Final

from app.errors import InvalidQuery
from app.messages import Message

INVALID_CURSOR: Final = Message("Invalid cursor. Send the cursor of the previous page without changes.")


def encode_cursor(text: str) -> str:
    """Return the cursor of a text.

    >>> encode_cursor("camera-1")
    'Y2FtZXJhLTE'
    """
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode_cursor(cursor: str, *, parameter: str = "cursor") -> str:
    """Return the text of a cursor.

    Raises
    ------
    InvalidQuery
        when ``encode_cursor`` cannot have made it.

    >>> decode_cursor("Y2FtZXJhLTE")
    'camera-1'
    """
    try:
        padded = cursor + "=" * (-len(cursor) % 4)
        text = base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeError, ValueError) as error:
        raise InvalidQuery(INVALID_CURSOR, parameter=parameter) from error
    if not text or not text.isprintable():
        raise InvalidQuery(INVALID_CURSOR, parameter=parameter)
    return text
