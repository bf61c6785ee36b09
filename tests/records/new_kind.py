"""Declares a kind of record that the service does not have, serves it, and uses it in every way.

Run as a program by `test_new_kind.py`, because a kind is declared before anything reads the declarations:

    python -m tests.records.new_kind DATABASE_URL SUPERUSER_URL FOLDER
"""

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import httpx
from pydantic import Field as Rule
from shapely.geometry.base import BaseGeometry
from sqlalchemy import Double, Text, text
from sqlmodel import Field

from app.models import fields, tables
from app.models.columns import RecordKeeping, Shape, WithDocument
from app.models.fields import Identified, Metres
from app.records import kinds
from app.records.drafts import Draft
from app.records.geojson import Point

# 1. app/models/fields.py: the fields and their titles.


class BollardFields(Identified):
    """A bollard that closes a road to vehicles."""

    colour: Literal["red", "white"] = Field(sa_type=Text, description="Colour.")
    bollard_height_m: Annotated[Metres, Rule(gt=0)] | None = Field(
        default=None, sa_type=Double, description="Height above the ground."
    )


fields.TITLES_ZH["bollard_height_m"] = "柱高"

# 2. app/models/tables.py: the table.


class Bollard(BollardFields, RecordKeeping, WithDocument, table=True):
    """A bollard."""

    __tablename__ = "bollard"
    __table_args__ = tables.build_record_constraints("bollard")

    geometry: BaseGeometry = Field(sa_type=Shape("POINT"))

    model_config = {"arbitrary_types_allowed": True}  # noqa: RUF012  # pydantic's way


# 3. app/records/kinds.py: the draft and the declaration.


class BollardDraft(BollardFields, Draft):  # type: ignore[misc]  # pydantic merges the configurations
    """A bollard as a client sends it."""

    kind_name: ClassVar[str] = "bollard"
    geometry: Point = Field(description="Where it is.")


BOLLARD = kinds.Kind(
    name="bollard",
    plural="bollards",
    title="bollard",
    draft=BollardDraft,
    label_zh="路桩",
    label_en="Bollards",
    description="Bollards that close roads to vehicles.",
    filters=frozenset({"colour"}),
    tile_properties=("colour",),
)
kinds.KINDS = (*kinds.KINDS, BOLLARD)  # type: ignore[assignment]  # one more
kinds.BY_NAME["bollard"] = BOLLARD


async def use(url: str, superuser_url: str, folder: Path) -> None:
    """Serve the kind and use it."""
    from app.db.engine import Database
    from tests.conftest import make_key, open_client, settings_for

    superuser = Database(superuser_url, pool_size=2)
    database = Database(url, pool_size=2)
    try:
        await create_table(superuser)
        async with open_client(settings_for(url, folder)) as client:
            client.headers.update(await make_key(database, "admin"))
            await use_routes(client)
            await use_gis_interface(client)
            await use_files(client)
    finally:
        await drop_table(superuser)
        await superuser.close()
        await database.close()


async def create_table(superuser: Any) -> None:
    """Create the table and its triggers, as a generated migration does."""
    from sqlmodel import SQLModel

    from app.db.record_triggers import split_statements
    from app.records.queries.triggers import declared_triggers

    (triggers,) = [declared for declared in declared_triggers() if declared.table == "bollard"]
    async with superuser.engine.begin() as connection:
        await connection.execute(text("SET ROLE registry"))
        await connection.run_sync(lambda sync: SQLModel.metadata.tables["bollard"].create(sync))
        for statement in split_statements(triggers.to_sql()):
            await connection.exec_driver_sql(statement)


async def drop_table(superuser: Any) -> None:
    """Remove the table, its functions and its history."""
    async with superuser.engine.begin() as connection:
        await connection.execute(text("DROP TABLE IF EXISTS bollard CASCADE"))
        names = await connection.execute(
            text("SELECT oid::regprocedure::text FROM pg_proc WHERE proname LIKE 'registry\\_%bollard'")
        )
        for (name,) in names.all():
            await connection.exec_driver_sql(f"DROP FUNCTION {name}")


async def use_routes(client: httpx.AsyncClient) -> None:
    """Write, read, filter and ask for the history."""
    from tests import builders

    assert (await client.put(f"/v1/jurisdictions/{builders.CITY}", json=builders.jurisdiction())).status_code == 201
    record = {"jurisdiction": builders.CITY, "colour": "red", "bollard_height_m": 0.8, "geometry": builders.point()}
    created = await client.put("/v1/bollards/b-1", json=record)
    assert created.status_code == 201, created.text
    changed = await client.patch("/v1/bollards/b-1", json={"colour": "white"}, headers=builders.MERGE_PATCH)
    assert (changed.status_code, changed.json()["colour"]) == (200, "white")
    assert (await client.put("/v1/bollards/b-2", json=record | {"colour": "green"})).status_code == 422
    for colour, count in (("white", 1), ("red", 0)):
        page = (await client.get("/v1/bollards", params={"colour": colour})).json()
        assert len(page["items"]) == count
    history = (await client.get("/v1/bollards/b-1/history")).json()["items"]
    assert [entry["operation"] for entry in history] == ["update", "create"]
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert {"/v1/bollards", "/v1/bollards/{code}", "/v1/bollards:batch"} <= paths.keys()


async def use_gis_interface(client: httpx.AsyncClient) -> None:
    """Read the collection, its schema, an item through a filter, and a tile."""
    collection = (await client.get("/ogc/collections/bollards")).json()
    assert "路桩" in collection["title"]
    schema = (await client.get("/ogc/collections/bollards/schema")).json()
    assert "柱高" in schema["properties"]["bollard_height_m"]["title"]
    query = {"filter": "bollard_height_m > 0.5 AND colour = 'white'"}
    items = (await client.get("/ogc/collections/bollards/items", params=query)).json()
    assert [feature["id"] for feature in items["features"]] == ["b-1"]
    tile = await client.get("/ogc/collections/bollards/tiles/WebMercatorQuad/0/0/0")
    assert tile.status_code == 200, tile.text
    assert b"colour" in tile.content


async def use_files(client: httpx.AsyncClient) -> None:
    """Import a sheet with Chinese headings, and export what is registered."""
    from tests.imports.files import brought

    sheet = "编码,colour,柱高(米),经度,纬度\nb-1,white,0.9,113.2,35.2\nb-3,red,1.1,113.21,35.21\n"
    job = await brought(client, sheet.encode(), name="bollards.csv", kind="bollard")
    assert (job["counts"]["created"], job["counts"]["updated"]) == (1, 1), job
    template = await client.get("/v1/import-templates/bollard.csv")
    assert template.status_code == 200, template.text
    export = await client.get("/v1/exports/bollards.csv", params={"jurisdiction": "410800"})
    assert export.status_code == 200, export.text
    assert "b-3" in export.text


if __name__ == "__main__":
    asyncio.run(use(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
