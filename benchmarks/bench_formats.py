"""Time to read cameras in each format, compared with the usual reader of the format.

Our readers give every cell as cleaned text with its row number, and shapes; the others give their own types:
GDAL through pyogrio for files of GIS and JSON, Arrow for CSV and Parquet, calamine for workbooks.
The best of three runs, in one process. Rows: ``FORMATS_ROWS`` in the environment, 100,000 by default.
"""

import os
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pyogrio
import shapely
from python_calamine import CalamineWorkbook

from app.ingest.formats import WRITERS
from app.ingest.readers.opening import open_source
from app.ingest.writers.model import ARROW, GEOMETRY, Column, Layout

ROWS = int(os.environ.get("FORMATS_ROWS", "100000"))
_BATCH = 5_000
_COLUMNS = (
    ("code", "text"), ("name_zh", "text"), ("functions", "words"), ("azimuth_deg", "number"),
    ("opening_deg", "number"), ("range_m", "number"), ("owner_unit", "text"),
    ("retention_days", "integer"), ("indoor", "boolean"), ("installed_on", "day"),
    ("address", "text"), ("model", "text"),
)  # fmt: skip
_LAYOUT = Layout(
    "cameras",
    tuple(Column(name, name, kind) for name, kind in _COLUMNS),  # type: ignore[arg-type]
    ("Point",),
)


def _batches() -> Iterator[pa.RecordBatch]:
    draw = np.random.default_rng(1)
    for first in range(0, ROWS, _BATCH):
        numbers = range(first, min(first + _BATCH, ROWS))
        places = shapely.points(draw.uniform(113, 113.5, len(numbers)), draw.uniform(35, 35.4, len(numbers)))
        values = {
            "code": [f"41080200001320{at:06d}" for at in numbers],
            "name_zh": [f"解放路与人民路交叉口{at}号摄像机" for at in numbers],
            "functions": ['["face","vehicle"]'] * len(numbers),
            "azimuth_deg": [float(at % 360) for at in numbers],
            "opening_deg": [40.5] * len(numbers),
            "range_m": [35.0] * len(numbers),
            "owner_unit": [f"单位{at % 50}" for at in numbers],
            "retention_days": [30 + at % 60 for at in numbers],
            "indoor": [at % 9 == 0 for at in numbers],
            "installed_on": [date(2015 + at % 10, 1 + at % 12, 1 + at % 28) for at in numbers],
            "address": [f"解放区民主路{at}号 东侧灯杆" for at in numbers],
            "model": [f"X-{at % 200}" for at in numbers],
        }
        arrays = [pa.array(values[name], ARROW[kind]) for name, kind in _COLUMNS]
        arrays.append(pa.array(shapely.to_wkb(places), pa.binary()))
        names = [*(name for name, _ in _COLUMNS), GEOMETRY]
        yield pa.RecordBatch.from_arrays(arrays, names)


def _ours(path: Path) -> None:
    with open_source(path) as source:
        assert sum(len(batch.row_numbers) for batch in source.iter_batches()) == ROWS


def _gdal(path: Path) -> None:
    _, _, shapes, _ = pyogrio.raw.read(path)
    assert len(shapely.from_wkb(shapes)) == ROWS


def _zipped(path: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        with zipfile.ZipFile(path) as archive:
            archive.extractall(folder)
        _gdal(Path(folder) / f"{_LAYOUT.name}.shp")


def _arrow(path: Path) -> None:
    names = pacsv.open_csv(path).schema.names
    text = pacsv.ConvertOptions(column_types=dict.fromkeys(names, pa.string()))
    assert pacsv.read_csv(path, convert_options=text).num_rows == ROWS


def _parquet(path: Path) -> None:
    table = pq.read_table(path)
    assert len(shapely.from_wkb(np.asarray(table[GEOMETRY].to_pylist(), dtype=object))) == ROWS


def _sheet(path: Path) -> None:
    sheet = CalamineWorkbook.from_path(str(path)).get_sheet_by_index(0)
    assert len(sheet.to_python()) == ROWS + 1


PEERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "csv": ("Arrow", _arrow),
    "xlsx": ("calamine", _sheet),
    "geojson": ("GDAL", _gdal),
    "geojsonl": ("GDAL", _gdal),
    "gpkg": ("GDAL", _gdal),
    "fgb": ("GDAL", _gdal),
    "shp.zip": ("GDAL", _zipped),
    "parquet": ("Arrow", _parquet),
    "kml": ("GDAL", _gdal),
}


def _best(what: Callable[[Path], None], path: Path) -> float:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        what(path)
        times.append(time.perf_counter() - began)
    return min(times)


def main() -> None:
    """Measure and print table rows."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        for ending, (peer, theirs) in PEERS.items():
            work = Path(name) / f"work-{ending}"
            work.mkdir()
            path = Path(name) / f"cameras.{ending}"
            with path.open("wb") as file:
                file.writelines(WRITERS[ending].write(_LAYOUT, _batches(), work))
            other, ours = _best(theirs, path), _best(_ours, path)
            print(
                f"| read {ending}, {ROWS:,} cameras | {peer} {other:.2f} s | {ours:.2f} s | {ours / other:.2f}x |",
                flush=True,
            )


if __name__ == "__main__":
    main()
