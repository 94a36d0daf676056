# SPDX-License-Identifier: Apache-2.0
"""Peak memory of the daemon with cache_size=256M, writing and then reading more than that."""
import subprocess

from data import dd, make_flat, make_pool, nbytes
from measure import Row

LIMIT = (256 + 32) << 20


def rows(programs, quick):
    shape = (512, 1024, 1024) if quick else (512, 2048, 2048)
    pool = make_pool(programs.scratch("pool"), shape, stored=False)
    source = make_flat(programs.scratch("flat") / "flat", nbytes(shape))
    size = f"{nbytes(shape) >> 30} GiB"
    for what, run in (("writing", lambda path: dd(source, path)),
                      ("reading", lambda path: dd(path, "/dev/null")),
                      ("reading, 4 readers", _four_readers)):
        with programs.mount(pool, cache_size="256M") as mount:
            run(mount.data("a"))
            peak = mount.peak_memory()
        yield Row(f"peak memory, cache_size=256M, {what} {size}", f"{peak / (1 << 20):.1f} MiB",
                  "256 MiB + 32 MiB", peak / LIMIT, 1, at_most=True)


def _four_readers(path):
    """Each reads a quarter."""
    quarter = path.stat().st_size // 4 >> 20
    readers = [subprocess.Popen(["dd", f"if={path}", "of=/dev/null", "bs=1M", "status=none",
                                 f"skip={i * quarter}", f"count={quarter}"]) for i in range(4)]
    for reader in readers:
        if reader.wait():
            raise RuntimeError("dd failed")
