# SPDX-License-Identifier: Apache-2.0
"""Files and pipes that results go to: full, gone, shared with others; and what is left when the work fails."""
import json
import os
import resource
import signal
import stat
import subprocess
import time

import h5py
import numpy

import cases

KINDS = ("x.npy", "x.raw", "x.tif", "x.h5:/g1/g2/d")
# Own mounts, gone with the process; whoever is not root is root there.
UNSHARE = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
ON_SMALL_DISK = 'mount -t tmpfs -o size=64k none full || exit 99; "$@"; status=$?; ls -A full; exit $status'


def can_mount():
    done = subprocess.run([*UNSHARE, "mount", "-t", "tmpfs", "none", "/mnt"], stderr=subprocess.DEVNULL, check=False)
    return done.returncode == 0


def limit_files():
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))


def leave_sigpipe_alone():
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)


class Files(cases.Case):
    def setUp(self):
        super().setUp()
        self.load_array("a", cases.some_array((50, 60, 70)), "--chunk-size", "16,32,32")
        os.mkdir(self.path("full"))

    def environment_of(self, call):
        """libhdf5 loses memory with a file that it cannot close."""
        hdf5 = any(".h5:" in word for word in call)
        return {**self.environment, "ASAN_OPTIONS": "detect_leaks=0"} if hdf5 else self.environment

    def start(self, *arguments, **options):
        return subprocess.Popen(self.command(*arguments), stderr=subprocess.PIPE, cwd=self.folder,
                                env=self.environment_of(arguments), **options)

    def test_full_disk(self):
        if not can_mount():
            self.skipTest("no file system can be mounted here")
        self.load_array("big", cases.some_array((400, 400)))
        calls = [["save", "a", f"full/{kind}"] for kind in KINDS]
        calls += [["get", "a", "...", "full/x.npy"], ["show", "big", "full/x.png"]]
        for engine in ("threads", "processes"):
            self.use("hdf5", engine)
            for call in calls:
                with self.subTest(call, engine=engine):
                    done = subprocess.run([*UNSHARE, "sh", "-c", ON_SMALL_DISK, "sh", *self.command(*call)], check=False,
                                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.folder,
                                          env=self.environment_of(call), timeout=cases.TIMEOUT)
                    text = done.stderr.decode()
                    self.assertEqual((done.returncode, done.stdout), (1, b""), text) # nothing is left
                    self.assertEqual(text.count("\n"), 1, text)
                    self.assertIn("full/x", text)
                    self.assertTrue(text.endswith("No space left on device\n"), text)

    def test_file_size_limit(self):
        for kind in KINDS:
            with self.subTest(kind):
                # pylint: disable-next=subprocess-popen-preexec-fn
                process = self.start("save", "a", f"full/{kind}", preexec_fn=limit_files)
                text = process.communicate(timeout=cases.TIMEOUT)[1].decode()
                self.assertEqual(process.returncode, 1, text)
                self.assertTrue(text.endswith("File too large\n"), text)
                self.assertEqual(os.listdir(self.path("full")), [])

    def test_failed_save_into_hdf5(self):
        """No groups on the way to the dataset, not a byte changed, and no new file."""
        with h5py.File(self.path("x.h5"), "w") as file:
            file["old"] = [1, 2]
            file["group/d"] = 3
        with open(self.path("x.h5"), "rb") as file:
            whole = file.read()
        os.truncate(self.path("pool", "a", "chunk_3_1_2.h5"), 100)
        self.fails(1, "chunk_3_1_2", "save", "a", "x.h5:/g1/g2/d")
        self.fails(1, "chunk_3_1_2", "save", "a", "full/x.h5:/g1/g2/d")
        self.fails(1, "/old is no group", "save", "a", "x.h5:/old/d")
        self.fails(1, "is a group", "save", "a", "x.h5:/group", "-f")
        with open(self.path("x.h5"), "rb") as file:
            self.assertEqual(file.read(), whole)
        self.assertEqual(os.listdir(self.path("full")), [])

    def test_hdf5_at_the_limit(self):
        """A file that could not be made longer is what it was."""
        for options in ({}, {"libver": "latest"}, {"userblock_size": 2048}):
            with self.subTest(options):
                with h5py.File(self.path("x.h5"), "w", **options) as file:
                    file["old"] = numpy.arange(1000)
                with open(self.path("x.h5"), "rb") as file:
                    whole = file.read()
                # pylint: disable-next=subprocess-popen-preexec-fn
                process = self.start("save", "a", "x.h5:/g1/d", preexec_fn=limit_files)
                self.assertIn(b"File too large", process.communicate(timeout=cases.TIMEOUT)[1])
                self.assertEqual(process.returncode, 1)
                with open(self.path("x.h5"), "rb") as file:
                    self.assertEqual(file.read(), whole)
                with h5py.File(self.path("x.h5")) as file:
                    self.assertEqual(list(file), ["old"])
                self.ok("save", "a", "x.h5:/g1/d")
                with h5py.File(self.path("x.h5")) as file:
                    self.assert_same(file["g1/d"][...], cases.some_array((50, 60, 70)))
                    self.assertEqual(list(file["old"]), list(range(1000)))

    def test_several_at_once(self):
        """Each `save -f` of one name is whole, whichever is the last."""
        array = cases.some_array((50, 60, 70))
        for kind in ("x.npy", "x.tif"):
            self.ok("save", "a", "full/" + kind, "-f")
            with open(self.path("full", kind), "rb") as file:
                whole = file.read()
            os.unlink(self.path("full", kind))
            processes = [self.start("save", "a", f"full/{kind}", "-f", stdout=subprocess.PIPE) for _ in range(8)]
            for process in processes:
                self.assertEqual(process.communicate(timeout=cases.TIMEOUT), (b"", b""))
                self.assertEqual(process.returncode, 0)
            with open(self.path("full", kind), "rb") as file:
                self.assertEqual(file.read(), whole)
            self.assertEqual(os.listdir(self.path("full")), [kind])
            os.unlink(self.path("full", kind))
        self.assert_same(self.array("a"), array)

    def test_one_of_several(self):
        """Without -f exactly one of them makes the file."""
        processes = [self.start("save", "a", "full/x.npy") for _ in range(8)]
        texts = [process.communicate(timeout=cases.TIMEOUT)[1].decode() for process in processes]
        self.assertEqual(sorted(process.returncode for process in processes), [0] + 7 * [1])
        self.assertEqual(sum("exists" in text for text in texts), 7, texts)
        self.assertEqual(os.listdir(self.path("full")), ["x.npy"])

    def test_interrupted(self):
        """A signal leaves no file behind, though the store hangs."""
        self.where = ["--backend", "fault", "--connection", "pool", "--connection-options", "inner=hdf5", "hang_file=hang"]
        for number in (signal.SIGINT, signal.SIGTERM):
            for kind in KINDS:
                with self.subTest(number=number, kind=kind), open(self.path("hang"), "wb"):
                    process = self.start("save", "a", "full/" + kind)
                    deadline = time.monotonic() + cases.TIMEOUT
                    while not os.listdir(self.path("full")) and time.monotonic() < deadline:
                        time.sleep(0.01)
                    for _ in range(2): # as timeout(1) does
                        process.send_signal(number)
                    while os.listdir(self.path("full")) and time.monotonic() < deadline:
                        time.sleep(0.01)
                    os.unlink(self.path("hang"))
                    text = process.communicate(timeout=cases.TIMEOUT)[1].decode()
                    self.assertEqual(process.returncode, 1, text)
                    self.assertIn("interrupted", text)
                    self.assertEqual(os.listdir(self.path("full")), [])

    def test_long_names(self):
        """As long as the file system takes them."""
        for kind in ("npy", "raw", "tif", "h5", "png"):
            name = "n" * (254 - len(kind)) + "." + kind
            self.ok(*(["show", "a", name] if kind == "png" else ["save", "a", name + (":/d" if kind == "h5" else "")]))
            self.assertTrue(os.path.getsize(self.path(name)))

    def test_symbolic_links(self):
        array = cases.some_array((50, 60, 70))
        os.mkdir(self.path("elsewhere"))
        numpy.save(self.path("elsewhere", "x.npy"), array[0])
        os.symlink("elsewhere/x.npy", self.path("x.npy"))
        for engine in ("threads", "processes"):
            self.use("hdf5", engine)
            self.fails(1, "exists", "save", "a", "x.npy")
            self.ok("save", "a", "x.npy", "-f")
            self.assertTrue(os.path.islink(self.path("x.npy")))
            self.assert_same(numpy.load(self.path("elsewhere", "x.npy")), array)

    def test_permissions(self):
        """Those of any new file, and not of a temporary one."""
        for kind in ("x.npy", "x.tif", "x.h5:/d", "x.png"):
            self.ok("show" if kind == "x.png" else "save", "a", "full/" + kind)
            mode = os.stat(self.path("full", kind.split(":", maxsplit=1)[0])).st_mode
            umask = os.umask(0)
            os.umask(umask)
            self.assertEqual(stat.S_IMODE(mode), 0o666 & ~umask, kind)


class Streams(cases.Case):
    def setUp(self):
        super().setUp()
        self.load_array("a", cases.some_array((100, 1000)))

    def test_json_beside_the_array(self):
        done = self.run_dosna("--json", "save", "a", "-")
        with open(self.path("in.npy"), "rb") as file:
            self.assertEqual((done.returncode, done.stdout), (0, file.read()))
        self.assertEqual(json.loads(done.stderr)["bytes"], 400000)
        self.fails(2, "standard output", "bench", "--plot", "-")

    def test_reader_that_goes(self):
        """As other programs end; where the signal is ignored, an error."""
        for call in (["save", "a", "-"], ["get", "a", "...", "-"], ["show", "a", "-"], ["ls"], ["--help"]):
            for engine in ("threads", "processes"):
                with self.subTest(call, engine=engine):
                    self.use("hdf5", engine)
                    status, text = self.without_reader(call, preexec_fn=leave_sigpipe_alone)
                    self.assertEqual((status, text), (-signal.SIGPIPE, ""))
        status, text = self.without_reader(["ls"], restore_signals=False)
        self.assertEqual((status, text), (1, "dosna: ls: standard output: Broken pipe\n"))

    def without_reader(self, call, **options):
        ours, theirs = os.pipe()
        os.close(ours)
        with subprocess.Popen(self.command(*call), stdout=theirs, stderr=subprocess.PIPE, cwd=self.folder,
                              env=self.environment, **options) as process:
            os.close(theirs)
            text = process.communicate(timeout=cases.TIMEOUT)[1].decode()
        return process.returncode, text

    def test_full_or_closed(self):
        calls = [["ls"], ["info", "a"], ["get", "a", "0"], ["get", "a", "...", "-"], ["save", "a", "-"], ["check", "a"],
                 ["show", "a"], ["show", "a", "-"], ["completion", "bash"], ["--help"], ["--version"], ["ls", "--help"]]
        for call in calls:
            for redirection, why in ((">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")):
                with self.subTest(call, redirection=redirection):
                    self.assertEqual(self.redirected(call, redirection)[0], 1)
                    text = self.redirected(call, redirection)[1]
                    self.assertTrue(text.endswith(f"standard output: {why}\n"), text)
                    self.assertEqual(text.count("\n"), 1, text)

    def test_closed_input(self):
        for call in (["load", "b", "-"], ["set", "a", "0", "-"]):
            status, text = self.redirected(call, "<&-")
            self.assertEqual((status, text), (1, f"dosna: {call[0]}: standard input or output: Bad file descriptor\n"))

    def redirected(self, call, redirection):
        done = subprocess.run(["sh", "-c", f'"$@" {redirection}', "sh", *self.command(*call)], stderr=subprocess.PIPE,
                              cwd=self.folder, env=self.environment, timeout=cases.TIMEOUT, check=False)
        return done.returncode, done.stderr.decode()

    def test_closed_streams_are_no_files(self):
        """What a command opens does not become its standard output or error."""
        for engine in ("threads", "processes"):
            self.use("hdf5", engine)
            self.assertEqual(self.redirected(["save", "a", "x.npy", "-f"], ">&- <&-"), (0, ""))
            self.assertEqual(self.redirected(["apply", "a", "-v", "--", "cat"], "2>&- >&- <&-"), (0, ""))
            self.assertEqual(self.redirected(["save", "nothing", "y.npy"], "2>&- >&-"), (1, ""))
            self.assert_same(numpy.load(self.path("x.npy")), cases.some_array((100, 1000)))
