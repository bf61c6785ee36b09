"""Where devices stand on roads and which way they look: found once, and again for what changed.

Pure. A device is placed by itself alone, so after a change of records the others keep their place.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import orjson

from app.analysis.crossings.road_network import RoadNet
from app.analysis.engine_input import Computed
from app.geo.arrays import Floats, Ints
from app.geo.coverage import assessment as engine
from app.geo.roads.map_matching import Standing, Watching, standing, watching

VEHICLE = engine.FUNCTION_BITS["vehicle"]


@dataclass(frozen=True, eq=False)
class Posts:
    """Devices on the roads of one state, one row each."""

    net: RoadNet
    codes: tuple[Sequence[str], Sequence[str]]
    """Of cameras and of checkpoints, which follow them."""
    told: tuple[Floats, ...]
    """What a place is found from: whatever is equal here stands and looks as before."""
    xy: Floats
    """In metres."""
    stands: Standing
    watches: Watching


def posts(found: Computed, net: RoadNet) -> Posts:
    """Return where the devices of a state stand on the roads."""

    def make(before: Posts | None) -> Posts:
        return _posts(found, net, before if before is not None and before.net is net else None)

    return found.parts.get("posts", make)


def _posts(found: Computed, net: RoadNet, before: Posts | None) -> Posts:
    devices = found.devices
    codes = (found.loaded.cameras["code"], found.loaded.checkpoints["code"])
    stated, bearing = _stated(found, net)
    told = (
        *devices.lonlat.T, devices.functions & VEHICLE, devices.directions, stated, *bearing.T,
    )  # fmt: skip
    now, then = _as_before(codes, told, before)
    fresh = np.ones(len(devices), np.bool_)
    fresh[now] = False
    xy, stands = np.empty((len(devices), 2)), _nowhere(len(devices))
    rows = np.flatnonzero(fresh)
    xy[rows] = net.frame.to_metres(devices.lonlat[rows])
    rows = rows[devices.functions[rows] & VEHICLE > 0]
    of_rows = standing(net.network, net.base.tree, xy[rows], stated[rows])
    for name in ("edge", "at_m", "group"):
        getattr(stands, name)[rows] = getattr(of_rows, name)
    watches = _watching(found, net, rows, of_rows, bearing[rows], xy[rows])
    if before is not None and len(now):
        xy[now] = before.xy[then]
        for name in ("edge", "at_m", "group"):
            getattr(stands, name)[now] = getattr(before.stands, name)[then]
        watches = _beside(watches, before.watches, now, then, len(before.xy))
    return Posts(net, codes, told, xy, stands, watches)


def _nowhere(n: int) -> Standing:
    return Standing(np.full(n, -1, np.int64), np.zeros(n), np.full(n, -1, np.int64))


def _as_before(
    codes: tuple[Sequence[str], Sequence[str]], told: tuple[Floats, ...], before: Posts | None
) -> tuple[Ints, Ints]:
    """Return the rows of devices that stand and look as before, and the rows they had then."""
    if before is None:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    was, offset = [], 0
    for of_kind, earlier in zip(codes, before.codes, strict=True):
        if of_kind is earlier or list(of_kind) == list(earlier):
            was.append(offset + np.arange(len(of_kind)))
        else:
            row_of = {code: row for row, code in enumerate(earlier)}
            at = np.array([row_of.get(code, -1) for code in of_kind], np.int64)
            was.append(np.where(at >= 0, at + offset, -1))
        offset += len(earlier)
    at = np.concatenate(was)
    now = np.flatnonzero(at >= 0)
    then = at[now]
    same = np.ones(len(now), np.bool_)
    for column, earlier_column in zip(told, before.told, strict=True):
        one, other = column[now], earlier_column[then]
        same &= (one == other) | ((one != one) & (other != other))
    return now[same], then[same]


def _beside(fresh: Watching, before: Watching, now: Ints, then: Ints, n: int) -> Watching:
    """Return what fresh devices watch and what the others have watched before."""
    row_now = np.full(n, -1, np.int64)
    row_now[then] = now
    still = row_now[before.device] >= 0
    kept = replace(before, device=row_now[before.device])
    columns = ("device", "chain", "ahead", "at_m")
    return Watching(*(np.concatenate([getattr(kept, name)[still], getattr(fresh, name)]) for name in columns))


def _stated(found: Computed, net: RoadNet) -> tuple[Ints, Floats]:
    """Return the road group each device is said to be on, -1: none, and where its lanes lead to."""
    devices, checkpoints = found.devices, found.loaded.checkpoints
    roads = net.base.roads
    group_of = dict(zip(roads["code"], net.group_of_road.tolist(), strict=True))
    n = len(devices) - len(checkpoints["code"])
    stated = np.full(len(devices), -1, np.int64)
    stated[n:] = [-1 if code is None else group_of.get(code, -1) for code in checkpoints["road"]]
    bearing = np.full((len(devices), 2), np.nan)
    if len(checkpoints["code"]):
        bearing[n:] = [_lane_bearings(text) for text in checkpoints["lanes"]]
    part = np.flatnonzero(devices.installation[:n] >= 0)
    stated[part] = stated[devices.installation[part]]
    bearing[part] = bearing[devices.installation[part]]
    return stated, bearing


def _watching(found: Computed, net: RoadNet, rows: Ints, stands: Standing, bearing: Floats, xy: Floats) -> Watching:
    grid = bearing - net.frame.convergence_deg(found.devices.lonlat[rows])[:, np.newaxis]
    innermost = net.ring[net.levels[-1]].polygon.centroid
    middle = np.array([innermost.x, innermost.y])
    told = watching(
        net.network, net.pieces, net.chains, stands, found.devices.directions[rows],
        grid[:, 0], grid[:, 1], xy, middle,
    )  # fmt: skip
    return replace(told, device=rows[told.device])


@lru_cache(maxsize=65_536)
def _lane_bearings(text: str) -> tuple[float, float]:
    """Return the mean bearing of the inbound and of the outbound lanes, NaN where none is given."""
    lanes: list[dict[str, object]] = orjson.loads(text)
    means = []
    for direction in ("inbound", "outbound"):
        given = np.radians(
            [
                float(str(lane["bearing_deg"]))
                for lane in lanes
                if lane.get("direction") == direction and lane.get("bearing_deg") is not None
            ]
        )
        east, north = np.sin(given).sum(), np.cos(given).sum()
        means.append(float(np.degrees(np.arctan2(east, north))) if len(given) else np.nan)
    return means[0], means[1]
