# SPDX-License-Identifier: Apache-2.0
"""Files of the hdf5 backend beside those that h5py makes of the same data: h5py is the judge of both.

test_hdf5_h5py.py WRITER
"""
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

import h5py
import numpy

WRITER = sys.argv.pop()
SHAPE, CHUNK_SIZE = (5, 7), (2, 4)
GRID = tuple(-(-extent // size) for extent, size in zip(SHAPE, CHUNK_SIZE))

# dtype, fill value
CASES = [(order + kind, fill)
         for kind, fill in (("i2", -3), ("i4", -3), ("i8", -1 << 63), ("u2", 65535), ("u4", 7),
                            ("u8", (1 << 64) - 1), ("f2", 1.5), ("f4", -0.0), ("f8", float("nan")),
                            ("c8", 1 + 2j), ("c16", -2j))
         for order in "<>"]
CASES += [("|b1", True), ("|i1", -1), ("|u1", 200), ("<f16", 0.1), ("<f4", float("inf")), ("<i4", 0),
          ("|S5", b"ab"), ("|S1", b"x")]


def values(dtype):
    """Chunks whole, in the order of the grid."""
    shape = (GRID[0] * GRID[1],) + CHUNK_SIZE
    count = numpy.arange(numpy.prod(shape)).reshape(shape)
    if numpy.dtype(dtype).kind == "b":
        return (count % 3 == 0).astype(dtype)
    return (count % 100).astype(dtype)


def make_reference(folder, dtype, fill, chunks):
    """As DosNa does it."""
    folder.mkdir()
    dtype = numpy.dtype(dtype)
    with h5py.File(folder / "dataset.h5", "w") as file:
        file.attrs["shape"] = SHAPE
        file.attrs["dtype"] = dtype.str
        file.attrs["fillvalue"] = dtype.type(fill)
        file.attrs["chunk_grid"] = numpy.array(GRID, dtype=int)
        file.attrs["chunk_size"] = CHUNK_SIZE
    for number, chunk in enumerate(chunks):
        name = "chunk_%d_%d.h5" % divmod(number, GRID[1])
        with h5py.File(folder / name, "w") as file:
            data = file.create_dataset("data", shape=CHUNK_SIZE, dtype=dtype, fillvalue=fill)
            data[...] = chunk


def space(of):
    space_id = of.get_space()
    return space_id.get_simple_extent_type(), space_id.get_simple_extent_dims(True)


def describe_meta(path):
    raw = path.read_bytes()
    found = {}
    with h5py.File(path, "r") as file:
        assert len(file) == 0
        for name in sorted(file.attrs, key=lambda name: raw.index(name.encode() + b"\0")):
            attribute = h5py.h5a.open(file.id, name.encode())
            value = file.attrs[name]
            value = value if isinstance(value, str) else numpy.asarray(value).tobytes()
            found[name] = attribute.get_type().encode(), space(attribute), value
        return list(found.items()), file.id.get_create_plist().get_version(), len(raw)


def describe_chunk(path):
    with h5py.File(path, "r") as file:
        assert list(file) == ["data"]
        data = file["data"]
        listed = data.id.get_create_plist()
        return {
            "type": data.id.get_type().encode(), "space": space(data.id), "layout": listed.get_layout(),
            "fill": data.fillvalue.tobytes(), "fill defined": listed.fill_value_defined(),
            "fill time": listed.get_fill_time(), "allocated": listed.get_alloc_time(),
            "filters": listed.get_nfilters(), "times": listed.get_obj_track_times(),
            "offset": data.id.get_offset(), "version": file.id.get_create_plist().get_version(),
            "attributes": len(data.attrs), "size": path.stat().st_size, "values": data[...].tobytes(),
        }


class CompareTest(unittest.TestCase):
    maxDiff = None

    def compare(self, folder, dtype, fill):
        chunks = values(dtype)
        make_reference(folder / "theirs", dtype, fill, chunks)
        subprocess.run([WRITER, folder.parent, folder.name, "ours", dtype, "%d,%d" % SHAPE,
                        "%d,%d" % CHUNK_SIZE, repr(fill)], input=chunks.tobytes(), check=True)
        names = sorted(path.name for path in (folder / "theirs").iterdir())
        self.assertEqual(sorted(path.name for path in (folder / "ours").iterdir()), names)
        for name in names:
            describe = describe_meta if name == "dataset.h5" else describe_chunk
            self.assertEqual(describe(folder / "ours" / name), describe(folder / "theirs" / name), name)

    def test_types(self):
        for dtype, fill in CASES:
            with self.subTest(dtype=dtype, fill=fill), tempfile.TemporaryDirectory() as folder:
                self.compare(Path(folder), dtype, fill)


if __name__ == "__main__":
    unittest.main()
