"""A QGIS project with every layer added and styled.

The document says no more than QGIS needs to open it; the rest is QGIS's own defaults. Status has one
colour everywhere, the same as in the pictures of the documentation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from xml.etree import ElementTree

import pyproj

from app.access.roles import Principal, Role
from app.models.vocabulary import LEVELS

STATUS_COLOURS: Final[Mapping[str, str]] = {
    "backed_up": "26,152,80,255",
    "covered": "145,207,96,255",
    "partial": "254,178,76,255",
    "uncovered": "215,48,39,255",
}
_CLEAR: Final = "0,0,0,0"
_WHITE: Final = "255,255,255,255"
_BLUE: Final = "31,120,180,255"
_GREY: Final = "120,120,120,255"


@dataclass(frozen=True)
class Symbol:
    """The symbol of one class of features: a symbol layer of QGIS and its options."""

    geometry: str
    options: Mapping[str, str]

    @property
    def layer_class(self) -> str:
        """Return the name of QGIS's simple symbol layer for the geometry."""
        return {"marker": "SimpleMarker", "line": "SimpleLine", "fill": "SimpleFill"}[self.geometry]


def build_marker(colour: str, size: float, shape: str = "circle") -> Symbol:
    """Return a point symbol."""
    options = {"color": colour, "size": str(size), "name": shape, "outline_color": _WHITE}
    return Symbol("marker", options | {"outline_width": "0.2", "size_unit": "MM"})


def build_line(colour: str, width: float, style: str = "solid") -> Symbol:
    """Return a line symbol."""
    options = {"line_color": colour, "line_width": str(width), "line_style": style}
    return Symbol("line", options | {"line_width_unit": "MM"})


def build_fill(colour: str, outline: str, width: float) -> Symbol:
    """Return a polygon symbol."""
    options = {"color": colour, "outline_color": outline, "outline_width": str(width)}
    return Symbol("fill", options | {"style": "solid", "outline_style": "solid"})


@dataclass(frozen=True)
class Style:
    """One layer of the project: a collection, its symbols, and its labels."""

    collection: str
    title: str
    geometry: str
    symbols: Mapping[str, Symbol]
    """By value of ``attribute``; the value '' is everything else."""
    attribute: str = ""
    label: str = ""
    """A QGIS expression, empty for no labels."""
    role: Role = "reader"
    shown: bool = True
    labels_from_scale: int = 0
    """Labels are drawn from this scale on (1 : n), 0 always."""
    words: Mapping[str, str] = field(default_factory=dict)
    """What the legend calls the values."""


_STATUS_WORDS: Final = {
    "backed_up": "双重覆盖 backed up",
    "covered": "已覆盖 covered",
    "partial": "部分覆盖 partial",
    "uncovered": "未覆盖 uncovered",
}
_LEVEL_WORDS: Final = {"core": "核心区 core", "urban": "城区 urban", "city": "市域 city"}
_WIDTHS: Final = {"core": 1.0, "urban": 0.8, "city": 0.6}

STYLES: Final[Sequence[Style]] = (
    Style(
        "gaps",
        "覆盖缺口 Gaps",
        "Point",
        {"": build_marker("215,48,39,255", 3.4, "diamond")},
        label='coalesce("name_zh", "code") || \'\\n\' || coalesce("reason", \'\')',
        role="analyst",
        labels_from_scale=40_000,
    ),
    Style(
        "coverage",
        "控制点 Control points by status",
        "Point",
        {status: build_marker(colour, 2.6) for status, colour in STATUS_COLOURS.items()},
        "status",
        role="analyst",
        words=_STATUS_WORDS,
    ),
    Style(
        "leaks",
        "漏洞路线 Leaks",
        "LineString",
        {"": build_line("215,48,39,255", 1.2, "dash")},
        role="analyst",
    ),
    Style(
        "crossings",
        "过圈路口 Crossings",
        "Point",
        {
            "guarded": build_marker("26,152,80,255", 2.2, "square"),
            "open": build_marker("215,48,39,255", 2.6, "square"),
            "waived": build_marker(_GREY, 2.2, "square"),
        },
        "status",
        role="analyst",
    ),
    Style("checkpoints", "卡口 Checkpoints", "Point", {"": build_marker(_BLUE, 2.2, "triangle")}),
    Style("cameras", "摄像机 Cameras", "Point", {"": build_marker("106,61,154,255", 1.4)}, shown=False),
    Style(
        "rings",
        "控制圈 Rings",
        "MultiPolygon",
        {level: build_fill(_CLEAR, "35,35,35,255", _WIDTHS[level]) for level in LEVELS},
        "level",
        words=_LEVEL_WORDS,
    ),
    Style("roads", "道路 Roads", "LineString", {"": build_line("170,170,170,255", 0.35)}),
    Style(
        "fields-of-view",
        "视域 Fields of view",
        "MultiPolygon",
        {"": build_fill("31,120,180,60", "31,120,180,140", 0.1)},
        role="analyst",
    ),
)
"""The layers from the top of the map down."""


def render_project(base: str, principal: Principal, served: Sequence[str]) -> str:
    """Return the project file for a caller; ``base`` is the URL of the landing page.

    Layers the caller has no right to, or that are not served, are left out.
    """
    visible = [s for s in STYLES if s.collection in served and principal.has_role(s.role)]
    root = ElementTree.Element("qgis", {"version": "3.22.0", "projectname": "coverage"})
    ElementTree.SubElement(root, "title").text = "Checkpoint coverage 卡口覆盖"
    add_crs(ElementTree.SubElement(root, "projectCrs"), "EPSG:3857")
    tree = ElementTree.SubElement(root, "layer-tree-group")
    layers = ElementTree.SubElement(root, "projectlayers")
    for style in visible:
        ElementTree.SubElement(
            tree,
            "layer-tree-layer",
            {
                "id": build_layer_id(style),
                "name": style.title,
                "providerKey": "OAPIF",
                "source": build_source(base, style),
                "checked": "Qt::Checked" if style.shown else "Qt::Unchecked",
                "expanded": "1" if style.attribute else "0",
            },
        )
        layers.append(build_layer(base, style))
    text = ElementTree.tostring(root, encoding="unicode")
    return f"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n{text}"


def render_style(collection: str) -> str | None:
    """Return the QML style of one collection, None when it has none of its own."""
    result = next((style for style in STYLES if style.collection == collection), None)
    if result is None:
        return None
    root = ElementTree.Element("qgis", {"version": "3.22.0", "styleCategories": "Symbology|Labeling"})
    root.append(build_renderer(result))
    add_labels(root, result)
    return "<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + ElementTree.tostring(
        root, encoding="unicode"
    )


def build_layer_id(style: Style) -> str:
    # QGIS gives a layer with an id of ten letters or less another one, and the tree loses it.
    """Return the id of a layer."""
    return f"coverage_registry_{style.collection.replace('-', '_')}"


def build_source(base: str, style: Style) -> str:
    """Return the data source text of a layer."""
    return (
        f" pagingEnabled='true' restrictToRequestBBOX='1' srsname='EPSG:4326' "
        f"typename='{style.collection}' url='{base}' version='OGC_API_FEATURES'"
    )


def build_layer(base: str, style: Style) -> ElementTree.Element:
    """Return the XML element of a layer."""
    kind = {"Point": "Point", "LineString": "Line", "MultiPolygon": "Polygon"}[style.geometry]
    layer = ElementTree.Element("maplayer", {"type": "vector", "geometry": kind, "wkbType": style.geometry})
    ElementTree.SubElement(layer, "id").text = build_layer_id(style)
    ElementTree.SubElement(layer, "datasource").text = build_source(base, style)
    ElementTree.SubElement(layer, "layername").text = style.title
    add_crs(ElementTree.SubElement(layer, "srs"), "EPSG:4326")
    provider = ElementTree.SubElement(layer, "provider", {"encoding": "UTF-8"})
    provider.text = "OAPIF"
    layer.append(build_renderer(style))
    add_labels(layer, style)
    return layer


def add_crs(parent: ElementTree.Element, authority: str) -> None:
    """Add the element of a coordinate reference system."""
    system = ElementTree.SubElement(parent, "spatialrefsys")
    # QGIS believes the definition, not the number: a system without one is none.
    ElementTree.SubElement(system, "wkt").text = pyproj.CRS.from_user_input(authority).to_wkt()
    ElementTree.SubElement(system, "srid").text = authority.partition(":")[2]
    ElementTree.SubElement(system, "authid").text = authority


def build_renderer(style: Style) -> ElementTree.Element:
    """Return the element that draws the classes of a layer."""
    sorted_out = bool(style.attribute)
    attributes = {"type": "categorizedSymbol" if sorted_out else "singleSymbol"}
    if sorted_out:
        attributes["attr"] = style.attribute
    renderer = ElementTree.Element("renderer-v2", attributes)
    if sorted_out:
        categories = ElementTree.SubElement(renderer, "categories")
        for number, value in enumerate(style.symbols):
            label = style.words.get(value, value)
            ElementTree.SubElement(
                categories,
                "category",
                {"symbol": str(number), "value": value, "label": label, "render": "true"},
            )
    symbols = ElementTree.SubElement(renderer, "symbols")
    for number, symbol in enumerate(style.symbols.values()):
        drawn = ElementTree.SubElement(symbols, "symbol", {"name": str(number), "type": symbol.geometry, "alpha": "1"})
        layer = ElementTree.SubElement(drawn, "layer", {"class": symbol.layer_class, "enabled": "1", "pass": "0"})
        options = ElementTree.SubElement(layer, "Option", {"type": "Map"})
        for name, value in symbol.options.items():
            ElementTree.SubElement(options, "Option", {"type": "QString", "name": name, "value": value})
            ElementTree.SubElement(layer, "prop", {"k": name, "v": value})
    return renderer


def add_labels(layer: ElementTree.Element, style: Style) -> None:
    """Add the labels of a layer."""
    layer.set("labelsEnabled", "1" if style.label else "0")
    if not style.label:
        return
    labeling = ElementTree.SubElement(layer, "labeling", {"type": "simple"})
    settings = ElementTree.SubElement(labeling, "settings")
    words = ElementTree.SubElement(
        settings,
        "text-style",
        {
            "fieldName": style.label,
            "isExpression": "1",
            "fontSize": "8",
            "fontSizeUnit": "Point",
            "textColor": "120,20,10,255",
            "multilineHeight": "1",
        },
    )
    ElementTree.SubElement(words, "text-buffer", {"bufferDraw": "1", "bufferSize": "0.8", "bufferColor": _WHITE})
    ElementTree.SubElement(settings, "placement", {"placement": "0", "dist": "1.5"})
    # QGIS has the denominator of the closest view in "scaleMin", that of the farthest in "scaleMax".
    ElementTree.SubElement(
        settings,
        "rendering",
        {
            "scaleVisibility": "1" if style.labels_from_scale else "0",
            "scaleMin": "0",
            "scaleMax": str(style.labels_from_scale),
        },
    )
