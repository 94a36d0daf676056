# SPDX-License-Identifier: Apache-2.0
"""A store that takes 20 ms for each request: how close a sequential reader comes to njobs requests at once."""
from data import CHUNK, dd, make_pool, nbytes
from measure import Row, medians, rate, seconds

DELAY = 0.02


def rows(programs, quick):
    pool = make_pool(programs.scratch("pool"), (256, 512, 1024) if quick else (512, 1024, 1024))
    size = nbytes(pool.describe("a")[0])

    def read(njobs):
        with programs.mount(pool, backend="fault", inner="hdf5", delay=DELAY, njobs=njobs,
                            directory=None, inner_options=f"directory={pool.directory}") as mount:
            return seconds(dd, mount.data("a"), "/dev/null")

    for njobs in (8, 32):
        took = medians(1 if quick else 3, ours=lambda: read(njobs))["ours"]
        bound = njobs * nbytes(CHUNK) / DELAY
        yield Row(f"20 ms a request, sequential, njobs={njobs}", rate(size, took),
                  f"bound {bound / 1e6:.0f} MB/s", size / took / bound, 0.9)
