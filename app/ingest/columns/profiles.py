"""What travels about imports: a named profile says how the columns of one source are to be read."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints, model_validator
from pydantic_core import PydanticCustomError

from app.models.fields import Line

ImportKind = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z_-]{0,39}$")]
"""A kind of record, or ``ring`` or ``state``; the plural of its route is taken too."""

Header = Annotated[str, StringConstraints(min_length=1, max_length=200)]
"""A column as the file names it."""

Target = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_]{0,63}(@[a-z0-9_]{1,40})?$")]
"""A field, or ``field@list`` where the column uses a code list of its own."""

CodeList = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,40}$")]


class Stored(BaseModel):
    """What is kept in the database as it was sent, which cannot hold the character NUL."""

    @model_validator(mode="before")
    @classmethod
    def _without_nul(cls, given: object) -> object:
        left = [given]
        while left:
            one = left.pop()
            if isinstance(one, str) and "\x00" in one:
                raise PydanticCustomError("control-characters", "control characters are not allowed")
            if isinstance(one, dict):
                left += [*one, *one.values()]
            elif isinstance(one, list):
                left += one
        return given


class Profile(Stored):
    """How the files of one source are read: columns, values, code lists, datum, defaults."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")] = Field(
        description="Name to ask for it by."
    )
    title_zh: Line | None = Field(None, description="What it is, in Chinese.")
    title_en: Line | None = Field(None, description="What it is, in English.")
    kind: ImportKind | None = Field(None, description="Kind of record; none: any.")
    columns: dict[Header, Target | None] = Field(
        default_factory=dict,
        max_length=500,
        description="Column to field, or to `field@list` where the column uses a code list of its "
        "own; null: leave the column out.",
    )
    values: dict[Target, dict[str, JsonValue]] = Field(
        default_factory=dict,
        max_length=200,
        description="Field to what its cells mean: cell text to the value of the field.",
    )
    code_lists: dict[str, CodeList] = Field(
        default_factory=dict,
        max_length=50,
        description="Topic (direction, function, ...) to the code list its codes are of.",
    )
    crs: Annotated[str, StringConstraints(min_length=1, max_length=100)] | None = Field(
        None, description="CRS or datum of the coordinates: EPSG:2326, gcj02, bd09 ..."
    )
    defaults: dict[Target, JsonValue] = Field(
        default_factory=dict,
        max_length=100,
        description="Values of fields where the cell is blank.",
    )
    drop_columns: list[Header] = Field(
        default_factory=list,
        max_length=500,
        description="Columns that are never read, as a file with personal content needs.",
    )
    key: Literal["code", "owner_reference"] | None = Field(None, description="What makes a row the record it updates.")

    @model_validator(mode="after")
    def _speaks_once(self) -> "Profile":
        for column in self.drop_columns:
            if self.columns.get(column) is not None:
                raise PydanticCustomError(
                    "dropped-and-used",
                    "column '{column}' is dropped and used at once",
                    {"column": column, "member": "drop_columns"},
                )
        return self
