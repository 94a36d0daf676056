# SPDX-License-Identifier: Apache-2.0
"""The kinds of files, with h5py, tifffile and numpy at the other end."""
import os
import subprocess

import h5py
import numpy
import tifffile

import cases

TYPES = ["|b1", "|u1", "<i2", ">i2", "<u4", ">u8", "<f2", "<f4", ">f4", "<f8", "<c8", ">c16", "|S3"]


def typed(dtype, shape=(5, 6, 7)):
    array = cases.some_array(shape, "<i4")
    if dtype == "|b1":
        return array % 2 == 1
    return (array + 1j * array[::-1]).astype(dtype) if "c" in dtype else array.astype(dtype)


class Files(cases.Case):
    def test_npy_types(self):
        for dtype in TYPES:
            with self.subTest(dtype):
                array = typed(dtype)
                self.load_array("a", array, "--chunk-size", "2,3,4")
                self.assert_same(self.array("a"), array)
                self.ok("rm", "-f", "a")

    def test_npy_version_2(self):
        array = cases.some_array((3, 4))
        with open(self.path("v2.npy"), "wb") as file:
            numpy.lib.format.write_array(file, array, version=(2, 0))
        self.ok("load", "a", "v2.npy")
        self.assert_same(self.array("a"), array)

    def test_pipe(self):
        array = cases.some_array((11, 300, 400), "<u2")
        self.load_array("a", array)
        save = subprocess.Popen(self.command("save", "a", "-"), stdout=subprocess.PIPE, cwd=self.folder)
        load = subprocess.run(self.command("load", "b", "-"), stdin=save.stdout, cwd=self.folder, check=False)
        save.stdout.close()
        self.assertEqual((save.wait(), load.returncode), (0, 0))
        self.assert_same(self.array("b"), array)
        raw = array.tobytes()
        self.ok("load", "c", "-", "--shape", "11,300,400", "--dtype", "<u2", stdin=raw)
        self.assertEqual(self.ok("save", "c", "-", "--raw"), raw)
        self.assertEqual(self.ok("get", "c", "[3]", "-", "--raw"), array[3].tobytes())

    def test_each_chunk_is_stored_once(self):
        self.save_array("in.npy", cases.some_array((60, 70, 80)))
        done = self.run_dosna("load", "a", "in.npy", "--chunk-size", "16,16,16", "--json")
        self.assertIn(b'"chunks": 100', done.stdout)
        inodes = {name: os.stat(self.path("pool", "a", name)) for name in os.listdir(self.path("pool", "a"))}
        self.assertEqual(sum(name.startswith("chunk_") for name in inodes), 100)

    def test_rows_of_chunks(self):
        """Arrays so wide that a row of chunks is done before the next; no extent is a multiple of anything."""
        for shape, chunk in [((37, 130, 1500), "16,30,400"), ((700, 3001), "100,1000"), ((3, 4, 50, 41000), "2,3,7,9000"),
                             ((1000003,), "70000")]:
            for dtype in ("<f8", ">f8"):
                with self.subTest(shape=shape, dtype=dtype):
                    array = cases.some_array(shape, dtype)
                    self.save_array("in.npy", array)
                    self.ok("create", "a", "--shape", ",".join(map(str, shape)), "--dtype", "<f8", "--chunk-size", chunk)
                    self.ok("load", "a", "in.npy")
                    self.assert_same(self.array("a"), array.astype("<f8"))
                    self.ok("save", "a", "out.raw", "-f")
                    with open(self.path("out.raw"), "rb") as file:
                        self.assertEqual(file.read(), array.astype("<f8").tobytes())
                    self.ok("rm", "-f", "a")

    def test_small_cache_goes_by_parts(self):
        array = cases.some_array((40, 200, 200))
        self.save_array("in.npy", array)
        small = ["--connection-options", "cache_size=2M"]
        self.ok(*small, "load", "a", "in.npy", "--chunk-size", "16,16,16")
        self.ok(*small, "save", "a", "out.npy")
        self.assert_same(numpy.load(self.path("out.npy")), array)

    def test_hdf5_types(self):
        for i, dtype in enumerate(TYPES):
            with self.subTest(dtype):
                array = typed(dtype)
                with h5py.File(self.path("in.h5"), "a") as file:
                    file[f"g/{i}"] = array
                self.ok("load", "a", f"in.h5:/g/{i}", "--chunk-size", "2,3,4")
                self.assert_same(self.array("a"), array)
                self.ok("save", "a", f"out.h5:/g/{i}")
                with h5py.File(self.path("out.h5")) as file:
                    self.assertEqual(file[f"g/{i}"].chunks, (2, 3, 4))
                    self.assert_same(file[f"g/{i}"][...], array)
                self.ok("rm", "-f", "a")

    def test_hdf5_records(self):
        """Two floats are a complex number by their names alone: others would be read as whatever is in memory."""
        for i, fields in enumerate(([("x", "<f8"), ("y", "<f8")], [("r", "<f8"), ("i", "<i8")],
                                    [("r", "<f4"), ("i", "<f8")], [("r", "<f8"), ("j", "<f8")])):
            with self.subTest(fields):
                with h5py.File(self.path("in.h5"), "a") as file:
                    file[str(i)] = numpy.ones(5, fields)
                self.fails(1, "a type that a dataset cannot hold", "load", "a", f"in.h5:/{i}")

    def test_hdf5_file_keeps_the_rest(self):
        self.load_array("a", cases.some_array((4, 5)))
        with h5py.File(self.path("x.h5"), "w") as file:
            file["old"] = [1, 2]
        self.fails(1, "exists", "save", "a", "x.h5:/old")
        self.ok("save", "a", "x.h5:/new")
        self.ok("save", "a", "x.h5:/old", "-f")
        with h5py.File(self.path("x.h5")) as file:
            self.assertEqual((file["new"].shape, file["old"].shape), ((4, 5), (4, 5)))

    def test_tiff(self):
        for dtype in ["|u1", "<i2", ">u4", "<f4", ">f8", "<c8"]:
            for shape in [(6, 7), (5, 6, 7), (2, 3, 4, 5), (9,)]:
                with self.subTest(dtype=dtype, shape=shape):
                    array = cases.some_array(shape, dtype)
                    self.load_array("a", array)
                    self.ok("save", "a", "x.tif", "-f")
                    native = array.astype(array.dtype.newbyteorder("<"))
                    self.assert_same(tifffile.imread(self.path("x.tif")).reshape(shape), native)
                    self.ok("load", "b", "x.tif")
                    self.assert_same(self.array("b").reshape(shape), native)
                    self.ok("load", "a", "x.tif")
                    self.assert_same(self.array("a"), array)
                    self.ok("rm", "-f", "a", "b")

    def test_tiff_from_others(self):
        array = cases.some_array((5, 64, 48), "<u2")
        tifffile.imwrite(self.path("imagej.tif"), array, imagej=True)
        tifffile.imwrite(self.path("big.tif"), array, bigtiff=True, compression="zlib", rowsperstrip=10)
        tifffile.imwrite(self.path("rgb.tif"), array[..., :3].astype("u1"), photometric="rgb")
        tifffile.imwrite(self.path("motorola.tif"), array, byteorder=">")
        for name in ("imagej", "big", "motorola"):
            self.ok("load", name, name + ".tif")
            self.assert_same(self.array(name), array)
        self.ok("load", "rgb", "rgb.tif")
        self.assert_same(self.array("rgb"), array[..., :3].astype("u1"))

    def test_replacing(self):
        array = cases.some_array((4, 5))
        self.load_array("a", array)
        for name in ("x.npy", "x.tif", "x.raw"):
            with open(self.path(name), "wb") as file:
                file.write(b"old")
            self.fails(1, "exists", "save", "a", name)
            self.fails(1, "exists", "get", "a", "0", name)
            with open(self.path(name), "rb") as file:
                self.assertEqual(file.read(), b"old")
            self.ok("save", "a", name, "-f")
            self.assertGreaterEqual(os.path.getsize(self.path(name)), array.nbytes)

    def test_auto_chunks(self):
        for shape, dtype, chunk in [("1000,1000,1000", "<f8", "50, 51, 51"), ("10,10000,10000", "<u2", None),
                                    ("100000000", "|u1", "1048576"), ("3,3", "<f4", "3, 3")]:
            self.ok("create", "a", "--shape", shape, "--dtype", dtype, "--chunk-size", "auto")
            facts = self.ok("info", "a").decode()
            size = [int(n) for n in facts.split("chunk_size = ")[1].splitlines()[0].split(",")]
            if chunk:
                self.assertIn(f"chunk_size = {chunk}\n", facts)
            nbytes = int(numpy.prod(size)) * numpy.dtype(dtype).itemsize
            self.assertLessEqual(nbytes, 1 << 20)
            if shape != "3,3":
                self.assertGreater(nbytes, 1 << 19)
            self.ok("rm", "-f", "a")
