# SPDX-License-Identifier: Apache-2.0
"""Many datasets: the time to mount and to list them."""
import os
import subprocess

from data import DTYPE, Pool
from measure import Row, seconds


def rows(programs, quick):
    count = 10_000 if quick else 100_000
    pool = Pool(programs.scratch("pool"))
    pool.create("a", (10, 10), DTYPE)
    content = (pool.folder / "a/dataset.h5").read_bytes()
    for i in range(count - 1):
        path = pool.folder / f"dataset{i:06}"
        path.mkdir()
        (path / "dataset.h5").write_bytes(content)
    os.sync()

    mountpoint = programs.scratch("listed")
    mounted = seconds(subprocess.run, [*programs.command(pool), str(mountpoint)])
    try:
        listed = seconds(_list, mountpoint, count)
        long = seconds(_list, mountpoint, count, "-l")
    finally:
        subprocess.run(["fusermount3", "-u", str(mountpoint)], check=False)
    for what, took, goal in (("mount", mounted, 1), ("ls", listed, 2), ("ls -l", long, 20)):
        yield Row(f"{count:,} datasets: {what}", f"{took:.2f} s", "", took, goal, at_most=True)


def _list(mountpoint, count, *flags):
    lines = subprocess.run(["ls", *flags, str(mountpoint)], check=True, capture_output=True,
                           text=True).stdout.count("\n")
    if lines not in (count, count + 1):  # ls -l prints a total
        raise RuntimeError(f"ls listed {lines} of {count}")
