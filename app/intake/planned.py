"""How a file is read, once that is decided: fields, the columns they come from, and what is told of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from app.intake import cells
from app.intake.options import Key, Options
from app.intake.places import Place
from app.intake.readers import Reader
from app.intake.targets import LANE, LANES, Field, Kind


@dataclass(frozen=True)
class Note:
    """Something the sender should know about how the file is read."""

    code: str
    message: str
    message_zh: str


@dataclass(frozen=True, eq=False)
class Feed:
    """One field and the column, or columns, it is read from."""

    columns: tuple[str, ...]
    field: Field
    why: str
    """``mapping``, ``profile`` or ``heading``."""
    reader: Reader
    code_list: str | None = None
    unit: str | None = None

    @property
    def joint(self) -> str:
        """What stands between the cells of several columns."""
        return "-" if self.field.form == "code" else " "

    @property
    def unit_counts(self) -> bool:
        """Whether the unit of the heading is another than the field's own."""
        return cells.units_of(self.field.name).get(self.unit or "", 1.0) != 1.0

    def view(self) -> dict[str, Any]:
        """Return what the report says about it."""
        told = {"columns": list(self.columns), "field": self.field.name, "why": self.why}
        more = {"code_list": self.code_list, "unit": self.unit}
        return told | {name: value for name, value in more.items() if value is not None}


@dataclass(frozen=True, eq=False)
class Plan:
    """How a file is read."""

    options: Options
    kind: Kind
    profile: str
    feeds: tuple[Feed, ...]
    place: Place
    defaults: Mapping[str, Any]
    ignored: Mapping[str, str]
    """Column to the reason it is not read."""
    dropped: tuple[str, ...]
    notes: tuple[Note, ...] = ()
    profile_detected: bool = False
    recognised: str = "native"
    """The built-in profile the sender names, or the file speaks for."""
    missing: tuple[str, ...] = ()
    """Fields a record needs and the file does not give: its rows are parts of registered records."""
    assumed: frozenset[str] = frozenset()
    """Fields that only the default of a built-in profile gives: they are for new records."""
    columns: tuple[str, ...] = field(default=())

    @cached_property
    def fields(self) -> frozenset[str]:
        """Fields of the record that the file or a default of its sender gives."""
        fed = {feed.field.name for feed in self.feeds} | set(self.defaults) - self.assumed
        if "resolution" in fed:
            fed |= {"horizontal_pixels", "vertical_pixels"}
        if any(name == "lane" or name.startswith(LANE) for name in fed):
            fed.add(LANES)
        return frozenset(fed & set(self.kind.fields)) | ({"geometry"} if self.placed else set())

    @property
    def placed(self) -> bool:
        """Whether rows have a place."""
        return bool(self.kind.shapes) and self.place.mode != "none"

    @cached_property
    def lane_members(self) -> frozenset[str]:
        """Members of a lane that the file or a default gives."""
        names = {feed.field.name for feed in self.lane_feeds} | set(self.defaults)
        lane = {name for name in names if name == "lane" or name.startswith(LANE)}
        return frozenset(name.removeprefix(LANE) for name in lane)

    @property
    def merges_lanes(self) -> bool:
        """Whether lanes are put among those that are registered, by their number."""
        return self.grouped and bool(self.missing)

    @cached_property
    def lane_feeds(self) -> tuple[Feed, ...]:
        """Feeds of the fields of one lane."""
        return tuple(
            f for f in self.feeds if f.field.name == "lane" or f.field.name.startswith(LANE)
        )

    @cached_property
    def own_feeds(self) -> tuple[Feed, ...]:
        """Feeds of the fields of the record itself."""
        return tuple(feed for feed in self.feeds if feed not in self.lane_feeds)

    @property
    def grouped(self) -> bool:
        """Whether rows are lanes, several of which make one checkpoint."""
        return bool(self.lane_feeds)

    @property
    def key(self) -> Key:
        """What makes a row the record it updates."""
        return self.options.key

    def describe(self) -> dict[str, Any]:
        """Return the plan as JSON for the report."""
        return {
            "kind": self.kind.name,
            "profile": self.profile,
            "profile_detected": self.profile_detected,
            "key": self.key,
            "columns": [feed.view() for feed in self.feeds],
            "geometry": self.place.view(),
            "defaults": dict(self.defaults),
            "ignored": [{"column": name, "why": why} for name, why in self.ignored.items()],
            "dropped": list(self.dropped),
            "missing": list(self.missing),
            "notes": [vars(note) for note in self.notes],
        }
