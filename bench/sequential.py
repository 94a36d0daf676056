# SPDX-License-Identifier: Apache-2.0
"""Sequential reads and writes against passthrough_ll, and kernel pages against tmpfs."""
import os
from pathlib import Path

from data import dd, make_flat, make_pool, nbytes, warm
from measure import Row, medians, rate, seconds


def read_rows(programs, quick):
    shape = (256, 256, 512) if quick else (512, 512, 1024)
    size, repeats = nbytes(shape), 3 if quick else 7
    pool = make_pool(programs.scratch("pool"), shape)
    flat = make_flat(programs.scratch("flat") / "flat", size)
    os.sync()
    warm(pool.folder)
    warm(flat)

    with programs.mount_passthrough(flat.parent, "never") as there, \
            programs.mount(pool, cache_size="2G") as here:
        dd(here.data("a"), "/dev/null", "iflag=direct")
        took = medians(
            repeats,
            ours=lambda: seconds(dd, here.data("a"), "/dev/null", "iflag=direct"),
            other=lambda: seconds(dd, there.path / "flat", "/dev/null"))
        yield _row("sequential read, chunks in memory, dd bs=1M, no kernel pages", size, took, 1.5, 2.0)

        def fresh():
            with programs.mount(pool) as mount:
                return seconds(dd, mount.data("a"), "/dev/null", "iflag=direct")

        took = medians(
            repeats,
            ours=fresh,
            other=lambda: seconds(dd, there.path / "flat", "/dev/null"))
        yield _row("the same, fresh mount, chunk files in the page cache", size, took, 1.2, 1.7)


def _row(what, size, took, goal, further=None, against="passthrough_ll"):
    return Row(what, rate(size, took["ours"]), f"{against} {rate(size, took['other'])}",
               took["other"] / took["ours"], goal, further)


def _read_whole(fd, buffer):
    offset = 0
    while count := os.preadv(fd, [buffer], offset):
        offset += count


def page_rows(programs, quick):
    """A file whose pages the kernel keeps, read a second time through the same descriptor."""
    shape = (128, 256, 512) if quick else (256, 512, 1024)
    size = nbytes(shape)
    pool = make_pool(programs.scratch("pool"), shape)
    flat = make_flat(Path("/dev/shm") / f"dosnafs-bench-{os.getpid()}", size)
    buffer = bytearray(1 << 20)
    try:
        with programs.mount(pool) as mount, open(mount.data("a"), "rb", buffering=0) as here, \
                open(flat, "rb", buffering=0) as there:
            _read_whole(here.fileno(), buffer)
            _read_whole(there.fileno(), buffer)
            took = medians(
                5 if quick else 9,
                ours=lambda: seconds(_read_whole, here.fileno(), buffer),
                other=lambda: seconds(_read_whole, there.fileno(), buffer))
            yield _row("second read of an open file, pages in the kernel", size, took, 0.95,
                       against="tmpfs")
    finally:
        flat.unlink()


def write_rows(programs, quick):
    shape = (128, 256, 512) if quick else (512, 512, 1024)
    size, repeats = nbytes(shape), 3 if quick else 7
    source = make_flat(programs.scratch("flat") / "flat", size)
    pool = make_pool(programs.scratch("pool"), shape, stored=False)
    target = programs.scratch("target")
    os.sync()
    warm(source)
    with programs.mount_passthrough(target, "never") as there, programs.mount(pool) as here:
        for what, flags, goal in [("sequential write, hdf5, dd bs=1M", [], 0.7),
                                  ("the same, conv=fsync on both", ["conv=fsync"], None)]:
            took = medians(
                repeats,
                ours=lambda: seconds(dd, source, here.data("a"), *flags),
                other=lambda: seconds(dd, source, there.path / "flat", *flags))
            yield _row(what, size, took, goal)
