"""The road network of the demo city: the grid of the core, orbital roads around it, and radial roads.

The network is connected and noded at its junctions. Exactly 47, 39 and 129 roads cross the core, urban and city
line, each once. It also has difficult crossings: a motorway of two carriageways, a bridge and a tunnel on the city
line, a pair of one-way streets, a lane that crosses the line several times within a few metres, and a service road
on the urban line that never crosses it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np

from app.demo import streets
from app.demo.city_plan import to_lonlat
from app.demo.radial_roads import THICK_M, RadialRoad
from app.demo.rings import Floats, Rings, unit_vector
from app.demo.streets import DemoRoad, Grid, Street
from app.models.vocabulary import Level

URBAN_BANDS: Final = (1.12, 1.30, 1.48, 1.66, 1.84)
NEAR_BANDS: Final = (2.05, 2.15)
FAR_BANDS: Final = (2.25, 2.36, 2.48, 2.60, 2.72, 2.84, 2.94)
OUTER_BAND: Final = 3.1
_HALF_MEDIAN_M: Final = 14.0
_TURN: Final = 2 * np.pi

LOOP: Final = DemoRoad("RG-LOOP", "内环路", "Inner Ring Road", "urban_arterial")
URBAN_LOOP: Final = DemoRoad("RG-URBAN", "环城路", "Urban Ring Road", "urban_arterial")
BYPASS: Final = DemoRoad("RG-BYPASS", "绕城公路", "Bypass", "national", "G599")
SERVICE: Final = DemoRoad("RG-ALONG", "界沟便道", "Boundary Ditch Lane", "service")
MOTORWAY: Final = DemoRoad("RG-M1", "演示高速公路", "Demo Motorway", "motorway", "S99")


@dataclass(frozen=True, eq=False)
class RoadNode:
    """A junction outside the grid, as (angle, band) and in metres."""

    angle: float
    band: float
    xy: Floats

    def turn_once(self) -> "RoadNode":
        """Return the same junction, its angle increased by a full turn."""
        return replace(self, angle=self.angle + _TURN)


@dataclass
class NetworkBuilder:
    """Collects the streets of the network."""

    rng: np.random.Generator
    rings: Rings
    streets: list[Street] = field(default_factory=list)

    def build_node(self, angle: float, band: float) -> RoadNode:
        """Return the junction at (angle, band)."""
        return RoadNode(angle, band, self.rings.to_xy(angle, band)[0])

    def build_loop_node(self, angle: float) -> RoadNode:
        """Return the junction of the inner ring road at an angle."""
        band = 1 - streets.LOOP_M / float(self.rings.core.compute_radius(angle))
        return RoadNode(angle, band, streets.compute_loop_points(self.rings, angle)[0])

    def add_street(self, start: RoadNode, end: RoadNode, road: DemoRoad, spacing_m: float = 300) -> None:
        """Add the street between two junctions; it follows the shape of the rings."""
        length = float(np.hypot(*(end.xy - start.xy)))
        count = max(int(length / spacing_m), 1)
        share = np.arange(1, count) / count
        angles = start.angle + share * (end.angle - start.angle)
        if abs(end.angle - start.angle) < 0.02:
            angles = angles + self.rng.normal(0, 0.002, len(share))
        bands = start.band + share * (end.band - start.band)
        middle = self.rings.to_xy(angles, bands) if count > 1 else np.empty((0, 2))
        self.streets.append(Street(np.vstack([start.xy, middle, end.xy]), road))

    def add_crossing_street(
        self, start: RoadNode, end: RoadNode, radial: RadialRoad, levels: tuple[Level, ...]
    ) -> None:
        """Add the straight street with which a radial road crosses the lines of ``levels``, outward."""
        xy = np.vstack([start.xy, end.xy])
        self.streets.append(Street(xy, radial.road, crosses=levels, angle=radial.angle))

    def build_node_rows(self, angles: Sequence[float], bands: Sequence[float], closed: bool) -> list[list[RoadNode]]:
        """Return one row of junctions for each angle; the ends of a row are exactly on its ray."""
        ends = np.array(angles)
        before = np.mod(ends - np.roll(ends, 1), _TURN)
        gap = np.minimum(before, np.roll(before, -1))
        turn = self.rng.uniform(-0.12, 0.12, (len(ends), len(bands))) * gap[:, None]
        turn[:, [0, -1]] = 0
        shift = self.rng.uniform(-0.02, 0.02, turn.shape)
        if not closed:
            turn[[0, -1]] = 0
        return [
            [self.build_node(a + t, b + s) for b, t, s in zip(bands, turns, shifts, strict=True)]
            for a, turns, shifts in zip(angles, turn, shift, strict=True)
        ]

    def add_orbital_road(self, row: Sequence[RoadNode], road: DemoRoad, keep: float, closed: bool) -> None:
        """Add a road through a row of junctions; each street of it is built with the probability ``keep``."""
        ends = [*row, row[0].turn_once()] if closed else list(row)
        for start, end in pairwise(ends):
            if keep >= 1 or self.rng.random() < keep:
                self.add_street(start, end, road)


def build_band_road(band: float) -> DemoRoad:
    """Return the orbital road of a band."""
    tag = round(band * 100)
    road_class: Any = "urban_minor" if band < 2 else "county"
    return DemoRoad(f"RG-C{tag}", f"{tag}号环乡路" if band > 2 else f"{tag}号横街", f"Orbital {tag}", road_class)


def add_inner_loop(builder: NetworkBuilder, grid: Grid, radials: Sequence[RadialRoad]) -> None:
    """Add the inner ring road, with a junction at every street that meets it."""
    angles = {float(np.mod(radial.angle, _TURN)) for radial in radials if radial.core}
    angles |= {float(np.mod(angle, _TURN)) for angle in grid.loop_angles}
    ends = sorted(angles)
    for start, end in zip(ends, [*ends[1:], ends[0] + _TURN], strict=True):
        steps = np.linspace(start, end, max(int((end - start) / np.radians(2.5)), 1) + 1)
        builder.streets.append(Street(streets.compute_loop_points(builder.rings, np.mod(steps, _TURN)), LOOP))


def list_spokes(builder: NetworkBuilder, radials: Sequence[RadialRoad]) -> list[tuple[float, RadialRoad | None]]:
    """Return the angles of the streets between core and urban line; two side roads per gap."""
    wide = [g for g in radials if g.core and builder.rings.compute_gap(g.angle) > THICK_M]
    spokes: list[tuple[float, RadialRoad | None]] = []
    for radial, following in zip(wide, [*wide[1:], None], strict=True):
        spokes.append((radial.angle, radial))
        if following:
            share = np.array([1, 2]) / 3 + builder.rng.uniform(-0.05, 0.05, 2)
            gap = following.angle - radial.angle
            spokes += [(float(radial.angle + fraction * gap), None) for fraction in share]
    return spokes


def add_urban_streets(builder: NetworkBuilder, radials: Sequence[RadialRoad]) -> dict[str, list[RoadNode]]:
    """Add the streets between core and urban line; return the junctions of each radial road there, by group."""
    spokes = list_spokes(builder, radials)
    fan = builder.build_node_rows([angle for angle, _ in spokes], URBAN_BANDS, closed=False)
    for index, band in enumerate(URBAN_BANDS):
        last = index == len(URBAN_BANDS) - 1
        keep = 1.0 if last or index in {0, 2} else 0.75
        builder.add_orbital_road(
            [row[index] for row in fan], URBAN_LOOP if last else build_band_road(band), keep, False
        )
    for number, ((_, radial), row) in enumerate(zip(spokes, fan, strict=True)):
        side = DemoRoad(f"RG-S{number:03d}", f"{number}号支路", f"Side Road {number}", "urban_minor")
        for start, end in pairwise(row):
            builder.add_street(start, end, radial.road if radial else side)
    add_boundary_lane(builder, spokes, fan)
    return {radial.road.group: row for (_, radial), row in zip(spokes, fan, strict=True) if radial}


def add_boundary_lane(
    builder: NetworkBuilder, spokes: Sequence[tuple[float, RadialRoad | None]], fan: Sequence[Sequence[RoadNode]]
) -> None:
    """Add the service road that runs on the urban line for about a kilometre and turns back."""
    through = [i for i, (_, radial) in enumerate(spokes) if radial and radial.urban]
    spans = [(a + 1, b - 1) for a, b in pairwise(through)]

    def miss(span: tuple[int, int]) -> float:
        ends = builder.rings.to_xy(np.array([spokes[i][0] for i in span]), 2.0)
        return abs(float(np.hypot(*(ends[1] - ends[0]))) - 1100)

    first, last = min(spans, key=miss)
    line, (low, high) = builder.rings.urban, (spokes[first][0], spokes[last][0])
    turned = np.where(line.angles < low, line.angles + _TURN, line.angles)
    on_line = np.flatnonzero((turned > low) & (turned < high))
    on_line = on_line[np.argsort(turned[on_line])]
    xy = np.vstack([fan[first][-1].xy, line.vertices[on_line], fan[last][-1].xy])
    builder.streets.append(Street(xy, SERVICE))


def add_radial_streets(
    builder: NetworkBuilder, radials: Sequence[RadialRoad], urban: dict[str, list[RoadNode]]
) -> list[list[RoadNode]]:
    """Lead the roads out of the core and through the urban line; return their junctions outside."""
    through = [radial for radial in radials if radial.urban]
    outside_nodes = builder.build_node_rows([radial.angle for radial in through], NEAR_BANDS, closed=True)
    outside = {radial.road.group: row[0] for radial, row in zip(through, outside_nodes, strict=True)}
    for radial in (radial for radial in radials if radial.core):
        start, row = builder.build_loop_node(radial.angle), urban.get(radial.road.group)
        if row:
            builder.add_crossing_street(start, row[0], radial, ("core",))
            if radial.urban:
                builder.add_crossing_street(row[-1], outside[radial.road.group], radial, ("urban",))
        else:
            add_direct_street(builder, radial, start, outside[radial.road.group])
    for index, road in enumerate((BYPASS, build_band_road(NEAR_BANDS[1]))):
        builder.add_orbital_road([row[index] for row in outside_nodes], road, 1.0, True)
    return outside_nodes


def add_direct_street(builder: NetworkBuilder, radial: RadialRoad, start: RoadNode, end: RoadNode) -> None:
    """Lead a road out where core and urban line are close, or one line, crossed at once."""
    width = float(builder.rings.compute_gap(radial.angle))
    if width < 0.01:
        builder.add_crossing_street(start, end, radial, ("core", "urban"))
        return
    between = builder.build_node(radial.angle, 1.5)
    builder.add_crossing_street(start, between, radial, ("core",))
    builder.add_crossing_street(between, end, radial, ("urban",))


def add_country_roads(
    builder: NetworkBuilder, radials: Sequence[RadialRoad], outside_nodes: Sequence[Sequence[RoadNode]]
) -> None:
    """Add the country roads up to the city line and across it."""
    leaving = [radial for radial in radials if radial.city]
    fan = builder.build_node_rows([radial.angle for radial in leaving], FAR_BANDS, closed=True)
    motorway = choose_motorway(leaving)
    for index, band in enumerate(FAR_BANDS):
        row = [spots[index] for number, spots in enumerate(fan) if index == 0 or number != motorway]
        builder.add_orbital_road(row, build_band_road(band), 1.0 if index in {0, 3} else 0.7, True)
    through = [radial.road.group for radial in radials if radial.urban]
    starts = dict(zip(through, outside_nodes, strict=True))
    outer = []
    for number, (radial, spots) in enumerate(zip(leaving, fan, strict=True)):
        outer.append(builder.build_node(radial.angle, OUTER_BAND))
        if number == motorway:
            add_motorway(builder, radial.angle, spots[0], outer[-1])
            continue
        for start, end in pairwise([*starts.get(radial.road.group, []), *spots]):
            builder.add_street(start, end, radial.road, 600)
        builder.add_crossing_street(spots[-1], outer[-1], radial, ("city",))
    builder.add_orbital_road(outer, build_band_road(OUTER_BAND), 0.55, True)


def choose_motorway(leaving: Sequence[RadialRoad]) -> int:
    """Return which of the roads out is the motorway: a village road in the south-east."""
    direction = np.radians(330)
    choices = [(abs(radial.angle - direction), i) for i, radial in enumerate(leaving) if not radial.core]
    return min(choices)[1]


def add_motorway(builder: NetworkBuilder, angle: float, start: RoadNode, end: RoadNode) -> None:
    """Add both carriageways, over the country roads on bridges, from a junction to the outside."""
    splits = [(low + high) / 2 for low, high in pairwise(FAR_BANDS)]
    bands = [*splits, 2.97]
    normal = unit_vector(angle + np.pi / 2)
    for side in (-1, 1):
        offsets = [builder.build_node(angle, band).xy + side * _HALF_MEDIAN_M * normal for band in bands]
        points = [start.xy, *offsets]
        for number, (start_xy, end_xy) in enumerate(pairwise(points)):
            xy = np.vstack([start_xy, end_xy] if side > 0 else [end_xy, start_xy])
            builder.streets.append(Street(xy, MOTORWAY, "forward", min(number, 1)))
        tail = [points[-1], builder.build_node(angle, 3.06).xy + side * _HALF_MEDIAN_M * normal, end.xy]
        xy = np.vstack(tail if side > 0 else tail[::-1])
        builder.streets.append(Street(xy, MOTORWAY, "forward", crosses=("city",), angle=angle))


def add_hard_cases(builder: NetworkBuilder) -> None:
    """Make one-way, bridge, tunnel and weaving crossings of ordinary ones."""
    oneway = [
        n for n, s in enumerate(builder.streets) if s.crosses == ("core",) and s.road.road_class == "urban_minor"
    ][:2]
    builder.streets[oneway[0]] = replace(builder.streets[oneway[0]], oneway="backward")
    builder.streets[oneway[1]] = replace(builder.streets[oneway[1]], oneway="forward")
    county = [n for n, s in enumerate(builder.streets) if s.crosses and s.road.road_class == "county"]
    for degrees, layer in ((250, 1), (95, -1)):
        number = find_street_towards(builder, county, degrees)
        builder.streets[number] = replace(builder.streets[number], layer=layer)
    number = find_street_towards(builder, county, 200)
    builder.streets[number] = bend_street(builder.rings, builder.streets[number])


def find_street_towards(builder: NetworkBuilder, numbers: Sequence[int], degrees: float) -> int:
    """Return which of the streets lies nearest to a direction, in degrees counter-clockwise from east."""
    direction = np.radians(degrees)
    return min(numbers, key=lambda n: abs(np.angle(np.exp(1j * (builder.streets[n].angle - direction)))))


def bend_street(rings: Rings, street: Street) -> Street:
    """Return the street bent so that it passes the city line three times within a few metres."""
    out, side = unit_vector(street.angle), unit_vector(street.angle + np.pi / 2)
    line = float(rings.city.compute_radius(street.angle))
    bends = [(-40, 0), (7, -3), (-7, 3), (40, 0)]
    points = [(line + ahead) * out + rotate_right * side for ahead, rotate_right in bends]
    return replace(street, xy=np.round(np.vstack([street.xy[0], *points, street.xy[-1]]), 3))


def build_network(rng: np.random.Generator, rings: Rings, radials: Sequence[RadialRoad]) -> tuple[list[Street], Grid]:
    """Return all streets, and the grid of the core among them."""
    builder = NetworkBuilder(rng, rings)
    core = np.mod([radial.angle for radial in radials if radial.core], _TURN)
    grid = streets.build_grid(rng, rings, core)
    builder.streets += grid.streets
    add_inner_loop(builder, grid, radials)
    outside_nodes = add_radial_streets(builder, radials, add_urban_streets(builder, radials))
    add_country_roads(builder, radials, outside_nodes)
    add_hard_cases(builder)
    return builder.streets, grid


def build_road_drafts(network: Sequence[Street], jurisdiction: str) -> list[dict[str, Any]]:
    """Return the road drafts of a network, with codes in the order of the network."""
    lonlat = to_lonlat(np.vstack([street.xy for street in network]))
    ends = np.cumsum([len(street.xy) for street in network])
    lines = np.split(lonlat, ends[:-1])
    return [
        {
            "code": build_road_code(number),
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


def build_road_code(number: int) -> str:
    """Return the code of the street with this index in the network."""
    return f"R-{number + 1:05d}"
