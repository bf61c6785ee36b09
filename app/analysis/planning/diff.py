"""The diff of two analyses of a jurisdiction: statuses of control points, crossings, cordons and devices.

No I/O. Only what changes is listed; the counts of both analyses are given in full.
"""

from typing import Any, Final

import numpy as np
from pydantic import BaseModel, Field

from app.analysis.cordon.cordons import count_cordon
from app.analysis.coverage.report import CordonCounts, DeviceCounts, StatusCounts, count_devices, count_statuses
from app.analysis.crossings.crossing_guards import CROSSING_STATUSES, compute_crossing_statuses
from app.analysis.crossings.report import CrossingStatus
from app.analysis.crossings.road_network import DIRECTION_BITS, TRAVEL_DIRECTIONS, TravelDirection, compute_road_network
from app.analysis.metadata import ResultMetadata, build_result
from app.analysis.results import Analysis
from app.geo.coverage import assessment as engine
from app.models.vocabulary import LEVELS, Level

_GAP_STATUSES: Final = ("partial", "uncovered")


def build_diff(before: Analysis, after: Analysis, **members: Any) -> dict[str, Any]:
    """Return what changes between two analyses; the metadata is that of the first."""
    result = build_result(
        before,
        **members,
        control_points=_compare_points(before, after),
        crossings=_compare_crossings(before, after),
        rings=_compare_cordons(before, after),
        devices={"before": count_devices(before), "after": count_devices(after)},
    )
    # What the second analysis cannot assess cannot be compared.
    result["not_assessed"] = build_result(after)["not_assessed"]
    return result


def _compare_points(before: Analysis, after: Analysis) -> dict[str, Any]:
    old, new = list_points(before), list_points(after)
    changed = [
        {
            "code": code,
            **(new.get(code) or old[code])[1],
            "before": old[code][0] if code in old else None,
            "after": new[code][0] if code in new else None,
        }
        for code in sorted(old.keys() | new.keys())
        if code not in old or code not in new or old[code][0] != new[code][0]
    ]
    return {
        "counts": {
            "before": count_statuses(before, np.arange(len(before.points))),
            "after": count_statuses(after, np.arange(len(after.points))),
        },
        "changed": changed,
        "opened": [
            point["code"]
            for point in changed
            if point["after"] in _GAP_STATUSES and point["before"] not in _GAP_STATUSES
        ],
        "closed": [
            point["code"]
            for point in changed
            if point["before"] in _GAP_STATUSES and point["after"] not in _GAP_STATUSES
        ],
    }


def list_points(analysis: Analysis) -> dict[str, tuple[str, dict[str, Any]]]:
    """Return status, and category and zone, of every control point by code."""
    table = analysis.snapshot.points
    return {
        code: (engine.STATUSES[status], {"category": category, "zone": zone or None})
        for code, status, category, zone in zip(
            analysis.points.code, analysis.assessment.status.tolist(), table["category"], table["zone"], strict=True
        )
    }


def _compare_crossings(before: Analysis, after: Analysis) -> list[dict[str, Any]]:
    old, new = list_crossings(before), list_crossings(after)
    absent: tuple[str | None, list[str]] = (None, [])
    return [
        {
            "id": crossing,
            "level": crossing.partition("-")[0],
            "before": old.get(crossing, absent)[0],
            "after": new.get(crossing, absent)[0],
            "missing_before": old.get(crossing, absent)[1],
            "missing_after": new.get(crossing, absent)[1],
        }
        for crossing in sorted(old.keys() | new.keys())
        if old.get(crossing) != new.get(crossing)
    ]


def list_crossings(analysis: Analysis) -> dict[str, tuple[str | None, list[str]]]:
    """Return status and unguarded directions of every crossing by id."""
    network = compute_road_network(analysis)
    if network is None:
        return {}
    return {
        network.crossing_ids[level][row]: (
            CROSSING_STATUSES[status],
            [direction for direction, bit in DIRECTION_BITS.items() if int(statuses.missing[row]) & bit],
        )
        for level, statuses in compute_crossing_statuses(analysis).items()
        for row, status in enumerate(statuses.status.tolist())
    }


def _compare_cordons(before: Analysis, after: Analysis) -> list[dict[str, Any]]:
    cordons = []
    for level in reversed(LEVELS):
        for direction in TRAVEL_DIRECTIONS:
            old, new = count_cordon(before, level, direction), count_cordon(after, level, direction)
            cordons.append({"level": level, "direction": direction, "changed": old != new, "before": old, "after": new})
    return cordons


# Schemas of the response.


class PointChange(BaseModel):
    """A control point whose status changes; null before or after means that it does not exist."""

    code: str
    category: str
    zone: str | None
    before: str | None
    after: str | None


class CrossingChange(BaseModel):
    """A crossing whose status or unguarded directions change."""

    id: str
    level: Level
    before: CrossingStatus | None
    after: CrossingStatus | None
    missing_before: list[TravelDirection]
    missing_after: list[TravelDirection]


class CordonChange(BaseModel):
    """One direction through a ring, before and after."""

    level: Level
    direction: TravelDirection
    changed: bool
    before: CordonCounts
    after: CordonCounts


class BeforeAndAfterCounts(BaseModel):
    """Control points by status, before and after."""

    before: StatusCounts
    after: StatusCounts


class BeforeAndAfterDevices(BaseModel):
    """Devices by whether they work, before and after."""

    before: DeviceCounts
    after: DeviceCounts


class ControlPointsDiff(BaseModel):
    """Control points: counts, and those whose status changes."""

    counts: BeforeAndAfterCounts
    changed: list[PointChange]
    opened: list[str] = Field(description="Codes of points that become gaps.")
    closed: list[str] = Field(description="Codes of gaps that are closed.")


class FailedNothing(BaseModel):
    """A failure that fits no device, so nothing fails by it."""

    change: int = Field(description="Index of the change, from 0.")
    filters: list[str] = Field(
        description="The filters that no device fits, such as a misspelt name. If each of them has devices, several "
        "filters are listed: no device fits all of them."
    )


class Applied(BaseModel):
    """What the changes do, in numbers."""

    upserted: dict[str, int]
    deleted: dict[str, int]
    sealed: int = Field(description="Checkpoints added to seal crossings and roads.")
    states: int
    failed: dict[str, int] = Field(description="Devices that fail, by kind.")
    failed_nothing: list[FailedNothing] = Field(description="Failures that fit no device, in the order of the changes.")


class WhatIf(ResultMetadata):
    """What would change; the registry stays as it is."""

    applied: Applied
    control_points: ControlPointsDiff
    crossings: list[CrossingChange]
    rings: list[CordonChange]
    devices: BeforeAndAfterDevices
