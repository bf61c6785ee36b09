"""What differs between two states of a jurisdiction: statuses, crossings, rings, devices.

Pure. Only what changes is listed; the numbers of both states stand beside it.
"""

from typing import Any, Final

import numpy as np

from app.analysis.cordon import report as cordon_report
from app.analysis.cordon.cordons import DIRECTIONS
from app.analysis.coverage import report as coverage_report
from app.analysis.crossings import report as crossing_report
from app.analysis.crossings import road_network
from app.analysis.engine_input import Computed
from app.analysis.metadata import about
from app.geo.coverage import assessment as engine
from app.models.vocabulary import LEVELS

_GAPS: Final = ("partial", "uncovered")
_WORDS: Final = {engine.INBOUND: "inbound", engine.OUTBOUND: "outbound"}


def difference(before: Computed, after: Computed, **told: Any) -> dict[str, Any]:
    """Return what changes from one state to another; revision and time are those of the first."""
    answer = about(
        before,
        **told,
        control_points=_points(before, after),
        crossings=_crossings(before, after),
        rings=_rings(before, after),
        devices={"before": coverage_report.devices(before), "after": coverage_report.devices(after)},
    )
    # What the second state cannot say is not said about the change either.
    answer["not_assessed"] = about(after)["not_assessed"]
    return answer


def _points(before: Computed, after: Computed) -> dict[str, Any]:
    was, now = _statuses(before), _statuses(after)
    changed = [
        {
            "code": code,
            **(_place(after, now[code][0]) if code in now else _place(before, was[code][0])),
            "before": was[code][1] if code in was else None,
            "after": now[code][1] if code in now else None,
        }
        for code in sorted(was.keys() | now.keys())
        if was.get(code, (0, None))[1] != now.get(code, (0, None))[1]
    ]
    return {
        "counts": {"before": _counts(before), "after": _counts(after)},
        "changed": changed,
        "opened": [one["code"] for one in changed if one["after"] in _GAPS and one["before"] not in _GAPS],
        "closed": [one["code"] for one in changed if one["before"] in _GAPS and one["after"] not in _GAPS],
    }


def _statuses(found: Computed) -> dict[str, tuple[int, str]]:
    """Return row and status of every control point by code."""
    return {
        code: (row, engine.STATUSES[status])
        for row, (code, status) in enumerate(zip(found.points.code, found.assessment.status.tolist(), strict=True))
    }


def _place(found: Computed, row: int) -> dict[str, Any]:
    table = found.loaded.points
    return {"category": table["category"][row], "zone": table["zone"][row] or None}


def _counts(found: Computed) -> dict[str, int]:
    return coverage_report.counts(found, np.arange(len(found.points)))


def _crossings(before: Computed, after: Computed) -> list[dict[str, Any]]:
    was, now = _standing(before), _standing(after)
    nothing: tuple[str | None, list[str]] = (None, [])
    return [
        {
            "id": name,
            "level": name.partition("-")[0],
            "before": was.get(name, nothing)[0],
            "after": now.get(name, nothing)[0],
            "missing_before": was.get(name, nothing)[1],
            "missing_after": now.get(name, nothing)[1],
        }
        for name in sorted(was.keys() | now.keys())
        if was.get(name) != now.get(name)
    ]


def _standing(found: Computed) -> dict[str, tuple[str | None, list[str]]]:
    """Return status and open directions of every crossing by its name."""
    net = road_network.of(found)
    if net is None:
        return {}
    return {
        net.name[level][row]: (
            crossing_report.STATUSES[status],
            [word for bit, word in _WORDS.items() if int(verdict.missing[row]) & bit],
        )
        for level, verdict in crossing_report.of(found).items()
        for row, status in enumerate(verdict.status.tolist())
    }


def _rings(before: Computed, after: Computed) -> list[dict[str, Any]]:
    told = []
    for level in reversed(LEVELS):
        for direction in DIRECTIONS:
            was = cordon_report.counts(before, level, direction)
            now = cordon_report.counts(after, level, direction)
            told.append(
                {
                    "level": level,
                    "direction": direction,
                    "changed": was != now,
                    "before": was,
                    "after": now,
                }
            )
    return told
