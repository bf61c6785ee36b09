"""How long rows of an import take to judge: clean ones by whole columns, doubtful ones by the draft.

Run: ``python benchmarks/bench_judge.py [rows]``. Processor time of one thread, best of five.
"""

import sys
import time
from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from app.imports.record_specs import find_record_spec
from app.ingest.columns.planner import Options, build_plan
from app.ingest.readers.opening import Batch
from app.ingest.validation.batch_validation import validate_batch


def cameras(rows: int) -> Batch:
    """Twenty columns of the archive, every cell right."""
    draw = np.random.default_rng(1)

    def one_of(words: Sequence[str]) -> list[str]:
        return [words[at] for at in draw.integers(0, len(words), rows)]

    days = [f"{2015 + d // 336}/{d // 28 % 12 + 1}/{d % 28 + 1}" for d in draw.integers(0, 3360, rows)]
    columns = {
        "SBBM": [f"4108020000132{at % 10}{at:06d}" for at in range(1, rows + 1)],
        "SBMC": [f"解放路与人民路交叉口{at}号摄像机" for at in range(rows)],
        "SBCS": one_of(("甲", "乙", "丙")),
        "SBXH": [f"X-{at}" for at in draw.integers(1000, 1200, rows)],
        "XZQH": one_of(("410802", "410803", "410811")),
        "JKDWLX": one_of(("1", "2", "3")),
        "SXJLX": one_of(("1", "2", "3", "4")),
        "SXJGNLX": one_of(("1", "2", "1/2", "5")),
        "AZDZ": [f"解放区民主路{at}号 东侧灯杆" for at in range(rows)],
        "JD": [f"{x:.6f}" for x in draw.uniform(113, 113.5, rows)],
        "WD": [f"{y:.6f}" for y in draw.uniform(35, 35.4, rows)],
        "AZGD": [f"{h:.1f}" for h in draw.uniform(3, 12, rows)],
        "KSJL": [f"{d:.0f}" for d in draw.uniform(10, 80, rows)],
        "JSFW": one_of(tuple("12345678")),
        "IPV4": [f"10.{at >> 16 & 255}.{at >> 8 & 255}.{at & 255}" for at in range(rows)],
        "SBZT": one_of(("1", "1", "2", "3")),
        "AZSJ": days,
        "GLDW": one_of(("市公安局", "市交通运输局")),
        "LXBCTS": one_of(("30", "90")),
        "LGBH": [f"LG{at // 3:06d}" for at in range(rows)],
    }
    arrays = {name: pa.array(cells, pa.string()) for name, cells in columns.items()}
    return Batch(np.arange(2, rows + 2), arrays)


def best(what: Callable[[], object], times: int) -> float:
    """Return the least processor time of several runs, in seconds."""
    spent = []
    for _ in range(times):
        start = time.process_time()
        what()
        spent.append(time.process_time() - start)
    return min(spent)


def main() -> None:
    rows = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    clean = cameras(rows)
    plan = build_plan(Options(find_record_spec("camera"), jurisdiction="410800"), None, tuple(clean.columns), clean)
    quick = best(lambda: validate_batch(plan, clean), 5)
    few = cameras(max(rows // 10, 1))
    exact = best(lambda: validate_batch(plan, few, exact=True), 2) * rows / len(few.row_numbers)
    bad = Batch(few.row_numbers, {**few.columns, "KSJL": pa.array(["?"] * len(few.row_numbers))})
    wrong = best(lambda: validate_batch(plan, bad), 2) * rows / len(few.row_numbers)
    print(f"{rows:,} rows, {len(clean.columns)} columns")
    print(f"  clean, by whole columns   {quick:7.2f} s   {rows / quick:12,.0f} rows/s")
    print(f"  clean, each by the draft  {exact:7.2f} s   {rows / exact:12,.0f} rows/s")
    print(f"  a fault in every row      {wrong:7.2f} s   {rows / wrong:12,.0f} rows/s")


if __name__ == "__main__":
    main()
