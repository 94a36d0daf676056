# SPDX-License-Identifier: Apache-2.0
"""What the tests of `dosna` share.

    class Test(cases.Case):
        def test_something(self):
            self.ok("create", "a", "--shape", "4,4", "--dtype", "<f4")   # exit 0, nothing on standard error
            self.fails(1, "no such", "info", "b")                        # exit 1, one line that says "no such"

The program is $DOSNA_BIN. Each test has a folder of its own, self.folder, in which the commands run, and a
connection of the store that $DOSNA_TEST_STORE names (stores.py): an hdf5 one is in that folder and empty, one on a
server is this run's, and each test removes what it made. self.pool is that connection as stores.py has it. ENGINES
are the arguments that choose each engine. $DOSNA_TEST_SHORT asks for less of what takes long.
"""
import atexit
import functools
import os
import shutil
import subprocess
import tempfile
import unittest
import uuid

import numpy

import stores

BIN = os.environ.get("DOSNA_BIN", "")
TIMEOUT = float(os.environ.get("DOSNAFS_TEST_TIMEOUT", "60"))
SHORT = bool(os.environ.get("DOSNA_TEST_SHORT"))
STORES = tuple(stores.KINDS)
MPIEXEC = ["mpiexec", "-n", "4", "--oversubscribe", "--allow-run-as-root"]
ENGINES = {
    "cpu": ["--engine", "cpu"],
    "threads": ["--engine", "threads", "--njobs", "8"],
    "processes": ["--engine", "jl", "--jlbackend", "multiprocessing", "--njobs", "3"],
    "mpi": ["--engine", "mpi"],
}


def has_mpi():
    """Is the program built with MPI, and is there somebody to start it?"""
    if not shutil.which("mpiexec") or not os.access(BIN, os.X_OK):
        return False
    return b"libmpi" in subprocess.run(["ldd", BIN], stdout=subprocess.PIPE, check=False).stdout


@functools.cache
def is_built(store):
    text = subprocess.run([BIN, "--help"], stdout=subprocess.PIPE, check=True).stdout.decode()
    return f"\n  {store} " in text.split("\nBackends:")[1]


@functools.cache
def missing(store):
    """Why there is no such store here, or None."""
    return stores.missing(store) if is_built(store) else f"dosna is built without the {store} backend"


@functools.cache
def shared_pool(store):
    """The connection of this run to a server."""
    pool = stores.KINDS[store]()
    atexit.register(pool.remove)
    return pool


@unittest.skipUnless(os.access(BIN, os.X_OK), "DOSNA_BIN is no program")
class Case(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="dosna-cli-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.use(stores.STORE)

    def path(self, *names):
        return os.path.join(self.folder, *names)

    def use(self, store, engine="threads"):
        """Commands go to this store and engine from now on; skips what cannot be used."""
        if missing(store):
            self.skipTest(missing(store))
        if engine == "mpi" and not has_mpi():
            self.skipTest("no mpiexec, or a program without MPI")
        self.pool = shared_pool(store) if store != "hdf5" else self._folder_pool
        options = [f"{key}={value}" for key, value in self.pool.options.items() if key != "backend"]
        self.where = ["--backend", store, "--connection", self.pool.name, "--connection-options", *options]
        self.environment = {**os.environ, **self.pool.env, "DOSNAFS_CONF": "", "HOME": self.folder}
        if engine == "mpi": # its library leaks, and takes its own locks in any order
            self.environment["ASAN_OPTIONS"] = "detect_leaks=0"
            self.environment["TSAN_OPTIONS"] = os.environ.get("TSAN_OPTIONS", "") + ":detect_deadlocks=0"
        self.engine = engine

    @functools.cached_property
    def _folder_pool(self):
        return stores.Hdf5Pool(self.folder)

    def name(self, base):
        """A name that no other test on a shared store has."""
        if not hasattr(self, "suffix"):
            self.suffix = uuid.uuid4().hex[:8]
        return base + "-" + self.suffix

    def command(self, *arguments):
        start = MPIEXEC if self.engine == "mpi" else []
        return [*start, BIN, *self.where, *ENGINES[self.engine], *arguments]

    def run_dosna(self, *arguments, stdin=b""):
        return subprocess.run(self.command(*arguments), input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              cwd=self.folder, env=self.environment, timeout=TIMEOUT, check=False)

    def ok(self, *arguments, stdin=b""):
        """Its standard output."""
        done = self.run_dosna(*arguments, stdin=stdin)
        self.assertEqual((done.returncode, done.stderr.decode()), (0, ""), arguments)
        return done.stdout

    def fails(self, status, text, *arguments, stdin=b""):
        done = self.run_dosna(*arguments, stdin=stdin)
        lines = [line for line in done.stderr.decode().splitlines() if line.startswith("dosna:")]
        self.assertEqual(done.returncode, status, (arguments, lines))
        self.assertEqual(len(lines), 1, (arguments, done.stderr.decode()))
        if self.engine != "mpi": # mpiexec says something of its own
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr.decode())
        self.assertIn(text, lines[0])
        return lines[0]

    def save_array(self, name, array):
        numpy.save(self.path(name), array)
        return name

    def array(self, name):
        """A dataset as numpy has it."""
        self.ok("save", name, "out.npy", "-f")
        return numpy.load(self.path("out.npy"))

    def load_array(self, name, array, *arguments):
        self.save_array("in.npy", array)
        self.ok("load", name, "in.npy", *arguments)

    def check_print(self, array, *picked):
        """`get` prints all of it, and the elements at those indices alone, as numpy does."""
        a = self.name("printed")
        self.pool.stored.create(a, array.shape, array.dtype)
        try:
            self.pool.stored.store(a, array)
            self.assertEqual(self.ok("get", a, "...").decode(), str(array) + "\n", array.dtype)
            for index in picked:
                text = self.ok("get", a, str(index).strip("()")).decode()
                self.assertEqual(text, str(array[index]) + "\n", (array.dtype, index))
        finally:
            self.pool.stored.remove(a)

    def listing(self):
        return self.ok("ls").decode().split()

    def assert_same(self, a, b):
        self.assertEqual((a.dtype.str, a.shape), (b.dtype.str, b.shape))
        self.assertEqual(a.tobytes(), b.tobytes())


def some_array(shape=(20, 31, 17), dtype="<f4", seed=1):
    generator = numpy.random.default_rng(seed)
    if numpy.dtype(dtype).kind == "f":
        return generator.standard_normal(shape).astype(dtype)
    return generator.integers(0, 100, shape).astype(dtype)
