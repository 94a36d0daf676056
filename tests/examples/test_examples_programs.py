# SPDX-License-Identifier: Apache-2.0
"""The examples in C on every store that there is and with every engine, with numpy and scipy as the judges."""
import os
import subprocess
import unittest
import xml.etree.ElementTree as ET

import h5py
import numpy
import PIL.Image
from scipy import ndimage

import cases

BIN = os.environ.get("EXAMPLES_BIN", "")
SIZES = ("--data-sizes", "20", "30", "--chunk-sizes", "15", "25", "--ntest", "2", "--out", ".", "--tmp", ".")
WITHIN = 1e-5
RESULTS = {"data", "gaussian_3d", "gaussian_z", "gaussian_y", "gaussian_x"}


class ExampleCase(cases.Case):
    def example(self, name, *arguments):
        """Its exit status, standard output and standard error."""
        program = os.path.join(BIN, name)
        if not os.access(program, os.X_OK):
            self.skipTest(f"{name} is not built")
        start = cases.MPIEXEC if self.engine == "mpi" else []
        done = subprocess.run([*start, program, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                              cwd=self.folder, env=self.environment, timeout=cases.TIMEOUT, check=False)
        return done.returncode, done.stdout, done.stderr

    def works(self, name, *arguments):
        status, out, errors = self.example(name, *arguments)
        self.assertEqual((status, errors), (0, ""), out)
        return out

    def here(self, name, *arguments):
        """The same on the test's own store and engine."""
        return self.works(name, *self.where, *cases.ENGINES[self.engine], *arguments)

    def remove(self, names):
        there = set(self.listing()) & {name.replace("_", self.sign) for name in names}
        if there:
            self.ok("rm", "-f", *there)

    @property
    def sign(self):
        """What stands for _ in a listing."""
        return "-" if self.where[1:2] == ["s3"] else "_"


class AllBackends:
    """A class for each store follows."""
    store = None

    def check(self, engine, rows, *arguments):
        self.use(self.store, engine)
        out = self.works("all_backends", *self.where, "--backend", self.store, "--size", "21", "--chunk-size", "11",
                         *arguments)
        table = [line.split() for line in out.splitlines()]
        self.assertEqual(table[0][2:8], ["load", "read", "parts", "map", "clone", "clear"])
        self.assertEqual([(row[0], row[1], row[-1]) for row in table[1:]],
                         [(self.store, row, "verified") for row in rows])
        self.assertFalse([name for name in self.listing() if name.startswith("all-backends")])

    def test_one_machine(self):
        self.check("threads", ["cpu", "threads", "processes"], "--njobs", "3")

    def test_mpi(self):
        self.check("mpi", ["mpi"], "--engine", "mpi")


class Everywhere:
    """A class for each store and engine follows."""
    store = engine_name = None

    def setUp(self):
        super().setUp()
        self.use(self.store, self.engine_name)
        self.addCleanup(self.remove, RESULTS)

    def test_mpi_demo(self):
        out = self.here("mpi_demo", "--size", "21", "--chunk-size", "8").splitlines()
        size = {"processes": 3, "mpi": 4}.get(self.engine_name, 1)
        self.assertEqual(len(out), 3)
        for axis, line in enumerate(out):
            self.assertRegex(line, rf"^{size} processes: written across axis {axis} .* verified$")

    def chunked(self, data, fn, extents):
        """fn() of each chunk by itself."""
        out = numpy.empty_like(data)
        for index in numpy.ndindex(*(-(-n // c) for n, c in zip(data.shape, extents))):
            box = tuple(slice(i * c, (i + 1) * c) for i, c in zip(index, extents))
            out[box] = fn(data[box])
        return out

    def assert_near(self, name, wanted):
        difference = numpy.abs(self.array(name) - wanted).max()
        self.assertLessEqual(difference, WITHIN, name)

    def test_convolution(self):
        self.here("convolution", *SIZES, "--keep")
        self.assertGreaterEqual(set(self.listing()), {name.replace("_", self.sign) for name in RESULTS})
        data = self.array("data")
        self.assertEqual((data.shape, data.dtype.str), ((30, 30, 30), "<f4"))
        self.assertTrue(0 <= data.min() < 0.01 and 0.99 < data.max() < 1 and 0.49 < data.mean() < 0.51)

        wanted = self.chunked(data, lambda chunk: ndimage.gaussian_filter(chunk, 1.5), (25, 25, 25))
        self.assert_near("gaussian_3d", wanted)
        self.assert_near("gaussian_x", wanted)
        slabs = self.chunked(data, lambda slab: ndimage.gaussian_filter1d(slab, 1.5, axis=0), (25, 30, 30))
        self.assert_near("gaussian_z", slabs)

        size = {"processes": 3, "mpi": 4}.get(self.engine_name, 1)
        self.check_result_file(size)
        self.check_pictures(size, wanted[15])

    def test_convolution_of_the_whole(self):
        self.here("convolution", "--data-sizes", "30", "--chunk-sizes", "12", "--ntest", "1", "--tmp", ".",
                  "--sigma", "3.5", "--halo", "--keep") # the filter is wider than a chunk
        wanted = ndimage.gaussian_filter(self.array("data"), 3.5)
        self.assert_near("gaussian_3d", wanted)
        self.assert_near("gaussian_x", wanted)

    def check_result_file(self, size):
        with h5py.File(self.path("result.h5")) as file:
            dataset = file[f"{self.store}/{size}"]
            self.assertEqual((dataset.shape, dataset.dtype.str), ((2, 2, 3, 2), "<f4"))
            self.assertTrue((dataset[0, 1] == 0).all(), "chunks larger than the data are left out")
            self.assertTrue((dataset[0, 0] > 0).all() and (dataset[1] > 0).all())
            attributes = dict(dataset.attrs)
        self.assertEqual([attributes[f"axis{i}_label"] for i in range(4)],
                         ["Data Size", "Chunk Size", "Tests", "# Tests"])
        for key, values in (("axis0_value", [20, 30]), ("axis1_value", [15, 25]), ("axis3_value", [0, 1])):
            self.assertEqual((attributes[key].dtype.str, list(attributes[key])), ("<i8", values))
        self.assertEqual((attributes["axis2_value"].dtype.str, list(attributes["axis2_value"])),
                         ("|S4", [b"DATA", b"3D", b"1D"]))

    def check_pictures(self, size, plane):
        grey = (plane - plane.min()) / (plane.max() - plane.min()) * 255
        for name in (f"conv3d_{size}-30-25.png", f"conv3x1d_{size}-30-25.png"):
            with PIL.Image.open(self.path(name)) as image:
                pixels = numpy.asarray(image)
            self.assertEqual((pixels.shape, pixels.dtype.str), ((30, 30), "|u1"))
            self.assertLessEqual(numpy.abs(pixels - grey).max(), 0.51)
        self.assertTrue(os.path.exists(self.path(f"conv3d_{size}-20-15.png")))
        for data, points in ((20, 3), (30, 6)): # of three curves
            root = ET.parse(self.path(f"time_{size}-{data}.svg")).getroot()
            self.assertEqual(len(root.findall("{http://www.w3.org/2000/svg}circle")), points)


for _store in cases.STORES:
    _name = f"{_store.capitalize()}AllBackends"
    globals()[_name] = type(_name, (AllBackends, ExampleCase), {"store": _store})
    for _engine in cases.ENGINES:
        _name = f"{_store.capitalize()}{_engine.capitalize()}"
        globals()[_name] = type(_name, (Everywhere, ExampleCase), {"store": _store, "engine_name": _engine})


class Once(ExampleCase):
    """What no store and no engine changes, on hdf5."""

    def in_pool(self):
        return ["-o", "backend=hdf5", "-o", "directory=" + self.folder]

    def test_tutorial(self):
        for where in ([], [*self.in_pool(), "pool"]):
            out = self.works("tutorial", *where)
            self.assertRegex(out, r"\[50, ::-10, 7\]\[0\] +50.99\n")
        self.assertEqual(self.listing(), [])
        status, _, errors = self.example("tutorial", *self.in_pool(), "nowhere")
        self.assertEqual((status, errors.count("\n")), (1, 1), errors)

    def test_read_slab(self):
        array = cases.some_array((10, 11, 12), "<u2")
        self.load_array("a", array, "--chunk-size", "4,4,4")
        self.works("read_slab", *self.in_pool(), "pool", "a", "2:9,,3:7")
        done = subprocess.run([os.path.join(BIN, "read_slab"), *self.in_pool(), "pool", "a", "2:9,,3:7"],
                              stdout=subprocess.PIPE, env=self.environment, check=True)
        self.assertEqual(done.stdout, array[2:9, :, 3:7].tobytes())

    def test_all_backends_by_a_file(self):
        with open(self.path("stores.conf"), "w", encoding="utf-8") as file:
            file.write(f"[hdf5]\ndirectory = {self.folder}\n[dosnafs]\nnjobs = 2\n")
        out = self.works("all_backends", "--config", "stores.conf", "--connection", "pool", "--size", "21",
                         "--chunk-size", "8")
        rows = {tuple(line.split()[:2]): line for line in out.splitlines()[1:]}
        for backend, engine in (("ram", "cpu"), ("ram", "threads"), ("hdf5", "cpu"), ("hdf5", "threads"),
                                ("hdf5", "processes")):
            self.assertTrue(rows[backend, engine].endswith("verified"), out)
        self.assertIn("left out: backend ram cannot be used with jlbackend=multiprocessing", rows["ram", "processes"])
        self.assertNotIn("FAILED", out)

    def test_all_backends_touches_nothing_of_others(self):
        array = cases.some_array((5, 6, 7))
        self.load_array("all-backends-clone", array)
        status, out, _ = self.example("all_backends", *self.where, "--backend", "hdf5", "--engine", "cpu")
        self.assertEqual(status, 1)
        self.assertIn("FAILED: the connection holds a dataset 'all-backends-clone' already", out)
        self.assert_same(self.array("all-backends-clone"), array)
        self.assertEqual(self.listing(), ["all-backends-clone"])

    def test_convolution_leaves_nothing(self):
        self.here("convolution", *SIZES)
        self.assertEqual(self.listing(), [])
        self.assertEqual([name for name in os.listdir(self.folder) if name.startswith("convolution-")], [])
        self.here("convolution", *SIZES)  # into the same file
        status, _, errors = self.example("convolution", *self.where, *SIZES, "--ntest", "3")
        self.assertEqual(status, 1)
        self.assertIn("of other sizes", errors)

    def test_convolution_touches_nothing_of_others(self):
        array = cases.some_array((5, 6, 7))
        self.load_array("gaussian_y", array)
        status, _, errors = self.example("convolution", *self.where, *SIZES)
        self.assertEqual(status, 1)
        self.assertIn("'gaussian_y' already", errors)
        self.assert_same(self.array("gaussian_y"), array)
        self.assertEqual(self.listing(), ["gaussian_y"])

    def test_wrong_calls(self):
        for status, text, call in [(2, "'--nothing' is no option", ["--nothing"]), (2, "'x' is no option", ["--halo", "x"]),
                                   (2, "--sigma: S is missing", ["--sigma"]),
                                   (2, "unknown option 'nothing'", ["--connection-options", "nothing=1"]),
                                   (2, "engine = nothing", ["--engine", "nothing"]), (1, "no whole number", ["--ntest", "0"]),
                                   (1, "sigma", ["--sigma", "x"]), (2, "no backend 'nothing'", ["--backend", "nothing"])]:
            with self.subTest(call):
                got, _, errors = self.example("convolution", *self.where, *call)
                self.assertEqual((got, errors.count("\n")), (status, 1), errors)
                self.assertIn(text, errors)


if __name__ == "__main__":
    unittest.main()
