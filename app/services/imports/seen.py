"""Words that came before in a file of any length, in sixteen bytes each."""

import numpy as np

from app.geo.arrays import Ints


class Seen:
    """Words taken in so far, each with the row it came in first: two hashes of it, not the word."""

    def __init__(self) -> None:
        self._parts: list[tuple[Ints, Ints, Ints]] = []

    def repeats(self, words: list[str], rows: Ints) -> list[tuple[int, int]]:
        """Return (position, row of the first) of words that came before; take in the others."""
        first = np.fromiter(map(hash, words), np.int64, len(words))
        order = np.argsort(first, kind="stable")
        found = _within(words, rows, first, order)
        for part in self._parts:
            _before(words, first, part, found)
        kept = order[~np.isin(order, list(found))] if found else order
        second = np.fromiter((_other(words[at]) for at in kept.tolist()), np.int64, len(kept))
        self._parts.append((first[kept], second, rows[kept]))
        self._merge()
        return sorted(found.items())

    def _merge(self) -> None:
        """Keep few sorted parts: two of like size become one."""
        while len(self._parts) > 1 and len(self._parts[-2][0]) <= 2 * len(self._parts[-1][0]):
            joined = [np.concatenate(pair) for pair in zip(*self._parts[-2:], strict=True)]
            order = np.argsort(joined[0], kind="stable")
            self._parts[-2:] = [(joined[0][order], joined[1][order], joined[2][order])]


def _other(word: str) -> int:
    """Return a second hash, so that two words are taken for one only when both agree."""
    return hash(word + "\0")


def _within(words: list[str], rows: Ints, first: Ints, order: Ints) -> dict[int, int]:
    """Return the words that repeat one of the same batch."""
    same = np.flatnonzero(first[order][1:] == first[order][:-1])
    suspects = set(order[same].tolist()) | set(order[same + 1].tolist())
    known: dict[str, int] = {}
    found: dict[int, int] = {}
    for at in sorted(suspects):
        if words[at] in known:
            found[at] = known[words[at]]
        else:
            known[words[at]] = int(rows[at])
    return found


def _before(
    words: list[str], first: Ints, part: tuple[Ints, Ints, Ints], found: dict[int, int]
) -> None:
    """Add the words that repeat one of an earlier batch."""
    hashes, others, numbers = part
    if not len(hashes):
        return
    places = np.searchsorted(hashes, first)
    places[places == len(hashes)] = 0
    for at in np.flatnonzero(hashes[places] == first).tolist():
        if others[places[at]] == _other(words[at]):
            found[at] = int(numbers[places[at]])
