# SPDX-License-Identifier: Apache-2.0
"""Every command with every engine on a store, $DOSNA_TEST_STORE; what it leaves there is what numpy has.

Others, h5py, python3-rados or boto3, make the datasets and read the results.
"""
import json
import os
import subprocess
import unittest

import h5py
import numpy

import cases
import stores

CHUNK = (8, 8, 8)
CHUNKS = ("--chunk-size", "8,8,8")
# Adds one to each byte.
ADD = ("tr", r"\0-\377", r"\1-\377\0")
ENGINES = ("threads", "processes") if cases.SHORT else tuple(cases.ENGINES)


class Commands:
    """The tests; a class for each engine follows."""
    engine = None

    def setUp(self):
        engine = self.engine
        super().setUp()
        self.use(stores.STORE, engine)

    def will_make(self, *bases):
        """Names of datasets that go after the test."""
        names = [self.name(base) for base in bases]
        self.addCleanup(self.remove, names)
        return names

    def remove(self, names):
        for name in set(names) & set(self.pool.stored.names()):
            self.pool.stored.remove(name)

    def make(self, base, array):
        """A dataset of others."""
        [name] = self.will_make(base)
        self.pool.stored.create(name, array.shape, array.dtype, CHUNK[:array.ndim])
        self.pool.stored.store(name, array)
        return name

    def ours(self):
        return {name for name in self.pool.stored.names() if name.endswith(self.suffix)}

    def test_create_info_ls(self):
        [a] = self.will_make("a")
        self.ok("create", a, "--shape", "10,20", "--dtype", ">i4", "--chunk-size", "4,5", "--fillvalue", "-3")
        facts = json.loads(self.ok("info", a, "--json"))
        self.assertEqual((facts["shape"], facts["dtype"], facts["chunk_size"], facts["fillvalue"]),
                         ([10, 20], ">i4", [4, 5], "-3"))
        self.assertEqual((facts["chunks"], facts["stored"], facts["nbytes"]), (12, 0, 800))
        self.assertIn(a, self.listing())
        self.assertEqual(self.pool.stored.describe(a), ((10, 20), numpy.dtype(">i4"), (4, 5), -3))

    def test_load_save(self):
        [a], array = self.will_make("a"), cases.some_array((20, 15, 17))
        self.load_array(a, array, *CHUNKS)
        self.assertEqual(self.pool.stored.contents(a), 18)
        self.assert_same(self.pool.stored.load(a), array)
        self.assert_same(self.array(a), array)
        with open(self.path("raw"), "wb") as file:
            file.write((array + 1).tobytes())
        self.ok("load", a, "raw")
        self.assertEqual(self.ok("save", a, "-", "--raw"), (array + 1).tobytes())
        self.assertEqual([name for name in os.listdir(self.folder) if ".part" in name], [])

    def test_hdf5_file(self):
        [b], array = self.will_make("b"), cases.some_array()
        a = self.make("a", array)
        self.ok("save", a, "x.h5:/group/data")
        with h5py.File(self.path("x.h5")) as file:
            self.assert_same(file["group/data"][...], array)
        self.ok("load", b, "x.h5:/group/data", *CHUNKS)
        self.assert_same(self.pool.stored.load(b), array)

    def test_get_set(self):
        array = cases.some_array(dtype="<i4")
        a = self.make("a", array)
        self.ok("set", a, "[2:15, -3, 1::2]", "7")
        array[2:15, -3, 1::2] = 7
        self.save_array("part.npy", -array[:4, 5:9, 3:])
        self.ok("set", a, "[:4, 5:9, 3:]", "part.npy")
        array[:4, 5:9, 3:] *= -1
        self.assert_same(self.pool.stored.load(a), array)
        self.ok("get", a, "[..., ::-3]", "got.npy")
        self.assert_same(numpy.load(self.path("got.npy")), numpy.ascontiguousarray(array[..., ::-3]))
        self.assertEqual(self.ok("get", a, "3, 4").decode(), str(array[3, 4]) + "\n")

    def test_clone(self):
        [b, c], array = self.will_make("b", "c"), cases.some_array()
        a = self.make("a", array)
        self.ok("clone", a, b)
        self.ok("clone", a, c, "--data")
        self.assertEqual(self.pool.stored.contents(b), 0)
        self.assertEqual(self.pool.stored.describe(b), self.pool.stored.describe(a))
        self.pool.stored.store(a, -array)
        self.assert_same(self.pool.stored.load(c), array)

    def test_map_apply(self):
        [b], array = self.will_make("b"), cases.some_array((9, 10, 11), "<u2")
        a, more = self.make("a", array), (array.view("u1") + numpy.uint8(1)).view("<u2")
        self.ok("map", a, b, "--", *ADD)
        self.assert_same(self.pool.stored.load(b), more)
        self.assert_same(self.pool.stored.load(a), array)
        self.ok("apply", a, "--", *ADD)
        self.assert_same(self.pool.stored.load(a), more)

    def test_map_fails(self):
        array = cases.some_array((9, 10, 11))
        a = self.make("a", array)
        self.fails(1, "status 1", "map", a, self.name("b"), "--", "false")
        self.assertEqual(self.ours(), {a})
        second = "test $DOSNA_INDEX = 1,0,0 && exit 3; tr '\\0-\\377' '\\1-\\377\\0'"
        self.assertIn("chunk (1, 0, 0): sh ended with status 3",
                      self.fails(1, "status 3", "apply", a, "--", "sh", "-c", second))
        numpy.testing.assert_array_equal(self.pool.stored.load(a)[8:9, :8, :8], array[8:9, :8, :8])

    def test_clear_rm(self):
        a, b = self.make("a", cases.some_array()), self.make("b", cases.some_array((9, 9)))
        self.ok("clear", "-f", a)
        self.assertEqual(self.pool.stored.contents(a), 0)
        self.ok("rm", "-f", a, b)
        self.assertEqual(self.ours(), set())

    def test_check(self):
        a = self.make("a", cases.some_array())
        found = json.loads(self.ok("check", a, "--json"))
        self.assertEqual(found, {"findings": [], "stored": 36, "missing": 0, "wrong_length": 0, "damaged": 0, "strays": 0})

    def test_show(self):
        a = self.make("a", cases.some_array((9, 10, 11), "|u1"))
        self.ok("show", a, "a.png")
        with open(self.path("a.png"), "rb") as file:
            self.assertEqual(file.read(8), b"\x89PNG\r\n\x1a\n")

    def test_bench(self):
        rows = json.loads(self.ok("bench", "--json", "--size", "64K", "--plot", "p.png"))
        self.assertEqual({(row["chunk"], row["njobs"]) for row in rows},
                         {(chunk, jobs) for chunk in (16, 32, 64, 128) for jobs in (1, 4, 16)})
        self.assertTrue(all(row["write_mib_s"] > 0 and row["read_mib_s"] > 0 for row in rows))
        self.assertTrue(os.path.getsize(self.path("p.png")) > 0)

    def test_failure_is_one_message(self):
        a = self.name("a")
        for command in (["info", a], ["save", a, "x.npy"], ["clone", a, "b", "--data"], ["rm", "-f", a],
                        ["apply", a, "--", "cat"], ["load", a, "nothing.npy"]):
            with self.subTest(command):
                self.fails(1, "", *command)
        self.fails(2, "--shape", "create", a)


for engine_name in ENGINES:
    title = engine_name.capitalize()
    globals()[title] = type(title, (Commands, cases.Case), {"engine": engine_name})


class BytesOfStore(cases.Case):
    """What the engines leave in the store is the same, byte for byte, padding too."""

    def stored(self, name):
        chunks = [(i, j) for i in range(4) for j in range(3)]
        if stores.STORE == "hdf5":
            return [self.pool.stored.chunk_path(name, index).read_bytes() for index in chunks]
        return [self.pool.stored.get(name, index) for index in chunks]

    def make(self, engine):
        names = [self.name(f"{engine}{what}") for what in ("", "-map", "-clone")]
        self.use(stores.STORE, engine)
        for name in names:
            self.addCleanup(self.pool.stored.remove, name)
        self.ok("load", names[0], "in.npy", "--chunk-size", "8,8")
        self.ok("map", names[0], names[1], "--", *ADD)
        self.ok("clone", names[0], names[2], "--data")
        return [self.stored(name) for name in names]

    def test_same(self):
        self.save_array("in.npy", cases.some_array((30, 17)))
        serial = self.make("cpu")
        self.assertEqual(serial[0], serial[2])
        for engine in ENGINES:
            if engine != "cpu" and (engine != "mpi" or cases.has_mpi()):
                with self.subTest(engine):
                    self.assertEqual(self.make(engine), serial)


@unittest.skipIf(stores.STORE != "hdf5", "it is about ram")
class Private(cases.Case):
    """Each process would have a store of its own."""

    def test_ram(self):
        for engine in ("processes", "mpi"):
            with self.subTest(engine):
                self.use("hdf5", engine)
                self.where = ["--connection", "any", "--backend", "ram"]
                self.fails(1, "a store of its own", "create", "a", "--shape", "3", "--dtype", "u1")
                self.fails(1, "a store of its own", "ls")

    def test_ram_in_one_process(self):
        for engine in ("cpu", "threads"):
            self.use("hdf5", engine)
            self.where = ["--connection", "any", "--backend", "ram"]
            self.ok("create", "a", "--shape", "3", "--dtype", "u1")
            self.assertEqual(self.listing(), [])
            self.assertEqual(len(json.loads(self.ok("bench", "--json", "--size", "64K"))), 12)


@unittest.skipIf(stores.STORE != "hdf5", "it is about mpi")
class Ranks(cases.Case):
    def test_one_is_called_the_wrong_way(self):
        """Such as by a file that one machine does not have: the others do not wait for it."""
        self.use("hdf5", "mpi")
        program = self.command("ls")[len(cases.MPIEXEC):]
        call = ["mpiexec", "--oversubscribe", "--allow-run-as-root", "-n", "2", *program, ":",
                "-n", "1", *program, "--config", "nowhere.conf"]
        done = subprocess.run(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.folder,
                              env=self.environment, timeout=cases.TIMEOUT, check=False)
        said = [line for line in done.stderr.decode().splitlines() if line.startswith("dosna:")]
        self.assertEqual(done.returncode, 2)
        self.assertEqual(said, ["dosna: ls: nowhere.conf: No such file or directory"])


if __name__ == "__main__":
    unittest.main()
