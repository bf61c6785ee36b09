"""The collections of the OGC interface, as data.

A collection of records has the fields of the view of its kind. A computed collection lists its properties here.
"""

from typing import Final, get_args

from app.models.vocabulary import CATEGORIES, LEVELS, STATUSES, ZONES, Datum, Level, RoadClass
from app.ogc.collection_model import Collection, Property, build_kind_collection, list_model_properties
from app.records import kinds
from app.records.drafts import RingDraft, VersionFields

# Computed collections: results of the analysis as features.

_CONTROL_POINT_PROPERTIES: Final = (
    Property("code", "text", "Code of the control point.", role="id", refers_to="control-points"),
    Property("jurisdiction", "text", "Division code of the jurisdiction."),
    Property("name_zh", "text", "Name in Chinese."),
    Property("name_en", "text", "Name in English."),
    Property("category", "text", "What kind of place it is.", CATEGORIES),
    Property("zone", "text", "Innermost ring that contains it.", ZONES),
    Property("status", "text", "How it is covered; `open`: a crossing.", (*STATUSES, "open")),
)

DIRECTIONS: Final = ("inbound", "outbound")
_OF_ROAD: Final = (
    Property("road_group", "text", "Group of the road that crosses."),
    Property("road_number", "text", "Number of the road."),
    Property("road_class", "text", "Class of the road.", get_args(RoadClass)),
)

COVERAGE: Final = Collection(
    id="coverage",
    title_zh="控制点覆盖",
    title_en="Coverage of control points",
    description="Every control point with its coverage status and, for each need, what counts and what does not.",
    properties=(
        *_CONTROL_POINT_PROPERTIES,
        Property("needs", "json", "What it needs, what counts, and what does not."),
    ),
    shapes=("Point", "Polygon", "MultiPolygon"),
    computed=True,
)

GAPS: Final = Collection(
    id="gaps",
    title_zh="覆盖缺口",
    title_en="Coverage gaps",
    description="What is not covered, each with its reasons and what would fix it.",
    properties=(
        *_CONTROL_POINT_PROPERTIES,
        Property("type", "text", "Kind of gap.", ("control_point", "crossing", "area")),
        Property("level", "text", "Ring of an open crossing.", LEVELS),
        *_OF_ROAD,
        Property("missing_directions", "words", "Directions nothing guards.", DIRECTIONS),
        Property("reason", "text", "Main reason."),
        Property("reasons", "words", "Every reason."),
        Property("missing", "json", "The needs that are not met."),
        Property("nearest_code", "text", "Nearest device that could serve."),
        Property("nearest_distance_m", "number", "How far it is."),
        Property("fix", "text", "What would fix it."),
    ),
    shapes=("Point", "LineString", "Polygon", "MultiPolygon"),
    computed=True,
)

CROSSINGS: Final = Collection(
    id="crossings",
    title_zh="过界路口",
    title_en="Crossings",
    description="Where roads cross the rings: guarded, open or waived, by direction.",
    properties=(
        Property("code", "text", "Name of the crossing.", role="id"),
        Property("jurisdiction", "text", "Division code of the jurisdiction."),
        Property("level", "text", "Ring it crosses.", LEVELS),
        Property("status", "text", "Whether it is guarded.", ("guarded", "open", "waived")),
        Property("guarded", "boolean", "Every direction is guarded."),
        Property("name_zh", "text", "Name of the road in Chinese."),
        Property("name_en", "text", "Name of the road in English."),
        *_OF_ROAD,
        Property("grade", "text", "On a bridge, in a tunnel, or level.", ("bridge", "tunnel", "level")),
        Property("directions", "words", "Directions traffic can take.", DIRECTIONS),
        Property("missing_directions", "words", "Directions nothing guards.", DIRECTIONS),
        Property("inbound_bearing_deg", "number", "Travel bearing of inbound traffic."),
        Property("passages", "integer", "Carriageways and slip roads that pass there."),
        Property("control_points", "words", "Control points that represent it."),
        Property("same_place", "words", "Crossings of other rings in the same place."),
        Property("needs", "json", "For each direction what guards it, or why nothing does."),
        Property("waiver", "json", "Why it need not be guarded, and until when."),
    ),
    shapes=("Point",),
    computed=True,
)

FIELDS_OF_VIEW: Final = Collection(
    id="fields-of-view",
    title_zh="摄像机视域",
    title_en="Fields of view",
    description="What every camera sees of the ground, cut by buildings where those are registered.",
    properties=(
        Property("code", "text", "Code of the camera.", role="id", refers_to="cameras"),
        Property("jurisdiction", "text", "Division code of the jurisdiction."),
        Property(
            "basis",
            "text",
            "Where its extent comes from.",
            ("stated", "optics", "assumed", "drawn"),
        ),
        Property("range_m", "number", "How far it sees."),
        Property("near_m", "number", "Blind zone in front of it."),
        Property("azimuth_deg", "number", "Direction of the optical axis; null: all round."),
        Property("opening_deg", "number", "Horizontal opening angle."),
        Property("opening_assumed", "boolean", "The opening is not stated."),
        Property("px_per_m", "number", "Pixel density at its far end."),
        Property("standing", "text", "Where it stands.", ("free", "wall", "roof", "indoors")),
        Property("area_m2", "number", "Ground it sees."),
        Property("open_area_m2", "number", "The same without buildings."),
        Property("cut_ratio", "number", "Share buildings take away."),
        Property("cut_by", "words", "Buildings that take something away."),
        Property("working", "boolean", "In use, online, and reported recently enough."),
    ),
    shapes=("Polygon", "MultiPolygon"),
    computed=True,
)

AREA_GAPS: Final = Collection(
    id="area-gaps",
    title_zh="视域空白",
    title_en="Ground no camera sees",
    description="Pieces of the zones that no working camera sees, of 100 m2 and more.",
    properties=(
        Property("code", "text", "Name of the piece, as long as nothing changes.", role="id"),
        Property("jurisdiction", "text", "Division code of the jurisdiction."),
        Property("zone", "text", "Zone it lies in.", ZONES),
        Property("area_m2", "number", "Its area."),
        Property("reason", "text", "Why it is a gap."),
        Property("fix", "text", "What would fix it."),
    ),
    shapes=("Polygon", "MultiPolygon"),
    computed=True,
)

LEAKS: Final = Collection(
    id="leaks",
    title_zh="漏口路线",
    title_en="Leaks",
    description="Drivable routes across a ring that meet no working vehicle checkpoint, no two over the same road.",
    properties=(
        Property("code", "text", "Name of the route, as long as nothing changes.", role="id"),
        Property("jurisdiction", "text", "Division code of the jurisdiction."),
        Property("level", "text", "Ring; `through`: all of them.", (*LEVELS, "through")),
        Property("direction", "text", "Into the ring or out of it.", DIRECTIONS),
        Property("rank", "integer", "1 is the shortest."),
        Property("length_m", "number", "Length of the route."),
        Property("roads", "words", "Codes of the roads it runs over, in order."),
        Property("crossings", "json", "Crossings it uses."),
    ),
    shapes=("LineString",),
    computed=True,
)

COMPUTED_COLLECTIONS: Final = (COVERAGE, CROSSINGS, GAPS, FIELDS_OF_VIEW, AREA_GAPS, LEAKS)
"""Every collection of answers; ``app.ogc.analysis_features`` says where their features come from."""


class _RingView(RingDraft, VersionFields):  # type: ignore[misc]  # pydantic merges the configs
    """A ring boundary as an OGC feature."""

    level: Level
    datum_received: Datum


RINGS: Final = Collection(
    id="rings",
    title_zh="控制圈",
    title_en="Control rings",
    description="Boundaries in force of the three control rings: city border, urban area, main core.",
    properties=(
        Property("code", "text", "Jurisdiction and level.", role="id", kept=True),
        *list_model_properties(_RingView, RingDraft),
        Property("vertices", "integer", "Vertices of the boundary.", kept=True),
    ),
    shapes=("MultiPolygon",),
    writes=("POST", "PUT", "PATCH", "DELETE"),
    interval=("valid_from", None),
)

COLLECTIONS: Final[tuple[Collection, ...]] = (
    *(build_kind_collection(kind) for kind in kinds.KINDS if kind.has_geometry),
    RINGS,
    *COMPUTED_COLLECTIONS,
)
"""Every collection, in the order they are listed."""

BY_ID: Final = {collection.id: collection for collection in COLLECTIONS}
