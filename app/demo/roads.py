"""The road network of the demo city: the core's grid, rings of roads around it, and ways out.

Promises a connected network noded at its junctions in which exactly 47, 39 and 129 roads cross the
core, urban and city line, each once. On purpose it also holds what makes crossings hard: a motorway
of two carriageways, a bridge and a tunnel on the city line, a pair of one-way streets, a lane that
weaves across the line within a few metres, and a service road on the urban line that never crosses.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np

from app.demo import streets
from app.demo.plan_frame import to_lonlat
from app.demo.ring_roads import THICK_M, Gate
from app.demo.rings import Floats, Rings, unit
from app.demo.streets import Grid, Road, Street
from app.models.vocabulary import Level

URBAN_BANDS: Final = (1.12, 1.30, 1.48, 1.66, 1.84)
NEAR_BANDS: Final = (2.05, 2.15)
FAR_BANDS: Final = (2.25, 2.36, 2.48, 2.60, 2.72, 2.84, 2.94)
OUTER_BAND: Final = 3.1
_HALF_MEDIAN_M: Final = 14.0
_TURN: Final = 2 * np.pi

LOOP: Final = Road("RG-LOOP", "内环路", "Inner Ring Road", "urban_arterial")
URBAN_LOOP: Final = Road("RG-URBAN", "环城路", "Urban Ring Road", "urban_arterial")
BYPASS: Final = Road("RG-BYPASS", "绕城公路", "Bypass", "national", "G599")
SERVICE: Final = Road("RG-ALONG", "界沟便道", "Boundary Ditch Lane", "service")
MOTORWAY: Final = Road("RG-M1", "演示高速公路", "Demo Motorway", "motorway", "S99")


@dataclass(frozen=True, eq=False)
class Spot:
    """A junction outside the grid, as (angle, band) and in metres."""

    angle: float
    band: float
    xy: Floats

    def turned(self) -> "Spot":
        """Return the same junction one full turn further."""
        return replace(self, angle=self.angle + _TURN)


@dataclass
class Web:
    """The network while it is drawn."""

    rng: np.random.Generator
    rings: Rings
    streets: list[Street] = field(default_factory=list)

    def spot(self, angle: float, band: float) -> Spot:
        """Return the junction at (angle, band)."""
        return Spot(angle, band, self.rings.place(angle, band)[0])

    def loop_spot(self, angle: float) -> Spot:
        """Return the junction of the inner ring road at an angle."""
        band = 1 - streets.LOOP_M / float(self.rings.core.radius(angle))
        return Spot(angle, band, streets.loop_point(self.rings, angle)[0])

    def join(self, start: Spot, end: Spot, road: Road, spacing_m: float = 300) -> None:
        """Add the street between two junctions, following the rings' shape."""
        length = float(np.hypot(*(end.xy - start.xy)))
        count = max(int(length / spacing_m), 1)
        share = np.arange(1, count) / count
        angles = start.angle + share * (end.angle - start.angle)
        if abs(end.angle - start.angle) < 0.02:
            angles = angles + self.rng.normal(0, 0.002, len(share))
        bands = start.band + share * (end.band - start.band)
        middle = self.rings.place(angles, bands) if count > 1 else np.empty((0, 2))
        self.streets.append(Street(np.vstack([start.xy, middle, end.xy]), road))

    def pass_line(self, start: Spot, end: Spot, gate: Gate, levels: tuple[Level, ...]) -> None:
        """Add the straight street with which a gate's road crosses ``levels``, outward."""
        xy = np.vstack([start.xy, end.xy])
        self.streets.append(Street(xy, gate.road, crosses=levels, angle=gate.angle))

    def fan(self, angles: Sequence[float], bands: Sequence[float], closed: bool) -> list[list[Spot]]:
        """Return rows of junctions, one per angle; the ends of a row stay on its ray."""
        ends = np.array(angles)
        before = np.mod(ends - np.roll(ends, 1), _TURN)
        gap = np.minimum(before, np.roll(before, -1))
        turn = self.rng.uniform(-0.12, 0.12, (len(ends), len(bands))) * gap[:, None]
        turn[:, [0, -1]] = 0
        shift = self.rng.uniform(-0.02, 0.02, turn.shape)
        if not closed:
            turn[[0, -1]] = 0
        return [
            [self.spot(a + t, b + s) for b, t, s in zip(bands, turns, shifts, strict=True)]
            for a, turns, shifts in zip(angles, turn, shift, strict=True)
        ]

    def around(self, row: Sequence[Spot], road: Road, keep: float, closed: bool) -> None:
        """Add a road through a row of junctions, leaving out a share of its pieces."""
        ends = [*row, row[0].turned()] if closed else list(row)
        for start, end in pairwise(ends):
            if keep >= 1 or self.rng.random() < keep:
                self.join(start, end, road)


def _lane(band: float) -> Road:
    tag = round(band * 100)
    road_class: Any = "urban_minor" if band < 2 else "county"
    return Road(f"RG-C{tag}", f"{tag}号环乡路" if band > 2 else f"{tag}号横街", f"Orbital {tag}", road_class)


def _inner_loop(web: Web, grid: Grid, gates: Sequence[Gate]) -> None:
    angles = {float(np.mod(gate.angle, _TURN)) for gate in gates if gate.core}
    angles |= {float(np.mod(angle, _TURN)) for angle in grid.loop_angles}
    ends = sorted(angles)
    for start, end in zip(ends, [*ends[1:], ends[0] + _TURN], strict=True):
        steps = np.linspace(start, end, max(int((end - start) / np.radians(2.5)), 1) + 1)
        web.streets.append(Street(streets.loop_point(web.rings, np.mod(steps, _TURN)), LOOP))


def _spokes(web: Web, gates: Sequence[Gate]) -> list[tuple[float, Gate | None]]:
    """Return the angles of the streets between core and urban line; two side roads per gap."""
    wide = [g for g in gates if g.core and web.rings.thickness(g.angle) > THICK_M]
    spokes: list[tuple[float, Gate | None]] = []
    for gate, following in zip(wide, [*wide[1:], None], strict=True):
        spokes.append((gate.angle, gate))
        if following:
            share = np.array([1, 2]) / 3 + web.rng.uniform(-0.05, 0.05, 2)
            gap = following.angle - gate.angle
            spokes += [(float(gate.angle + part * gap), None) for part in share]
    return spokes


def _urban(web: Web, gates: Sequence[Gate]) -> dict[str, list[Spot]]:
    """Draw the streets between core and urban line; return each gate's junctions there."""
    spokes = _spokes(web, gates)
    fan = web.fan([angle for angle, _ in spokes], URBAN_BANDS, closed=False)
    for index, band in enumerate(URBAN_BANDS):
        last = index == len(URBAN_BANDS) - 1
        keep = 1.0 if last or index in {0, 2} else 0.75
        web.around([row[index] for row in fan], URBAN_LOOP if last else _lane(band), keep, False)
    for number, ((_, gate), row) in enumerate(zip(spokes, fan, strict=True)):
        side = Road(f"RG-S{number:03d}", f"{number}号支路", f"Side Road {number}", "urban_minor")
        for start, end in pairwise(row):
            web.join(start, end, gate.road if gate else side)
    _along(web, spokes, fan)
    return {gate.road.group: row for (_, gate), row in zip(spokes, fan, strict=True) if gate}


def _along(web: Web, spokes: Sequence[tuple[float, Gate | None]], fan: Sequence[Sequence[Spot]]) -> None:
    """Add the service road that runs on the urban line for about a kilometre and turns back."""
    through = [i for i, (_, gate) in enumerate(spokes) if gate and gate.urban]
    spans = [(a + 1, b - 1) for a, b in pairwise(through)]

    def miss(span: tuple[int, int]) -> float:
        ends = web.rings.place(np.array([spokes[i][0] for i in span]), 2.0)
        return abs(float(np.hypot(*(ends[1] - ends[0]))) - 1100)

    first, last = min(spans, key=miss)
    line, (low, high) = web.rings.urban, (spokes[first][0], spokes[last][0])
    turned = np.where(line.angles < low, line.angles + _TURN, line.angles)
    on_line = np.flatnonzero((turned > low) & (turned < high))
    on_line = on_line[np.argsort(turned[on_line])]
    xy = np.vstack([fan[first][-1].xy, line.vertices[on_line], fan[last][-1].xy])
    web.streets.append(Street(xy, SERVICE))


def _leave(web: Web, gates: Sequence[Gate], urban: dict[str, list[Spot]]) -> list[list[Spot]]:
    """Lead the roads out of the core and through the urban line; return their junctions outside."""
    through = [gate for gate in gates if gate.urban]
    near = web.fan([gate.angle for gate in through], NEAR_BANDS, closed=True)
    outside = {gate.road.group: row[0] for gate, row in zip(through, near, strict=True)}
    for gate in (gate for gate in gates if gate.core):
        start, row = web.loop_spot(gate.angle), urban.get(gate.road.group)
        if row:
            web.pass_line(start, row[0], gate, ("core",))
            if gate.urban:
                web.pass_line(row[-1], outside[gate.road.group], gate, ("urban",))
        else:
            _leave_directly(web, gate, start, outside[gate.road.group])
    for index, road in enumerate((BYPASS, _lane(NEAR_BANDS[1]))):
        web.around([row[index] for row in near], road, 1.0, True)
    return near


def _leave_directly(web: Web, gate: Gate, start: Spot, end: Spot) -> None:
    """Lead a road out where core and urban line are close, or one line, crossed at once."""
    width = float(web.rings.thickness(gate.angle))
    if width < 0.01:
        web.pass_line(start, end, gate, ("core", "urban"))
        return
    between = web.spot(gate.angle, 1.5)
    web.pass_line(start, between, gate, ("core",))
    web.pass_line(between, end, gate, ("urban",))


def _far(web: Web, gates: Sequence[Gate], near: Sequence[Sequence[Spot]]) -> None:
    """Draw the country roads up to the city line and across it."""
    leaving = [gate for gate in gates if gate.city]
    fan = web.fan([gate.angle for gate in leaving], FAR_BANDS, closed=True)
    motorway = _motorway_index(leaving)
    for index, band in enumerate(FAR_BANDS):
        row = [spots[index] for number, spots in enumerate(fan) if index == 0 or number != motorway]
        web.around(row, _lane(band), 1.0 if index in {0, 3} else 0.7, True)
    through = [gate.road.group for gate in gates if gate.urban]
    starts = dict(zip(through, near, strict=True))
    outer = []
    for number, (gate, spots) in enumerate(zip(leaving, fan, strict=True)):
        outer.append(web.spot(gate.angle, OUTER_BAND))
        if number == motorway:
            _motorway(web, gate.angle, spots[0], outer[-1])
            continue
        for start, end in pairwise([*starts.get(gate.road.group, []), *spots]):
            web.join(start, end, gate.road, 600)
        web.pass_line(spots[-1], outer[-1], gate, ("city",))
    web.around(outer, _lane(OUTER_BAND), 0.55, True)


def _motorway_index(leaving: Sequence[Gate]) -> int:
    """Return which of the roads out is the motorway: a village road in the south-east."""
    wanted = np.radians(330)
    choices = [(abs(gate.angle - wanted), i) for i, gate in enumerate(leaving) if not gate.core]
    return min(choices)[1]


def _motorway(web: Web, angle: float, start: Spot, end: Spot) -> None:
    """Add both carriageways, over the country roads on bridges, from a junction to the outside."""
    splits = [(low + high) / 2 for low, high in pairwise(FAR_BANDS)]
    bands = [*splits, 2.97]
    normal = unit(angle + np.pi / 2)
    for side in (-1, 1):
        offsets = [web.spot(angle, band).xy + side * _HALF_MEDIAN_M * normal for band in bands]
        points = [start.xy, *offsets]
        for number, (here, there) in enumerate(pairwise(points)):
            xy = np.vstack([here, there] if side > 0 else [there, here])
            web.streets.append(Street(xy, MOTORWAY, "forward", min(number, 1)))
        tail = [points[-1], web.spot(angle, 3.06).xy + side * _HALF_MEDIAN_M * normal, end.xy]
        xy = np.vstack(tail if side > 0 else tail[::-1])
        web.streets.append(Street(xy, MOTORWAY, "forward", crosses=("city",), angle=angle))


def _hard_cases(web: Web) -> None:
    """Make one-way, bridge, tunnel and weaving crossings of ordinary ones."""
    oneway = [n for n, s in enumerate(web.streets) if s.crosses == ("core",)
              and s.road.road_class == "urban_minor"][:2]  # fmt: skip
    web.streets[oneway[0]] = replace(web.streets[oneway[0]], oneway="backward")
    web.streets[oneway[1]] = replace(web.streets[oneway[1]], oneway="forward")
    county = [n for n, s in enumerate(web.streets) if s.crosses and s.road.road_class == "county"]
    for degrees, layer in ((250, 1), (95, -1)):
        number = _towards(web, county, degrees)
        web.streets[number] = replace(web.streets[number], layer=layer)
    number = _towards(web, county, 200)
    web.streets[number] = _weaving(web.rings, web.streets[number])


def _towards(web: Web, numbers: Sequence[int], degrees: float) -> int:
    wanted = np.radians(degrees)
    return min(numbers, key=lambda n: abs(np.angle(np.exp(1j * (web.streets[n].angle - wanted)))))


def _weaving(rings: Rings, street: Street) -> Street:
    """Return the street bent so that it passes the city line three times within a few metres."""
    out, side = unit(street.angle), unit(street.angle + np.pi / 2)
    line = float(rings.city.radius(street.angle))
    bends = [(-40, 0), (7, -3), (-7, 3), (40, 0)]
    points = [(line + ahead) * out + across * side for ahead, across in bends]
    return replace(street, xy=np.round(np.vstack([street.xy[0], *points, street.xy[-1]]), 3))


def draw(rng: np.random.Generator, rings: Rings, gates: Sequence[Gate]) -> tuple[list[Street], Grid]:
    """Return all streets, and the grid of the core among them."""
    web = Web(rng, rings)
    core = np.mod([gate.angle for gate in gates if gate.core], _TURN)
    grid = streets.draw(rng, rings, core)
    web.streets += grid.streets
    _inner_loop(web, grid, gates)
    near = _leave(web, gates, _urban(web, gates))
    _far(web, gates, near)
    _hard_cases(web)
    return web.streets, grid


def drafts(network: Sequence[Street], jurisdiction: str) -> list[dict[str, Any]]:
    """Return the road drafts of a network, codes in the order of drawing."""
    lonlat = to_lonlat(np.vstack([street.xy for street in network]))
    ends = np.cumsum([len(street.xy) for street in network])
    lines = np.split(lonlat, ends[:-1])
    return [
        {
            "code": code(number),
            "jurisdiction": jurisdiction,
            "name_zh": street.road.name_zh,
            "name_en": street.road.name_en,
            "road_class": street.road.road_class,
            "road_number": street.road.number,
            "group": street.road.group,
            "oneway": street.oneway,
            "layer": street.layer,
            "bridge": street.layer > 0,
            "tunnel": street.layer < 0,
            "geometry": {"type": "LineString", "coordinates": line.tolist()},
        }
        for number, (street, line) in enumerate(zip(network, lines, strict=True))
    ]


def code(number: int) -> str:
    """Return the code of the street with this place in the network."""
    return f"R-{number + 1:05d}"
