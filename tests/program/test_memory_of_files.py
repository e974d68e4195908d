"""How much memory the commands take that read files, each in a process of its own."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.program.conftest import Shell

IMPORT_MB_MAX = 150
T0 = 1_767_225_600

_MEASURED = """
import re, resource, sys
from pathlib import Path
{imports}
def peak():
    if sys.platform == "darwin":
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Not ru_maxrss: on Linux that of a new process begins with its parent's.
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])
start = peak()
{program}
print("grown by", peak() - start)
"""

_IMPORT = (
    "import streamrec.program.records.import_file_run as run\n"
    "from streamrec.program.file_options import FileOptions",
    "run.import_clicks([Path(sys.argv[1])], 'clicks', FileOptions(), by_time=True, rejects=None)",
)
_EVALUATE = (
    "import numpy as np\n"
    "from streamrec.connectors.click_files.reading import ReadAs\n"
    "from streamrec.models.training.logs import SessionRows\n"
    "from streamrec.program.learning.evaluate_files import read_log\n"
    "from streamrec.program.rejected_rows import RejectedRows",
    "log = read_log([Path(sys.argv[1])], ReadAs(), RejectedRows(True))\n"
    "rows = SessionRows(log, np.zeros(len(log), np.int32))",
)
_TRAIN = (
    "import numpy as np\n"
    "from streamrec.connectors.click_files.reading import ClickFiles, ReadAs\n"
    "from streamrec.connectors.click_files.sorting import in_time_order\n"
    "from streamrec.dataflows.job.settings import load_settings\n"
    "from streamrec.dataflows.steps.history import by_time, file_history\n"
    "from streamrec.models.sessions.items import ItemTable\n"
    "from streamrec.models.training.logs import SessionRows, number_items",
    "clicks = in_time_order(ClickFiles([Path(sys.argv[1])], ReadAs()).batches())\n"
    "history = by_time(file_history(clicks, load_settings()))\n"
    "log = history.log\n"
    "numbers = number_items(ItemTable(50_000), log.items, history.items, add=True)\n"
    "rows = SessionRows(log, numbers, user_features=history.user_features)",
)


def grown(program: tuple[str, str], path: Path) -> int:
    """Bytes above what the process had before it began."""
    code = _MEASURED.format(imports=program[0], program=program[1])
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return int(done.stdout.rpartition("grown by")[2])


def csv_rows(n: int, seed: int = 0) -> list[str]:
    """Rows as large as those of a shop's log, in no order."""
    rng = np.random.default_rng(seed)
    times = T0 + rng.integers(0, 30 * 86_400, n)
    users = rng.integers(0, 5_000, n)
    items = rng.integers(0, 20_000, n)
    return [
        f"{time},view,{item},2053013555631882655,electronics.smartphone,samsung,130.76,{user},"
        f"9333dfbd-b87a-4708-9857-{user:012}\n"
        for time, item, user in zip(times.tolist(), items.tolist(), users.tolist(), strict=True)
    ]


HEADER = (
    "event_time,event_type,product_id,category_id,category_code,brand,price,user_id,user_session\n"
)


@pytest.mark.parametrize("form", ["csv", "jsonl", "json", "parquet"])
def test_import_stays_within_its_memory_whatever_the_file(
    form: str, tmp_path: Path, embedded_shell: Shell
) -> None:
    embedded_shell("topics", "create")
    rows = csv_rows(10_000)
    path = tmp_path / f"log.{form}"
    names = HEADER.strip().split(",")
    records = [dict(zip(names, row.strip().split(","), strict=True)) for row in rows]
    if form == "csv":
        path.write_text(HEADER + "".join(rows) * 60)
    elif form == "parquet":  # in one row group
        pq.write_table(pa.Table.from_pylist(records * 60), path)
    else:
        between = "\n" if form == "jsonl" else ","
        text = between.join(map(json.dumps, records))
        whole = between.join([text] * 20)
        path.write_text(whole if form == "jsonl" else f"[{whole}]")
    assert grown(_IMPORT, path) < IMPORT_MB_MAX * 2**20


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "most"), [(_EVALUATE, 64), (_TRAIN, 72)], ids=["evaluate", "train"]
)
def test_what_learns_keeps_few_bytes_of_a_click(
    program: tuple[str, str], most: int, tmp_path: Path
) -> None:
    """Of two logs with the same ids the larger one takes that much more."""
    rows = csv_rows(100_000)
    sizes = (3, 24)  # so that what the allocator takes in steps is little beside
    taken = []
    for times in sizes:
        path = tmp_path / "log.csv"
        path.write_text(HEADER + "".join(rows) * times)
        taken.append(grown(program, path))
    clicks = (sizes[1] - sizes[0]) * len(rows)
    assert (taken[1] - taken[0]) / clicks < most
