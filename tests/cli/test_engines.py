# SPDX-License-Identifier: Apache-2.0
"""Every command on every store that there is and with every engine; the results are what numpy has."""
import json
import os
import unittest

import numpy

import cases

CHUNKS = ("--chunk-size", "8,8,8")
NEGATE = ("/usr/bin/python3", "-c", "import sys, numpy\n"
          "sys.stdout.buffer.write((-numpy.frombuffer(sys.stdin.buffer.read(), '<f4')).tobytes())")


class Commands:
    """The tests; a class for each store and engine follows."""
    store = engine = None

    def setUp(self):
        super().setUp()
        self.use(self.store, self.engine)

    def tearDown(self):
        if hasattr(self, "suffix"):
            left = [name for name in self.listing() if name.endswith(self.suffix)]
            if left:
                self.ok("rm", "-f", *left)
        super().tearDown()

    def ours(self):
        return {name for name in self.listing() if name.endswith(self.suffix)}

    def test_create_info_ls(self):
        a = self.name("a")
        self.ok("create", a, "--shape", "10,20", "--dtype", ">i4", "--chunk-size", "4,5", "--fillvalue", "-3")
        facts = json.loads(self.ok("info", a, "--json"))
        self.assertEqual((facts["shape"], facts["dtype"], facts["chunk_size"], facts["fillvalue"]),
                         ([10, 20], ">i4", [4, 5], "-3"))
        self.assertEqual((facts["chunks"], facts["stored"], facts["nbytes"]), (12, 0, 800))
        self.assertEqual(self.ours(), {a})
        numpy.testing.assert_array_equal(self.array(a), numpy.full((10, 20), -3))

    def test_load_save(self):
        a, array = self.name("a"), cases.some_array()
        self.load_array(a, array, *CHUNKS)
        facts = json.loads(self.ok("info", a, "--json"))
        self.assertEqual((facts["stored"], facts["chunks"]), (36, 36))
        self.assert_same(self.array(a), array)
        with open(self.path("raw"), "wb") as file:
            file.write((array + 1).tobytes())
        self.ok("load", a, "raw")
        self.assertEqual(self.ok("save", a, "-", "--raw"), (array + 1).tobytes())
        self.assertEqual([name for name in os.listdir(self.folder) if ".part" in name], [])

    def test_hdf5_file(self):
        a, b, array = self.name("a"), self.name("b"), cases.some_array()
        self.load_array(a, array, *CHUNKS)
        self.ok("save", a, "x.h5:/group/data")
        self.ok("load", b, "x.h5:/group/data", *CHUNKS)
        self.assert_same(self.array(b), array)

    def test_get_set(self):
        a, array = self.name("a"), cases.some_array(dtype="<i4")
        self.load_array(a, array, *CHUNKS)
        self.ok("set", a, "[2:15, -3, 1::2]", "7")
        array[2:15, -3, 1::2] = 7
        self.save_array("part.npy", -array[:4, 5:9, 3:])
        self.ok("set", a, "[:4, 5:9, 3:]", "part.npy")
        array[:4, 5:9, 3:] *= -1
        self.assert_same(self.array(a), array)
        self.ok("get", a, "[..., ::-3]", "got.npy")
        self.assert_same(numpy.load(self.path("got.npy")), numpy.ascontiguousarray(array[..., ::-3]))
        self.assertEqual(self.ok("get", a, "3, 4").decode(), str(array[3, 4]) + "\n")

    def test_clone(self):
        a, b, c, array = self.name("a"), self.name("b"), self.name("c"), cases.some_array()
        self.load_array(a, array, *CHUNKS)
        self.ok("clone", a, b)
        self.ok("clone", a, c, "--data")
        self.assertEqual(json.loads(self.ok("info", b, "--json"))["stored"], 0)
        self.assertFalse(self.array(b).any())
        self.assert_same(self.array(c), array)
        self.ok("set", a, "...", "0")
        self.assert_same(self.array(c), array)

    def test_map_apply(self):
        a, b, array = self.name("a"), self.name("b"), cases.some_array((9, 10, 11))
        self.load_array(a, array, *CHUNKS)
        self.ok("map", a, b, "--", *NEGATE)
        self.assert_same(self.array(b), -array)
        self.assert_same(self.array(a), array)
        self.ok("apply", a, "--", *NEGATE)
        self.assert_same(self.array(a), -array)

    def test_map_fails(self):
        a, b, array = self.name("a"), self.name("b"), cases.some_array((9, 10, 11))
        self.load_array(a, array, *CHUNKS)
        self.fails(1, "status 1", "map", a, b, "--", "false")
        self.assertEqual(self.ours(), {a})
        second = "test $DOSNA_INDEX = 1,0,0 && exit 3; tr '\\0-\\377' '\\1-\\377\\0'"
        self.assertIn("chunk (1, 0, 0): sh ended with status 3",
                      self.fails(1, "status 3", "apply", a, "--", "sh", "-c", second))
        numpy.testing.assert_array_equal(self.array(a)[8:9, :8, :8], array[8:9, :8, :8])

    def test_clear_rm(self):
        a, b = self.name("a"), self.name("b")
        self.load_array(a, cases.some_array(), *CHUNKS)
        self.load_array(b, cases.some_array(), *CHUNKS)
        self.ok("clear", "-f", a)
        self.assertEqual(json.loads(self.ok("info", a, "--json"))["stored"], 0)
        self.assertFalse(self.array(a).any())
        self.ok("rm", "-f", a, b)
        self.assertEqual(self.ours(), set())

    def test_check(self):
        a = self.name("a")
        self.load_array(a, cases.some_array(), *CHUNKS)
        found = json.loads(self.ok("check", a, "--json"))
        self.assertEqual(found, {"findings": [], "stored": 36, "missing": 0, "damaged": 0, "strays": 0})

    def test_show(self):
        a = self.name("a")
        self.load_array(a, cases.some_array(dtype="|u1"), *CHUNKS)
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
        for command in (["info", a], ["save", a, "x.npy"], ["clone", a, "b", "--data"], ["rm", a], ["clear", a],
                        ["apply", a, "--", "cat"], ["load", a, "nothing.npy"], ["check", a], ["get", a, "0"]):
            with self.subTest(command):
                self.fails(1, "", *command)
        self.fails(2, "--shape", "create", a)


class BytesOfStore(cases.Case):
    """What the engines leave in the store is the same, byte for byte."""

    def stored(self, name):
        folder = self.path("pool", name)
        chunks = {}
        for file in os.listdir(folder):
            with open(os.path.join(folder, file), "rb") as stream:
                chunks[file] = stream.read()
        return chunks

    def make(self, engine):
        self.use("hdf5", engine)
        self.ok("load", engine, "in.npy", *CHUNKS)
        self.ok("map", engine, engine + "-map", "--", *NEGATE)
        self.ok("clone", engine, engine + "-clone", "--data")
        return [self.array(engine + what) for what in ("", "-map", "-clone")], self.stored(engine).keys()

    def test_same(self):
        self.save_array("in.npy", cases.some_array((30, 17, 19)))
        arrays, names = self.make("cpu")
        for engine in ("threads", "processes", "mpi"):
            if engine == "mpi" and not cases.has_mpi():
                continue
            others, other_names = self.make(engine)
            self.assertEqual(names, other_names)
            for mine, other in zip(arrays, others):
                self.assert_same(mine, other)
            for what in ("-clone",):
                self.assertEqual(self.stored(engine), self.stored(engine + what))


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


for store_name in cases.STORES:
    for engine_name in cases.ENGINES:
        title = f"{store_name.capitalize()}{engine_name.capitalize()}"
        globals()[title] = type(title, (Commands, cases.Case), {"store": store_name, "engine": engine_name})

if __name__ == "__main__":
    unittest.main()
