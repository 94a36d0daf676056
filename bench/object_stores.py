# SPDX-License-Identifier: Apache-2.0
"""ceph and s3 on servers of this machine, against the same objects by librados and libcurl, rclone, s3fs and DosNa.

The servers take their share of the processors, whoever asks: what counts is the ratio on one cluster in one run.
Each measurement has a mount of its own, which is not timed, and neither is the connecting of the others. rclone
and s3fs read the same number of bytes as one object, with their own defaults. A writer's time ends when all is
stored.
"""
import itertools

import numpy

from data import CHUNK, DTYPE, chunks, dd, make_flat, nbytes, noise, warm
from measure import Row, medians, rate, seconds
from servers import CephStore, Cluster, S3Store

NJOBS = 16
DELAY = 0.02
# MB/s of DosNa in Python on such servers, 256³ uint16 in chunks of 64³: measured once, not in this run.
DOSNA = {"ceph": {"new": 28, "over": 51, "read": 124, "planes": 2.5},
         "s3": {"new": 7.5, "over": 15, "read": 41, "planes": 0.5}}
REQUESTS = [f"dosnafs_{name}_total" for name in
            ("chunk_gets", "chunk_puts", "chunk_deletes", "chunk_copies", "chunk_has", "lists", "metadata_requests",
             "retries")]


def ceph_rows(programs, quick):
    with Cluster(programs, "mon osd") as cluster, CephStore(programs, cluster) as store:
        yield from _rows(cluster, store, quick, {})


def s3_rows(programs, quick):
    with Cluster(programs, "mon osd rgw") as cluster, S3Store(programs, cluster) as store:
        peers = store.peers()
        yield from _rows(cluster, store, quick, peers)
        for name in {"rclone", "s3fs"} - set(peers):
            yield Row("s3: sequential read", "", f"{name} is not installed", goal=1)


def _rows(cluster, store, quick, peers):
    shape = (128, 512, 512) if quick else (512, 1024, 1024)
    source = make_flat(store.programs.scratch("flat") / "flat", nbytes(shape))
    warm(source)
    store.create("volume", shape)
    store.transfer("put", "volume", shape, NJOBS)
    repeats = 1 if quick else 3
    yield from _read_rows(store, shape, source, peers, repeats)
    yield from _write_rows(store, shape, source, repeats)
    yield from _cube_rows(store, repeats)
    yield from _delay_rows(cluster, store, shape, repeats)


# ---- sequential

def _read_rows(store, shape, source, peers, repeats):
    size, stats = nbytes(shape), {}

    def ours():
        with store.mount(njobs=NJOBS) as mount:
            took = seconds(dd, mount.data("volume"), "/dev/null")
            stats.update(mount.stats())
        return took

    def peer(mount):
        with mount("flat") as there:
            return seconds(dd, there.path / source.name, "/dev/null")

    def fuse_alone():
        with store.programs.mount_passthrough(source.parent, "auto") as there:
            return seconds(dd, there.path / source.name, "/dev/null")

    if peers:
        store.put_flat("flat", source)
    took = medians(repeats, ours=ours, reference=lambda: store.transfer("get", "volume", shape, NJOBS), fuse=fuse_alone,
                   **{name: lambda mount=mount: peer(mount) for name, mount in peers.items()})
    what = f"{store.name}: sequential read, dd bs=1M, fresh mount"
    yield _row(what, size, took, "reference", store.reference, 0.9)
    yield _row(what, size, took, "fuse", "passthrough_ll, no store at all,", None)
    for name in peers:
        yield _row(what, size, took, name, name, 1)
    requests, fetched = sum(stats[name] for name in REQUESTS), stats["dosnafs_chunk_get_bytes_total"]
    yield Row(f"{store.name}: requests of that read ÷ chunks", f"{requests:.0f}", f"{chunks(shape)}",
              requests / chunks(shape), 1.02, at_most=True)
    yield Row(f"{store.name}: bytes fetched for that read ÷ bytes", f"{fetched / 1e6:.1f} MB", f"{size / 1e6:.1f} MB",
              fetched / size, 1.02, at_most=True)


def _write_rows(store, shape, source, repeats):
    def ours():
        with store.mount(njobs=NJOBS) as mount:
            took = seconds(dd, source, mount.data("volume"))
            if mount.stats()["dosnafs_cache_dirty_bytes"] != 0:
                raise RuntimeError("dd ended before everything was stored")
        return took

    took = medians(repeats, ours=ours, reference=lambda: store.transfer("put", "volume", shape, NJOBS))
    yield _row(f"{store.name}: sequential write, dd bs=1M", nbytes(shape), took, "reference", store.reference, 0.8)


def _row(what, size, took, side, name, goal):
    return Row(what, rate(size, took["ours"]), f"{name} {rate(size, took[side])}", took[side] / took["ours"], goal)


# ---- as DosNa's users work

def _cube_rows(store, repeats):
    shape = (256, 256, 256)
    volume, fresh = noise(shape), (f"new{i}" for i in itertools.count())

    def write(name):
        with store.mount() as mount:
            return seconds(volume.tofile, mount.data(name))

    def write_new():
        name = next(fresh)
        store.create(name, shape)
        return write(name)

    def read(fn):
        with store.mount() as mount:
            return seconds(lambda: fn(numpy.memmap(mount.data("cube"), DTYPE, "r", shape=shape)))

    def planes(axis):
        def fn(array):
            for plane in numpy.moveaxis(array, axis, 0):
                numpy.array(plane)
        return lambda: read(fn)

    store.create("cube", shape)
    write("cube")
    took = medians(repeats, new=write_new, over=lambda: write("cube"), read=lambda: read(numpy.array),
                   **{f"planes{axis}": planes(axis) for axis in range(3)})
    what = {"new": ("new, written whole", "new", 3), "over": ("overwritten whole", "over", 3),
            "read": ("read whole by memmap", "read", 3),
            **{f"planes{axis}": (f"plane by plane along axis {axis}", "planes", 10) for axis in range(3)}}
    for name, (text, figure, goal) in what.items():
        python = DOSNA[store.name][figure]
        yield Row(f"{store.name}: 256³ uint16, {text}", rate(volume.nbytes, took[name]),
                  f"DosNa {python} MB/s (a constant)", volume.nbytes / took[name] / 1e6 / python, goal)


# ---- far away

def _delay_rows(cluster, store, shape, repeats):
    size = nbytes(shape)
    with cluster.away(DELAY) as prefix:
        for njobs in (8, 32):
            def ours():
                with store.mount(prefix=prefix, njobs=njobs) as mount:
                    return seconds(dd, mount.data("volume"), "/dev/null")

            took = medians(repeats, ours=ours,
                           reference=lambda: store.transfer("get", "volume", shape, njobs, prefix))
            took["bound"] = size * DELAY / njobs / nbytes(CHUNK)
            what = f"{store.name}: 20 ms a request, sequential, njobs={njobs}"
            yield _row(what, size, took, "bound", "bound", 0.9)
            yield _row(what, size, took, "reference", f"{store.reference} there", None)
