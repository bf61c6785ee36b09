"""Parameters of the path and the query that several resources share."""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any, Final, Literal

from fastapi import Path, Query

from app.models.fields import Instant
from app.models.vocabulary import (
    Category,
    CheckpointKind,
    Function,
    Level,
    Lifecycle,
    RoadClass,
    State,
    Structure,
    Zone,
)
from app.records.kinds import Kind

_CODE_PATTERN = r"^[A-Za-z0-9._:\-]{1,64}$"
_DIVISION_PATTERN = "^[0-9]{6}$"

JurisdictionPath = Annotated[str, Path(pattern=_DIVISION_PATTERN, description="Division code.")]
CodePath = Annotated[str, Path(pattern=_CODE_PATTERN, description="Code of the record.")]
ControlPointPath = Annotated[str, Path(pattern=_CODE_PATTERN, description="Code of the control point.")]

JurisdictionQuery = Annotated[
    str | None, Query(pattern=_DIVISION_PATTERN, description="Division code of the jurisdiction.")
]
CodeQuery = Annotated[str | None, Query(pattern=_CODE_PATTERN, description="Code the records carry there.")]
TextQuery = Annotated[str | None, Query(min_length=1, max_length=100, description="Part of code, name or address.")]
UpdatedSinceQuery = Annotated[
    Instant | None,
    Query(description="Changed at or after this instant; state reports do not count."),
]
AsOfQuery = Annotated[Instant | None, Query(description="Answer as of this instant (RFC 3339).")]
ZoneQuery = Annotated[Zone | None, Query(description="Innermost ring it lies in.")]
CategoryQuery = Annotated[Category | None, Query(description="Category of control point.")]
LevelQuery = Annotated[Level | None, Query(description="Ring of an open crossing.")]
OnlyGeoJsonQuery = Annotated[Literal["geojson"] | None, Query(alias="f", description="GeoJSON is the one format.")]


def create_query_dependency(queries: Mapping[str, Any]) -> Callable[..., Awaitable[dict[str, Any]]]:
    """Return a dependency whose result holds one optional query parameter for each name and annotation."""

    async def read_queries(**values: Any) -> dict[str, Any]:
        return values

    read_queries.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # FastAPI and the call plan read it
        [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for name, annotation in queries.items()
        ]
    )
    return read_queries


FILTER_QUERIES: Final[Mapping[str, Any]] = {
    "zone": ZoneQuery,
    "category": CategoryQuery,
    "road_class": Annotated[RoadClass | None, Query(description="Class of the road.")],
    "group": CodeQuery,
    "function": Annotated[Function | None, Query(description="What the device can do.")],
    "lifecycle": Annotated[Lifecycle | None, Query(description="What a person decided about it.")],
    "state": Annotated[State | None, Query(description="What it reads as now; unknown when silent for too long.")],
    "control_point": CodeQuery,
    "kind": Annotated[CheckpointKind | None, Query(description="Kind of checkpoint.")],
    "structure": Annotated[Structure | None, Query(description="Build of the camera.")],
    "checkpoint": CodeQuery,
}
"""The query parameters that filter a list of records by a field."""


def create_filter_dependency(kind: Kind) -> Callable[..., Awaitable[dict[str, Any]]]:
    """Return the dependency that reads the filters of a kind."""
    common = {name: query for name, query in FILTER_QUERIES.items() if name in kind.filters}
    own = {name: _build_filter_query(kind, name) for name in sorted(kind.filters - common.keys())}
    return create_query_dependency(common | own)


def _build_filter_query(kind: Kind, name: str) -> Any:
    """Return the query parameter of a filter that only this kind has: values as in its field."""
    field = kind.draft.model_fields[name]
    return Annotated[field.annotation | None, Query(description=field.description)]  # type: ignore[operator]  # a type
