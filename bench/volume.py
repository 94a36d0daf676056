# SPDX-License-Identifier: Apache-2.0
"""A cube of uint16 in 64³ chunks, as its users read it, against h5py, zarr, DosNa and passthrough_ll.

Everyone starts cold with the files in the kernel's page cache: dosnafs and passthrough_ll mount anew for each
measurement, h5py and zarr open anew. The mount itself is not timed, the open is. "Mounted a while" is a mount
that has the chunks in its cache, with none of the file's pages in the kernel.
"""
import os
from contextlib import contextmanager

import h5py
import numpy
import zarr

from data import CHUNK, DTYPE, Pool, noise, warm
from measure import Row, medians, milliseconds, rate, seconds

# Python DosNa a9e75ea on the same volume of 512³, serial: measured once, not in this run.
DOSNA = {"whole": "174 MB/s", "planes": "4.9 MB/s", "XY plane": "71 ms", "XZ plane": "85 ms",
         "YZ plane": "84 ms", "64³ box": "14 ms"}


def _patterns(edge):
    middle, low, high = edge // 2, edge // 2 - 24, edge // 2 + 40

    def planes(array):
        for i in range(edge):
            numpy.array(array[i])

    return {"whole": lambda array: numpy.array(array[:]),
            "planes": planes,
            "XY plane": lambda array: numpy.array(array[middle]),
            "XZ plane": lambda array: numpy.array(array[:, middle]),
            "YZ plane": lambda array: numpy.array(array[:, :, middle]),
            "64³ box": lambda array: numpy.array(array[low:high, low:high, low:high])}


class Peers:
    """The same volume, opened anew by each of them. `read` is applied to what the open gives."""

    def __init__(self, programs, volume):
        self.programs, self.shape = programs, volume.shape
        self.pool = Pool(programs.scratch("pool"))
        self.pool.create("a", volume.shape, DTYPE, CHUNK)
        self.pool.store("a", volume)
        folder = programs.scratch("peers")
        self.h5, self.zarr_folder = folder / "volume.h5", folder / "volume.zarr"
        self.flat = programs.scratch("flat") / "flat"
        volume.tofile(self.flat)
        with h5py.File(self.h5, "w") as file:
            file.create_dataset("a", data=volume, chunks=CHUNK)
        zarr.save_array(str(self.zarr_folder), volume, chunks=CHUNK, compressor=None)
        os.sync()
        for path in (self.pool.folder, folder, self.flat):
            warm(path)

    def _memmap(self, path, read):
        return seconds(lambda: read(numpy.memmap(path, DTYPE, "r", shape=self.shape)))

    def dosnafs(self, read):
        with self.programs.mount(self.pool) as mount:
            return self._memmap(mount.data("a"), read)

    @contextmanager
    def mounted_a_while(self):
        """Gives what measures in it."""
        with self.programs.mount(self.pool) as mount:
            path = mount.data("a")
            warm(path)

            def run(read):
                with open(path, "rb", buffering=0) as file:
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                return self._memmap(path, read)

            yield run

    def dosnafs_file(self):
        with self.programs.mount(self.pool) as mount:
            return seconds(lambda: numpy.fromfile(mount.data("a"), DTYPE))

    def passthrough(self, read):
        with self.programs.mount_passthrough(self.flat.parent, "auto") as mount:
            return self._memmap(mount.path / "flat", read)

    def h5py(self, read):
        def run():
            with h5py.File(self.h5, "r") as file:
                read(file["a"])
        return seconds(run)

    def zarr(self, read):
        return seconds(lambda: read(zarr.open(str(self.zarr_folder), "r")))


def _speed(name, size, took):
    return rate(size, took) if name in ("whole", "planes") else milliseconds(took)


def rows(programs, quick):
    edge, repeats = (256, 3) if quick else (512, 5)
    peers = Peers(programs, noise((edge, edge, edge)))
    size = edge ** 3 * DTYPE.itemsize
    # name: what it is compared with, and the goal
    goals = {"whole": [("h5py", 1)], "planes": [("h5py", 5)],
             "XZ plane": [("h5py", 0.5), ("passthrough", 2)],
             "YZ plane": [("h5py", 0.5), ("passthrough", 2)]}
    for name, read in _patterns(edge).items():
        sides = {"dosnafs": peers.dosnafs, "h5py": peers.h5py, "zarr": peers.zarr,
                 "passthrough": peers.passthrough}
        calls = {side: lambda fn=fn: fn(read) for side, fn in sides.items()}
        if name == "whole":
            calls["dosnafs"] = peers.dosnafs_file
            calls["memmap"] = lambda: peers.dosnafs(read)
        with peers.mounted_a_while() as run:
            took = medians(repeats, **calls, mounted=lambda: run(read))
        what = f"{edge}³ uint16: {name}"
        ours = _speed(name, size, took["dosnafs"])
        for side, goal in goals.get(name, [("h5py", None)]):
            yield Row(what, ours, f"{side} {_speed(name, size, took[side])}",
                      took[side] / took["dosnafs"], goal)
        if name == "whole":
            yield Row(what + ", by memmap", _speed(name, size, took["memmap"]),
                      f"h5py {_speed(name, size, took['h5py'])}", took["h5py"] / took["memmap"])
        yield Row(what, ours, f"zarr {_speed(name, size, took['zarr'])}",
                  took["zarr"] / took["dosnafs"])
        if "passthrough" not in [side for side, _ in goals.get(name, [])]:
            yield Row(what, ours, f"passthrough {_speed(name, size, took['passthrough'])}",
                      took["passthrough"] / took["dosnafs"])
        for side, goal in goals.get(name, [("h5py", None)]):
            yield Row(what + ", mounted a while", _speed(name, size, took["mounted"]),
                      f"{side} {_speed(name, size, took[side])}", took[side] / took["mounted"], goal)
        yield Row(what, ours, f"DosNa {DOSNA[name]} (512³, a constant)")
