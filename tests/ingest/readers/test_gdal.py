"""Files of GIS programs: typed columns as text, shapes in the file's CRS, encodings of Shapefiles."""

import datetime as dt
import json
import shutil
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import geopandas
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyogrio
import pytest
import shapely

from app.errors import Invalid
from tests.ingest.readers.files import read

POINTS = [shapely.Point(430966.9, 3898808.8), shapely.Point(430967, 3898809), None]


def build_frame(**more: Any) -> geopandas.GeoDataFrame:
    columns = {
        "code": ["41080000001320000001", "A2", None],
        "名称": ["东门", "西\u3000门 ", "路"],
        "whole": pd.array([2**60 + 1, None, 5], dtype="Int64"),
        "real": [90.0, 0.1, 4.108e19],
        "seen": pd.to_datetime(["2024-01-02T03:04:05", None, None]),
        **more,
    }
    return geopandas.GeoDataFrame(columns, geometry=POINTS, crs=4547)


@pytest.mark.parametrize(("ending", "kind"), [("gpkg", "gpkg"), ("fgb", "fgb"), ("parquet", "parquet")])
def test_typed_columns_come_as_text(tmp_path: Path, ending: str, kind: str) -> None:
    path = tmp_path / f"x.{ending}"
    table = build_frame() if kind != "fgb" else build_frame().iloc[:2]  # FlatGeobuf cannot hold a null shape
    if kind == "parquet":
        table.to_parquet(path)
    else:
        table.to_file(path, **({"SPATIAL_INDEX": "NO"} if kind == "fgb" else {}))
    result = read(path.rename(tmp_path / "upload"), at_once=2)
    assert (result.detected.format, result.detected.crs) == (kind, "EPSG:4547")
    count = len(table)
    assert result.numbers == list(range(1, count + 1))
    assert result.column("code") == ["41080000001320000001", "A2", None][:count]
    assert result.column("名称") == ["东门", "西 门", "路"][:count]
    assert result.column("whole") == ["1152921504606846977", None, "5"][:count]
    assert result.column("real") == ["90", "0.1", "4.1080000000000E+19"][:count]
    assert result.column("seen") == ["2024-01-02T03:04:05", None, None][:count]
    assert result.shapes == POINTS[:count]


def test_layers_of_a_geopackage(tmp_path: Path) -> None:
    path = tmp_path / "x.gpkg"
    pyogrio.write_dataframe(pd.DataFrame({"note": ["x"]}), path, layer="about")
    build_frame().to_file(path, layer="相机", mode="a")
    build_frame().iloc[:1].to_file(path, layer="two", mode="a")
    result = read(path)
    assert (result.detected.layer, result.detected.layers) == ("相机", ("相机", "two", "about"))
    assert len(read(path, layer="two").rows) == 1
    about = read(path, layer="about")
    assert (about.rows, about.detected.geometry, about.detected.crs) == (
        [{"note": "x"}],
        False,
        None,
    )
    with pytest.raises(Invalid) as rejection:
        read(path, layer="none")
    assert rejection.value.code == "unknown-layer"


def test_binary_columns_keep_their_name_and_lose_their_content(tmp_path: Path) -> None:
    path = tmp_path / "x.gpkg"
    build_frame().to_file(path, layer="a")
    with sqlite3.connect(path) as database:
        for trigger in database.execute(
            "SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'a'"
        ).fetchall():
            database.execute(f'DROP TRIGGER "{trigger[0]}"')
        database.execute("ALTER TABLE a ADD COLUMN photo BLOB")
        database.execute("UPDATE a SET photo = x'FFD8'")
    database.close()
    assert read(path).column("photo") == [None, None, None]


def shapefile(folder: Path, codec: str, *, claim: str | None = None, **more: Any) -> Path:
    """A zipped Shapefile; `claim` replaces what its .cpg says, "" leaves it out."""
    archive_file = folder / "made"
    archive_file.mkdir()
    day = [dt.date(2024, 1, 2), None, None]
    works = pd.array([True, False, None], dtype="boolean")
    table = build_frame(day=day, works=works, **more).drop(columns=["seen", "whole"])
    table.to_file(archive_file / "相机.shp", encoding=codec)
    side = archive_file / "相机.cpg"
    if claim is not None:
        side.unlink(missing_ok=True)
        if claim:
            side.write_text(claim)
    dbf = bytearray((archive_file / "相机.dbf").read_bytes())
    dbf[29] = 0  # no language driver
    (archive_file / "相机.dbf").write_bytes(dbf)
    path = folder / "x.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for batch_items in sorted(archive_file.iterdir()):
            archive.write(batch_items, f"资料/{batch_items.name}")
    shutil.rmtree(archive_file)
    return path


@pytest.mark.parametrize(("codec", "claim", "taken"), [
    ("GBK", None, "gb18030"), ("UTF-8", None, "utf-8"), ("GBK", "", "gb18030"), ("UTF-8", "", "utf-8"),
    ("GBK", "UTF-8", "gb18030"), ("GBK", "936", "gb18030"), ("UTF-8", "nonsense", "utf-8"),
])  # fmt: skip
def test_the_encoding_of_a_shapefile(tmp_path: Path, codec: str, claim: str | None, taken: str) -> None:
    result = read(shapefile(tmp_path, codec, claim=claim))
    assert (result.detected.format, result.detected.encoding) == ("shapefile", taken)
    assert (result.detected.layer, result.detected.crs) == ("相机", "EPSG:4547")
    assert result.column("名称") == ["东门", "西 门", "路"]
    assert result.column("code") == ["41080000001320000001", "A2", None]
    assert result.column("real") == ["90", "0.1", "4.1080000000000E+19"]
    assert result.column("day") == ["2024-01-02", None, None]
    assert result.column("works") == ["true", "false", None]
    assert result.shapes == POINTS
    assert bool(result.detected.notes) == ((codec, claim) != ("GBK", "936") and claim is not None)


def rewritten(path: Path, suffix: str, change: Any) -> Path:
    """The same zip with one part changed."""
    out = path.with_name("changed.zip")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(out, "w") as new:
        for info in old.infolist():
            content = old.read(info)
            if info.filename.endswith(suffix):
                content = change(content)
            if content is not None:
                new.writestr(info.filename, content)
    return out


def test_numbers_of_a_shapefile_keep_their_digits(tmp_path: Path) -> None:
    path = shapefile(tmp_path, "UTF-8", big=[1.0, 2.0, 3.0])
    with zipfile.ZipFile(path) as archive:
        dbf = archive.read("资料/相机.dbf")
    at = dbf.index(b"big")
    assert dbf[at + 11 : at + 12] == b"N"
    code = b"41080000001320000001".rjust(dbf[at + 16])
    first = dbf.rindex(b"1.000000000000000".rjust(dbf[at + 16]))
    result = read(rewritten(path, ".dbf", lambda old: old[:first] + code + old[first + len(code) :]))
    assert result.column("big") == ["41080000001320000001", "2", "3"]


def test_deleted_records_and_cut_texts(tmp_path: Path) -> None:
    def change(dbf: bytes) -> bytes:
        begin, record = int.from_bytes(dbf[8:10], "little"), int.from_bytes(dbf[10:12], "little")
        cut = dbf.replace("东门".encode("gbk"), "东门".encode("gbk")[:3] + b" ")
        return cut[: begin + record] + b"*" + cut[begin + record + 1 :]

    result = read(rewritten(shapefile(tmp_path, "GBK"), ".dbf", change), at_once=2)
    assert result.numbers == [1, 3]
    assert result.column("名称") == ["东", "路"]
    assert result.shapes == [POINTS[0], None]
    assert [(issue.row, issue.code) for issue in result.odd] == [(1, "cut-text")]


def test_a_shapefile_without_its_parts(tmp_path: Path) -> None:
    path = shapefile(tmp_path, "GBK")
    assert read(rewritten(path, ".prj", lambda _: None)).detected.crs is None
    assert read(rewritten(path, ".shx", lambda _: None)).shapes == POINTS
    with pytest.raises(Invalid) as rejection:
        read(rewritten(path, ".dbf", lambda _: None))
    assert rejection.value.code == "damaged-file"


def test_several_shapefiles_in_one_zip(tmp_path: Path) -> None:
    for name in ("links", "nodes"):
        build_frame().drop(columns=["seen"]).to_file(tmp_path / f"{name}.shp")
    path = tmp_path / "both.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for batch_items in sorted(tmp_path.glob("*.*")):
            if batch_items.suffix != ".zip":
                archive.write(batch_items, batch_items.name.upper())
    result = read(path)
    assert (result.detected.layer, result.detected.layers) == ("LINKS", ("LINKS", "NODES"))
    assert read(path, layer="NODES").detected.layer == "NODES"


def test_parquet_of_other_kinds(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    table = pa.table(
        {
            "code": pa.array(["A1", None]).dictionary_encode(),
            "exact": pa.array([41080000001320000001, None], pa.decimal128(20, 0)),
            "flags": [True, None],
            "single": pa.array([0.1, 3], pa.float32()),
            "lanes": [[{"no": 1}], None],
            "day": [dt.date(2024, 1, 2), None],
            "ids": pa.array([2**64 - 1, 0], pa.uint64()),
            "raw": [b"\xff\xd8", None],
        }
    )
    pq.write_table(table, path)
    result = read(path)
    assert result.rows[0] == {
        "code": "A1", "exact": "41080000001320000001", "flags": "true", "single": "0.1",
        "lanes": '[{"no":1}]', "day": "2024-01-02", "ids": "18446744073709551615", "raw": None,
    }  # fmt: skip
    assert result.rows[1]["single"] == "3"
    assert result.detected.geometry is False


def test_geoparquet_without_a_crs_is_lonlat(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    wkb = pa.array([shapely.to_wkb(shapely.Point(113, 35)), b"broken"])
    for about, crs in (({}, "EPSG:4326"), ({"crs": None}, None)):
        geo = {"primary_column": "shape", "columns": {"shape": {"encoding": "WKB", **about}}}
        table = pa.table({"shape": wkb}).replace_schema_metadata({"geo": json.dumps(geo)})
        pq.write_table(table, path)
        result = read(path)
        assert (result.detected.crs, result.shapes) == (crs, [shapely.Point(113, 35), None])
        assert [(issue.row, issue.code) for issue in result.odd] == [(2, "bad-geometry")]


@pytest.mark.parametrize("ending", ["gpkg", "fgb", "parquet"])
def test_a_file_that_is_cut_off_is_rejected(tmp_path: Path, ending: str) -> None:
    path = tmp_path / f"x.{ending}"
    table = geopandas.GeoDataFrame(
        {"code": [f"A{at}" * 50 for at in range(3000)]}, geometry=[POINTS[0]] * 3000, crs=4547
    )
    table.to_parquet(path) if ending == "parquet" else table.to_file(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(Invalid) as rejection:
        read(path)
    assert rejection.value.code in ("damaged-file", "unsupported-format")


@pytest.mark.parametrize(("statement", "codes_of"), [
    ("CREATE VIRTUAL TABLE outside USING VirtualOGR('{secret}')", "no such module"),
    ("CREATE VIEW outside AS SELECT 1 AS id, gdal_get_pixel_value('{secret}', 1, 'pixel', 0, 0) AS p",
     "not available"),
])  # fmt: skip
def test_a_database_cannot_make_gdal_open_other_files(tmp_path: Path, statement: str, codes_of: str) -> None:
    path = tmp_path / "x.gpkg"
    build_frame().to_file(path, layer="相机")
    kind, name = ("view", "outside") if "VIEW" in statement else ("table", "outside")
    with sqlite3.connect(path) as database:
        database.execute(
            "INSERT INTO gpkg_contents (table_name, data_type, identifier) VALUES ('outside', 'attributes', 'outside')"
        )
        database.execute("PRAGMA writable_schema=1")
        database.execute(
            "INSERT INTO sqlite_master (type, name, tbl_name, rootpage, sql) VALUES (?, ?, ?, 0, ?)",
            (kind, name, name, statement.format(secret=tmp_path / "secret.tif")),
        )
    database.close()
    with pytest.raises(Invalid) as rejection:
        read(path, layer="outside")
    assert codes_of in rejection.value.detail


def parquet(path: Path, columns: dict[str, Any], geo: Any = None) -> Path:
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata({"geo": json.dumps(geo)}) if geo else table, path)
    return path


LOCATIONS = [(113.24, 35.21), (113.25, 35.22)]


@pytest.mark.parametrize("name", ["geometry", "GEOM", "wkb_geometry"])
@pytest.mark.parametrize("geo", [
    None, {"primary_column": "gone", "columns": {"gone": {"encoding": "WKB"}}},
    {"primary_column": ["geometry"], "columns": {"geometry": "WKB"}}, {"columns": [1]},
])  # fmt: skip
def test_shapes_of_parquet_without_their_metadata(tmp_path: Path, name: str, geo: Any) -> None:
    wkb = [shapely.to_wkb(shapely.Point(location)) for location in LOCATIONS]
    result = read(parquet(tmp_path / "x.parquet", {"code": ["A", "B"], name: wkb}, geo))
    assert result.shapes == [shapely.Point(location) for location in LOCATIONS]
    assert (result.columns, result.detected.crs) == (("code",), None)
    assert "Set the option crs" in result.detected.notes[0]


def test_points_as_structures_and_bytes_that_are_not_shapes(tmp_path: Path) -> None:
    points = [{"x": x, "y": y} for x, y in LOCATIONS]
    result = read(parquet(tmp_path / "x.parquet", {"geometry": points}))
    assert result.shapes == [shapely.Point(location) for location in LOCATIONS]
    result = read(parquet(tmp_path / "y.parquet", {"geometry": [b"POINT (1 2)", b"x"]}))
    assert result.column("geometry") == ["POINT (1 2)", "x"]


def test_text_that_was_written_as_bytes(tmp_path: Path) -> None:
    """Older programs do not mark text as text; a picture stays out."""
    columns = {"code": [b"A1", None], "名称": ["东门".encode()] * 2, "raw": [b"\xff\xd8\xff", None]}
    result = read(parquet(tmp_path / "x.parquet", columns))
    assert result.rows[0] == {"code": "A1", "名称": "东门", "raw": None}
    assert read(
        parquet(tmp_path / "y.parquet", {"raw": pa.array([b"a\x00b"])})
    ).column("raw") == [None]  # fmt: skip


def test_two_columns_of_one_name_in_parquet(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["name", "name"])
    pq.write_table(table, tmp_path / "x.parquet")
    assert list(read(tmp_path / "x.parquet").rows[0].values()) == ["a", "b"]


@pytest.mark.parametrize("shape", [
    "POINT (1 2)", "LINESTRING (0 0, 1 2)", "POLYGON ((0 0, 4 0, 4 4, 0 0), (2 1, 3 1, 3 2, 2 1))",
    "MULTIPOINT (1 2, 3 4)", "MULTILINESTRING ((0 0, 1 1), (2 2, 3 3))",
    "MULTIPOLYGON (((0 0, 4 0, 4 4, 0 0)), ((5 5, 6 5, 6 6, 5 5)))",
])  # fmt: skip
@pytest.mark.parametrize("high", [False, True])
def test_native_encodings_of_geoparquet(tmp_path: Path, shape: str, high: bool) -> None:
    path = tmp_path / "x.parquet"
    flat = shapely.from_wkt(shape)
    stored = shapely.force_3d(flat, 7.0) if high else flat
    frame = geopandas.GeoDataFrame({"code": ["A", "B"]}, geometry=[stored, None], crs=4547)
    frame.to_parquet(path, geometry_encoding="geoarrow", schema_version="1.1.0")
    result = read(path)
    assert (result.shapes, result.detected.crs) == ([flat, None], "EPSG:4547")


def test_geoparquet_with_wkt(tmp_path: Path) -> None:
    geo = {"primary_column": "g", "columns": {"g": {"encoding": "WKT"}}}
    result = read(parquet(tmp_path / "x.parquet", {"g": ["POINT (1 2)", "POINT (", None]}, geo))
    assert result.shapes == [shapely.Point(1, 2), None, None]
    assert [issue.row for issue in result.odd] == [2]


def changed(path: Path, *statements: str) -> Path:
    """A GeoPackage with statements run on it, without the functions GDAL's triggers need."""
    with sqlite3.connect(path) as database:
        for trigger in database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall():
            database.execute(f'DROP TRIGGER "{trigger[0]}"')
        for statement in statements:
            database.execute(statement)
    database.close()
    return path


@pytest.mark.parametrize("batch", [1, 10])
def test_cells_of_another_type_in_a_geopackage(tmp_path: Path, batch: int) -> None:
    """SQLite keeps any value in any column; a code of twenty digits is not the largest integer."""
    path = tmp_path / "x.gpkg"
    table = build_frame(whole=[1, 2, 3], small=pd.array([1, 2, 3], "int32"), day=[dt.date(2024, 1, 2)] * 3)
    table.to_file(path, layer="a")
    changed(
        path,
        "UPDATE a SET whole = '41080000001320000001', real = '东', small = 3000000000, day = '2024/1/2' WHERE fid = 1",
        "UPDATE a SET whole = 'HA-1' WHERE fid = 2",
    )
    result = read(path, at_once=batch)
    assert result.column("whole") == ["4.108000000132e+19", "HA-1", "3"]
    assert result.column("real") == ["东", "0.1", "4.108e+19"]
    assert result.column("small") == ["3000000000", "2", "3"]
    assert result.column("day") == ["2024/1/2", "2024-01-02", "2024-01-02"]
    assert result.column("名称") == ["东门", "西 门", "路"]
    assert result.shapes == POINTS


def test_the_key_of_a_geopackage_is_a_column_unless_it_only_counts(tmp_path: Path) -> None:
    path = tmp_path / "x.gpkg"
    table = build_frame().drop(columns=["code"])
    table.to_file(path, layer="a", layer_options={"FID": "编号"})
    table.to_file(path, layer="b", layer_options={"FID": "gid"}, mode="a")
    assert read(path, layer="a").column("编号") == ["1", "2", "3"]
    assert "gid" not in read(path, layer="b").columns
    changed(path, "UPDATE a SET whole = 'x' WHERE 编号 = 2")
    result = read(path, layer="a")
    assert (result.column("编号"), result.column("whole")[1]) == (["1", "2", "3"], "x")


def test_the_first_layer_that_is_not_empty_is_read(tmp_path: Path) -> None:
    path = tmp_path / "x.gpkg"
    build_frame().iloc[:0].to_file(path, layer="draft")
    build_frame().to_file(path, layer="real", mode="a")
    assert read(path).detected.layer == "real"
    assert read(path, layer="draft").rows == []


def test_a_geopackage_that_is_cut_off_or_was_open(tmp_path: Path) -> None:
    path = tmp_path / "x.gpkg"
    build_frame().to_file(path, layer="a")
    whole = path.read_bytes()
    for size in (60, 5000, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut").write_bytes(whole[:size])
        with pytest.raises(Invalid, match="cut off") as rejection:
            read(tmp_path / "cut")
        assert rejection.value.code == "damaged-file"
    changed(path)
    with sqlite3.connect(path) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("UPDATE a SET code = 'late'")
        database.commit()
        shutil.copy(path, tmp_path / "copy")
    database.close()
    result = read(tmp_path / "copy")
    assert "unsaved changes" in result.detected.notes[0]
    assert result.column("code")[0] == "41080000001320000001"


@pytest.mark.filterwarnings("ignore:unable to read srs_id")
def test_a_geopackage_that_says_undefined_has_no_crs(tmp_path: Path) -> None:
    path = tmp_path / "x.gpkg"
    build_frame().to_file(path, layer="a")
    for number in (-1, 0, 99999):
        changed(
            path,
            f"UPDATE gpkg_geometry_columns SET srs_id = {number}",
            f"UPDATE gpkg_contents SET srs_id = {number}",
        )
        result = read(path).detected
        assert (result.crs, "Set the option crs" in result.notes[0]) == (None, True)


@pytest.mark.parametrize("claim", ["ISO-8859-1", "ANSI 1252", "1252"])
@pytest.mark.parametrize("codec", ["GBK", "UTF-8"])
def test_a_western_claim_is_not_believed_of_chinese(tmp_path: Path, codec: str, claim: str) -> None:
    """Programs write it without looking, and every byte reads as it."""
    result = read(shapefile(tmp_path, codec, claim=claim))
    assert result.column("名称") == ["东门", "西 门", "路"]


def test_a_western_claim_is_believed_of_western_text(tmp_path: Path) -> None:
    table = build_frame(name=["Straße", "Cañón", "Ä ÖÜ"])[["name", "geometry"]]
    (tmp_path / "made").mkdir()
    table.to_file(tmp_path / "made" / "a.shp", encoding="ISO-8859-1")
    path = zipped(tmp_path, {f"a{batch_items.suffix}": batch_items for batch_items in (tmp_path / "made").iterdir()})
    assert read(path).column("name") == ["Straße", "Cañón", "Ä ÖÜ"]


def zipped(folder: Path, members: dict[str, Path], **more: bytes) -> Path:
    path = folder / "x.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, batch_items in members.items():
            archive.write(batch_items, name)
        for name, content in more.items():
            archive.writestr(name, content)
    return path


def parts(folder: Path, rows: int, name: str) -> dict[str, Path]:
    archive_file = folder / name
    archive_file.mkdir()
    build_frame()[["code", "geometry"]].iloc[:rows].to_file(archive_file / "a.shp")
    return {batch_items.suffix: batch_items for batch_items in archive_file.iterdir()}


def test_shapefiles_of_one_name_in_two_folders(tmp_path: Path) -> None:
    item, two = parts(tmp_path, 1, "one"), parts(tmp_path, 2, "two")
    members = {f"解放区/a{end}": batch_items for end, batch_items in item.items()}
    members |= {f"山阳区/a{end}": batch_items for end, batch_items in two.items()}
    path = zipped(tmp_path, members)
    result = read(path)
    assert result.detected.layers == ("解放区/a", "山阳区/a")
    assert "山阳区/a" in result.detected.notes[0]
    assert (len(result.rows), len(read(path, layer="山阳区/a").rows)) == (1, 2)


def test_files_that_a_macintosh_adds_are_not_a_shapefile(tmp_path: Path) -> None:
    members = {f"a{end}": batch_items for end, batch_items in parts(tmp_path, 1, "one").items()}
    junk = {"._a.shp": b"x", "__MACOSX/._a.dbf": b"x", "资料/._a.shp": b"x"}
    assert read(zipped(tmp_path, members, **junk)).detected.layers == ("a",)


def test_fewer_records_than_shapes_are_reported(tmp_path: Path) -> None:
    members = {f"a{end}": batch_items for end, batch_items in parts(tmp_path, 2, "two").items()}
    members["a.dbf"] = parts(tmp_path, 1, "one")[".dbf"]
    result = read(zipped(tmp_path, members))
    assert len(result.rows) == 1
    assert any("2 shapes and 1 records" in note for note in result.detected.notes)


def test_cut_column_names_are_reported(tmp_path: Path) -> None:
    table = build_frame().rename(columns={"code": "设备编"})[["设备编", "geometry"]]
    (tmp_path / "made").mkdir()
    table.to_file(tmp_path / "made" / "a.shp", encoding="UTF-8")
    path = zipped(tmp_path, {f"a{batch_items.suffix}": batch_items for batch_items in (tmp_path / "made").iterdir()})
    result = read(path)
    assert result.columns == ("设备编",)
    assert any("may be cut" in note and "设备编" in note for note in result.detected.notes)


@pytest.mark.parametrize(("kind", "curved"), [(8, True), (9, True), (3008, True), (99, False)])
def test_a_curved_shape_is_reported_as_curved(tmp_path: Path, kind: int, curved: bool) -> None:
    """As ArcGIS and QGIS keep arcs of roads in a GeoPackage."""
    path = tmp_path / "x.parquet"
    geo = {"primary_column": "g", "columns": {"g": {"encoding": "WKB"}}}
    wkb = b"\x01" + kind.to_bytes(4, "little") + b"\x00" * 4
    result = read(parquet(path, {"g": [wkb, b"\x01"]}, geo))
    assert [("curved" in issue.message, issue.code) for issue in result.odd] == [
        (curved, "bad-geometry"),
        (False, "bad-geometry"),
    ]
