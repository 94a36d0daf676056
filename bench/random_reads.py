# SPDX-License-Identifier: Apache-2.0
"""Random 4 KiB reads: the median and the 99th percentile against passthrough_ll."""
import os
import statistics
import subprocess

from data import dd, make_flat, make_pool, nbytes, warm
from measure import Row, interleave


def rows(programs, quick):
    shape = (128, 256, 256) if quick else (256, 512, 1024)
    count, repeats = 20000, 3 if quick else 7
    pool = make_pool(programs.scratch("pool"), shape)
    flat = make_flat(programs.scratch("flat") / "flat", nbytes(shape))
    os.sync()
    warm(flat)
    seed = 0

    def read(path, *flags):
        nonlocal seed
        seed += 1
        output = subprocess.run([programs.randread, path, str(count), str(seed), *flags],
                                check=True, capture_output=True, text=True).stdout
        return [int(word) / 1000 for word in output.split()]

    with programs.mount_passthrough(flat.parent, "never") as there, programs.mount(pool) as here:
        dd(here.data("a"), "/dev/null", "iflag=direct")
        took = interleave(repeats,
                          ours=lambda: read(here.data("a"), "direct"),
                          other=lambda: read(there.path / "flat"))
    for which, name, goal in ((0, "p50", 1.25), (1, "p99", 1.5)):
        ours = statistics.median(one[which] for one in took["ours"])
        other = statistics.median(one[which] for one in took["other"])
        yield Row(f"random 4 KiB reads, chunks in memory, {name}", f"{ours:.1f} µs",
                  f"passthrough_ll {other:.1f} µs", ours / other, goal, at_most=True)
