"""A new kind of record needs its fields, its table and its declaration, and nothing else."""

import asyncio
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


async def test_a_kind_that_is_declared_is_served_everywhere(
    database_url: str, superuser_url: str, empty: None, tmp_path: Path
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.records.new_kind", database_url, superuser_url, str(tmp_path),
        cwd=ROOT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()[-4000:]
