# SPDX-License-Identifier: Apache-2.0
"""What the store is asked for: bytes fetched by a sequential reader, requests of a sequential writer."""
import subprocess

from data import chunks, dd, make_flat, make_pool, nbytes, slab
from measure import Row


def fetch_rows(programs, quick):
    shape = (256, 512, 512) if quick else (256, 1024, 1024)
    pool = make_pool(programs.scratch("pool"), shape)
    whole = slab(shape)
    for what, cache_size in (("4 slabs", 4 * whole), ("1 slab", whole), ("¼ slab", whole // 4),
                             ("8 MiB", 8 << 20)):
        with programs.mount(pool, cache_size=cache_size) as mount:
            dd(mount.data("a"), "/dev/null")
            fetched = mount.stats()["dosnafs_chunk_get_bytes_total"]
        yield Row(f"bytes fetched ÷ bytes of the dataset, cache of {what}",
                  f"{fetched / 1e6:.1f} MB", f"{nbytes(shape) / 1e6:.1f} MB",
                  fetched / nbytes(shape), 1.02, at_most=True)


def put_rows(programs, quick):
    shape = (128, 256, 512) if quick else (256, 512, 1024)
    source = make_flat(programs.scratch("flat") / "flat", nbytes(shape))
    pool = make_pool(programs.scratch("pool"), shape)
    total = chunks(shape)
    for what, write in (("dd", lambda target: dd(source, target)),
                        ("cp", lambda target: subprocess.run(["cp", source, target], check=True))):
        with programs.mount(pool) as mount:
            before = mount.stats()
            write(mount.data("a"))
            after = mount.stats()
        puts, gets = (after[name] - before[name] for name in
                      ("dosnafs_chunk_puts_total", "dosnafs_chunk_gets_total"))
        yield Row(f"{what} over the whole file: chunks stored ÷ chunks", f"{puts:.0f}", f"{total}",
                  puts / total, 1, at_most=True)
        yield Row(f"{what} over the whole file: gets", f"{gets:.0f}", "0", gets, 0, at_most=True)
