"""Quotation marks of delimited text: where records end, and marks that stand against the rules."""

import re
from collections.abc import Iterable, Iterator

import numpy as np


def record_end(block: bytes) -> int:
    """Return where the last whole record of a block ends."""
    end = block.rfind(b"\n")
    if end < 0 or b'"' not in block:
        return end + 1
    # Quotes may be in every cell: counting them one by one takes longer than looking at all bytes.
    quotes = int(np.count_nonzero(np.frombuffer(block, np.uint8, end) == ord('"')))
    while quotes % 2:
        before = block.rfind(b"\n", 0, end)
        if before < 0:
            return 0
        quotes -= block.count(b'"', before, end)
        end = before
    return end + 1


def stray(block: bytes, delimiter: str) -> bool:
    """Tell whether a quote opens or closes in the middle of a cell."""
    codes = np.frombuffer(block, np.uint8)
    places = np.flatnonzero(codes == ord('"'))
    opening, closing = places[0::2], places[1::2]
    # A doubled quote closes and opens at once.
    edges = np.zeros(256, bool)
    edges[[ord(delimiter), ord("\n"), ord("\r"), ord('"')]] = True
    begins = opening[opening > 0]
    ends = closing[closing < len(codes) - 1]
    closed = edges[codes[ends + 1]].all()
    edges[ord("=")] = True  # ="4108" is one cell to every reader
    return not (closed and edges[codes[begins - 1]].all())


def requoted(lines: Iterable[str], delimiter: str) -> Iterator[str]:
    """Double the quotes that a program has left alone inside quoted cells: ``,"a"b"c",``.

    Only where the cell ends in a quote and has no delimiter in it, so that it can mean nothing else.
    """
    sign = re.escape(delimiter)
    cell = re.compile(
        rf'(?:^|(?<={sign}))"(?!")([^"{sign}\r\n]*(?:"{{1,2}}[^"{sign}\r\n]+)+)"(?={sign}|[\r\n]|$)'
    )
    for line in lines:
        yield cell.sub(_doubled, line) if line.count('"') > 2 else line


def _doubled(cell: re.Match[str]) -> str:
    return '"' + re.sub('"{1,2}', '""', cell[1]) + '"'
