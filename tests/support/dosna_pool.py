# SPDX-License-Identifier: Apache-2.0
"""A connection of the hdf5 backend as DosNa lays it out, made and read with h5py alone.

The tests and the benchmark use it as the other party: what it writes a mount must read, and the reverse.

    pool = Pool("pool")                           # a folder that exists
    pool.create("a", (100, 120), "<u2", (32, 32), fill=7)
    pool.store("a", array)                        # every chunk
    pool.store_chunk("a", (0, 1), chunk)
    pool.load("a")                                # the whole array; absent chunks are the fill value
"""
import itertools
import shutil
from pathlib import Path

import h5py
import numpy


class Store:
    """What is the same in every store; describe(), write_chunk() and read_chunk() differ."""

    def store_chunk(self, name, index, chunk):
        """A full chunk; smaller arrays are padded with the fill value."""
        self.write_chunk(name, index, chunk, self.describe(name))

    def store(self, name, array):
        description = self.describe(name)
        for index, box in boxes(description[0], description[2]):
            self.write_chunk(name, index, array[box], description)

    def load(self, name):
        description = self.describe(name)
        shape, dtype, chunk_size, fill = description
        array = numpy.full(shape, fill, dtype)
        for index, box in boxes(shape, chunk_size):
            chunk = self.read_chunk(name, index, description)
            if chunk is not None:
                target = array[box]
                target[...] = chunk[tuple(slice(extent) for extent in target.shape)]
        return array


class Pool(Store):
    def __init__(self, folder):
        self.folder = Path(folder)

    @property
    def directory(self):
        """For -o directory=."""
        return str(self.folder.parent)

    @property
    def name(self):
        """The connection's name."""
        return self.folder.name

    def create(self, name, shape, dtype, chunk_size=None, fill=0):
        chunk_size = chunk_size or shape
        path = self.folder / name
        path.mkdir()
        with h5py.File(path / "dataset.h5", "w-") as file:
            file.attrs["shape"] = numpy.array(shape, "i8")
            file.attrs["dtype"] = numpy.dtype(dtype).str
            file.attrs["fillvalue"] = numpy.array(fill, numpy.dtype(dtype).newbyteorder("="))
            grid = [-(-extent // chunk) for extent, chunk in zip(shape, chunk_size)]
            file.attrs["chunk_grid"] = numpy.array(grid, "i8")
            file.attrs["chunk_size"] = numpy.array(chunk_size, "i8")

    def describe(self, name):
        """(shape, dtype, chunk_size, fill value)"""
        with h5py.File(self.folder / name / "dataset.h5", "r") as file:
            dtype = file.attrs["dtype"]
            dtype = numpy.dtype(dtype.decode() if isinstance(dtype, bytes) else dtype)
            shape = tuple(int(extent) for extent in file.attrs["shape"])
            chunk_size = tuple(int(extent) for extent in file.attrs["chunk_size"])
            return shape, dtype, chunk_size, file.attrs["fillvalue"]

    def chunk_path(self, name, index):
        return self.folder / name / ("chunk_" + "_".join(map(str, index)) + ".h5")

    def chunk_files(self, name):
        return sorted(path.name for path in (self.folder / name).glob("chunk_*.h5"))

    def names(self):
        """The datasets, and whatever else is there."""
        return sorted(path.name for path in self.folder.iterdir())

    def contents(self, name):
        """How many chunks a dataset has; everything in its folder is one or its description."""
        names = {path.name for path in (self.folder / name).iterdir()}
        assert names == {"dataset.h5", *self.chunk_files(name)}, names
        return len(names) - 1

    def write_chunk(self, name, index, chunk, description):
        _, dtype, chunk_size, fill = description
        part = tuple(slice(extent) for extent in chunk.shape)
        with h5py.File(self.chunk_path(name, index), "a") as file:
            if "data" not in file:
                file.create_dataset("data", shape=chunk_size, dtype=dtype, fillvalue=fill)
            file["data"][part] = chunk

    def read_chunk(self, name, index, _description):
        path = self.chunk_path(name, index)
        if not path.exists():
            return None
        with h5py.File(path, "r") as file:
            return file["data"][...]

    def remove_chunk(self, name, index):
        self.chunk_path(name, index).unlink()

    def remove(self, name):
        shutil.rmtree(self.folder / name)

    def state(self):
        """Every file with its size and time of change, to see that nothing was touched."""
        return {str(path): (path.stat().st_size, path.stat().st_mtime_ns)
                for path in self.folder.rglob("*") if path.is_file()}


def boxes(shape, chunk_size):
    """(index, slices inside the shape) of every chunk, row-major."""
    grid = [range(-(-extent // chunk)) for extent, chunk in zip(shape, chunk_size)]
    for index in itertools.product(*grid):
        yield index, tuple(slice(i * chunk, min((i + 1) * chunk, extent))
                           for i, chunk, extent in zip(index, chunk_size, shape))
