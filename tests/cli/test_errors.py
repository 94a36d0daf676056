# SPDX-License-Identifier: Apache-2.0
"""Bad input: one line that says which and why, exit 1 or 2, and nothing half-made is left."""
import json
import os
import pty
import select
import shutil
import signal
import stat
import subprocess
import uuid

import h5py
import numpy

import cases


class BadInput(cases.Case):
    def setUp(self):
        super().setUp()
        self.load_array("a", cases.some_array((10, 12)), "--chunk-size", "4,4")

    def test_usage(self):
        for text, call in [
                ("no command 'nothing'", ["nothing"]), ("what is to be done", []), ("takes NAME", ["info"]),
                ("takes NAME", ["info", "a", "b"]), ("unknown option '--foo'", ["ls", "--foo"]),
                ("unknown option '-z'", ["ls", "-z"]), ("takes no value", ["ls", "--long=3"]),
                ("is missing", ["create", "b", "--shape"]), ("'-- CMD' is missing", ["map", "a", "b"]),
                ("'-- CMD' is missing", ["apply", "a", "--"]), ("info takes NAME", ["info", "a", "--", "cat"]),
                ("nothing to print as JSON", ["get", "a", "0", "--json"]), ("njobs", ["--njobs", "0", "ls"]),
                ("no backend 'x'", ["--backend", "x", "ls"]), ("engine = x", ["--engine", "x", "ls"]),
                ("not key=value", ["--connection-options", "x", "ls"]),
                ("unknown option 'foo'", ["--connection-options", "foo=1", "ls"]),
                ("no completion for 'tcsh'", ["completion", "tcsh"]), ("nowhere.conf", ["--config", "nowhere.conf", "ls"])]:
            with self.subTest(call):
                self.fails(2, text, *call)

    def test_every_command(self):
        """An option that it has not, more operands than it takes, a dataset that is not there."""
        calls = {"create": ["b"], "ls": ["*"], "info": ["no"], "load": ["b", "no.npy"], "save": ["no", "x.npy"],
                 "get": ["no", "0", "x.npy"], "set": ["no", "0", "1"], "clone": ["no", "b"], "map": ["no", "b"],
                 "apply": ["no"], "clear": ["no"], "rm": ["no"], "check": ["no"], "show": ["no", "x.png"], "bench": [],
                 "completion": ["bash"]}
        part = subprocess.run([cases.BIN, "--help"], stdout=subprocess.PIPE, check=True).stdout.decode()
        commands = [line.split()[0] for line in part.split("Commands:\n")[1].split("\n\n")[0].splitlines()]
        self.assertEqual(set(commands), set(calls))
        before = sorted(os.listdir(self.folder))
        for command, operands in calls.items():
            rest = ["--", "cat"] if command in ("map", "apply") else []
            with self.subTest(command):
                self.fails(2, f"unknown option '--nonsense' for {command}", command, *operands, "--nonsense", *rest)
                if command != "rm":
                    self.fails(2, f"{command} takes", command, *operands, "1", "2", "3", *rest)
                if operands and command not in ("ls", "create", "completion"):
                    self.fails(1, "no", command, *operands, *rest)
                if operands and command != "ls":
                    self.fails(2, f"{command} takes", command, *rest)
        self.assertEqual(self.listing(), ["a"])
        self.assertEqual(sorted(os.listdir(self.folder)), before)

    def test_connection(self):
        self.where = []
        self.fails(2, "--connection is missing", "ls")
        self.where = ["--connection", ""]
        self.fails(2, "--connection is missing", "ls")
        self.where = ["--connection", "nowhere"]
        text = self.fails(1, "no such folder", "ls")
        self.assertEqual(text.count("connection nowhere"), 1)

    def test_create(self):
        for status, text, call in [
                (2, "--shape and --dtype", []), (2, "--shape", ["--shape", "3,x", "--dtype", "u1"]),
                (2, "axis 0 has no extent", ["--shape", "0", "--dtype", "u1"]),
                (2, "float3", ["--shape", "3", "--dtype", "float3"]),
                (2, "no value for <i4", ["--shape", "3", "--dtype", "i4", "--fillvalue", "x"]),
                (2, "--chunk-size has 2 axes", ["--shape", "3", "--dtype", "u1", "--chunk-size", "2,2"]),
                (2, "axis 0", ["--shape", "3", "--dtype", "u1", "--chunk-size", "0"]),
                (2, "2^63", ["--shape", "99999999999,99999999999", "--dtype", "u1"])]:
            with self.subTest(call):
                self.fails(status, text, "create", "b", *call)
        self.fails(1, "a", "create", "a", "--shape", "3", "--dtype", "u1")
        self.assertEqual(self.listing(), ["a"])

    def test_load(self):
        self.save_array("other.npy", cases.some_array((3, 4)))
        self.save_array("wrong.npy", cases.some_array((10, 12), "<i8"))
        numpy.save(self.path("fortran.npy"), numpy.asfortranarray(cases.some_array((10, 12))))
        numpy.save(self.path("records.npy"), numpy.zeros(3, "i4,f4"))
        numpy.save(self.path("scalar.npy"), numpy.float32(3))
        with open(self.path("in.npy"), "rb") as file:
            whole = file.read()
        for name, data in [("short.npy", whole[:-1]), ("long.npy", whole + b"x"), ("cut.npy", whole[:40]),
                           ("text.npy", b"hello"), ("short", bytes(10)), ("x.tif", b"II*\0nonsense")]:
            with open(self.path(name), "wb") as file:
                file.write(data)
        with h5py.File(self.path("x.h5"), "w") as file:
            file["text"] = "a text"
        for status, text, call in [
                (1, "x.h5:/NAME", ["b", "x.h5"]),
                (1, "shape (3, 4)", ["a", "other.npy"]), (1, "<i8", ["a", "wrong.npy"]), (1, "Fortran", ["b", "fortran.npy"]),
                (1, "records", ["b", "records.npy"]), (1, "no axis", ["b", "scalar.npy"]), (1, "bytes", ["b", "short.npy"]),
                (1, "bytes", ["b", "long.npy"]), (1, "ends before", ["b", "cut.npy"]), (1, "no npy", ["b", "text.npy"]),
                (1, "10 bytes", ["a", "short"]), (2, "--shape and --dtype are needed", ["b", "short"]),
                (1, "10 bytes", ["b", "short", "--shape", "3", "--dtype", "i4"]), (1, "nowhere", ["b", "nowhere.npy"]),
                (1, "x.tif", ["b", "x.tif"]), (1, "no such dataset", ["b", "x.h5:/none"]), (1, "", ["b", "x.h5:/text"]),
                (1, "y.h5", ["b", "y.h5:/none"]), (2, "--shape is not", ["a", "in.npy", "--shape", "3"]),
                (2, "--dtype is not", ["a", "in.npy", "--dtype", "u1"]),
                (2, "has its chunk size", ["a", "in.npy", "--chunk-size", "auto"]), (1, "directory", ["b", "pool"])]:
            with self.subTest(call):
                self.fails(status, text, "load", *call)
        self.fails(1, "ends before", "load", "b", "-", stdin=whole[:-5])
        self.fails(1, "goes on", "load", "b", "-", stdin=whole + b"x")
        self.assertEqual(self.listing(), ["a"])
        self.assert_same(self.array("a"), cases.some_array((10, 12)))

    def test_save(self):
        before = sorted(os.listdir(self.folder))
        for status, text, call in [(1, "in.npy exists", ["a", "in.npy"]), (1, "nothing", ["nothing", "x.npy"]),
                                   (1, "No such file", ["a", "nowhere/x.npy"]), (1, "", ["a", "nowhere/x.tif"]),
                                   (1, "", ["a", "nowhere/x.h5:/a"]), (1, "", ["a", "x.h5:"]),
                                   (1, "x.h5:/NAME", ["a", "x.h5"])]:
            with self.subTest(call):
                self.fails(status, text, "save", *call)
        self.assertEqual(sorted(os.listdir(self.folder)), before)

    def test_failed_replacement_in_hdf5(self):
        with h5py.File(self.path("x.h5"), "w") as file:
            file["old"] = [1, 2]
        os.truncate(self.path("pool", "a", "chunk_1_1.h5"), 100)
        self.fails(1, "chunk_1_1", "save", "a", "x.h5:/old", "-f")
        with h5py.File(self.path("x.h5")) as file:
            self.assertEqual((list(file), list(file["old"])), (["old"], [1, 2]))
        os.symlink(self.path("nowhere", "x.h5"), self.path("link.h5"))
        self.fails(1, "link.h5: No such file", "save", "a", "link.h5:/a")
        self.assertTrue(os.path.islink(self.path("link.h5")))

    def test_no_space(self):
        for force in ([], ["-f"]):
            self.fails(1, "No space", "save", "a", "/dev/full", "--raw", *force)
            self.assertTrue(stat.S_ISCHR(os.stat("/dev/full").st_mode))

    def test_get_set(self):
        self.save_array("other.npy", cases.some_array((3, 4)))
        self.save_array("wrong.npy", cases.some_array((12,), "<i8"))
        for name, count in (("short", 10), ("long", 100)):
            with open(self.path(name), "wb") as file:
                file.write(bytes(count))
        for status, text, call in [
                (1, "type <i8", ["set", "a", "0", "wrong.npy"]), (1, "10 bytes", ["set", "a", "0", "short", "--raw"]),
                (1, "100 bytes", ["set", "a", "0", "long", "--raw"]), (1, "no elements", ["set", "a", "5:5", "3"]),
                (1, "neither", ["set", "a", "0", "nowhere", "--raw"]), (1, "no elements", ["get", "a", "5:5", "x.npy"]),
                (2, "out of bounds", ["get", "a", "[0, 12]", "x.npy"]), (1, "No such", ["get", "a", "0", "nowhere/x.npy"]),
                (2, "out of bounds", ["get", "a", "10"]), (2, "", ["get", "a", "0,0,0"]), (2, "", ["get", "a", "x"]),
                (2, "", ["get", "a", "::0"]), (1, "neither", ["set", "a", "0", "hello"]),
                (1, "shape (3, 4)", ["set", "a", "0", "other.npy"]), (2, "out of bounds", ["set", "a", "-11", "3"]),
                (1, "nothing", ["get", "nothing", "0"])]:
            with self.subTest(call):
                self.fails(status, text, *call)
        self.assertFalse(os.path.exists(self.path("x.npy")))
        self.assert_same(self.array("a"), cases.some_array((10, 12)))

    def test_map(self):
        for text, call in [("status 1", ["false"]), ("No such file", ["no-such-program"]), ("more than", ["yes"]),
                           ("wrote 3 bytes", ["printf", "abc"]), ("signal 9", ["sh", "-c", "kill -9 $$"])]:
            with self.subTest(call):
                self.fails(1, text, "map", "a", "b", "--", *call)
                self.fails(1, text, "apply", "a", "--", *call)
        self.fails(1, "a", "map", "a", "a", "--", "cat")
        self.assertEqual(self.listing(), ["a"])
        self.assert_same(self.array("a"), cases.some_array((10, 12)))

    def test_environment_of_map(self):
        self.environment = {**self.environment, "DOSNA_INDEX": "9,9", "DOSNA_SHAPE": "9", "DOSNA_INDEXES": "9"}
        self.ok("apply", "a", "--", "sh", "-c", "echo $DOSNA_INDEX/$DOSNA_START/$DOSNA_SHAPE/$DOSNA_DTYPE >> log; cat")
        with open(self.path("log"), encoding="ascii") as file:
            lines = set(file.read().split())
        self.assertEqual(len(lines), 9)
        self.assertIn("2,1/8,4/2,4/<f4", lines)

    def test_clone_rm_show(self):
        self.ok("create", "text", "--shape", "3", "--dtype", "S3")
        for status, text, call in [
                (1, "a", ["clone", "a", "a"]), (1, "nothing", ["clone", "nothing", "b"]), (1, "nothing", ["rm", "nothing"]),
                (2, "--axis 2", ["show", "a", "--axis", "2"]), (2, "--axis", ["show", "a", "--axis", "x"]),
                (2, "--index", ["show", "a", "--index", "99"]), (2, "percentile", ["show", "a", "--percentile", "60"]),
                (1, "exists", ["show", "a", "in.npy"]), (1, "no grey", ["show", "text"]),
                (1, "No such", ["show", "a", "nowhere/x.png"]), (2, "--size", ["bench", "--size", "x"]),
                (2, "--size", ["bench", "--size", "0"]), (1, "exists", ["bench", "--plot", "in.npy", "--size", "64K"]),
                (1, "No such", ["bench", "--plot", "nowhere/x.png", "--size", "64K"])]:
            with self.subTest(call):
                self.fails(status, text, *call)

    def test_operands_like_options(self):
        self.ok("set", "a", "0", "--", "-inf")
        self.assertTrue(numpy.isneginf(self.array("a")[0]).all())
        self.ok("create", "--shape", "3", "--dtype", "u1", "--", "-b")
        self.fails(2, "unknown option '-b'", "rm", "-b")
        self.ok("rm", "--", "-b")
        self.assertEqual(self.listing(), ["a"])

    def test_names_in_json(self):
        """JSON is UTF-8, whatever the names are."""
        names = [b"caf\xc3\xa9", b"caf\xe9", b"\xed\xa0\x80", b"\xf0\x9f\x98\x80", b"\xc0\xafx", b'quo"te\\', b"end\xf0\x9f"]
        for name in names:
            self.ok("create", name, "--shape", "3", "--dtype", "u1")
        listed = json.loads(self.ok("ls", "--json").decode("utf-8", "strict"))
        self.assertEqual(sorted(os.fsencode(name) for name in listed), sorted([b"a", *names]))

    def test_names_with_newlines(self):
        """A message is one line all the same."""
        self.ok("create", "new\nline", "--shape", "3", "--dtype", "u1")
        self.assertEqual(self.ok("ls"), b"a\nnew\nline\n")
        self.fails(1, "new?line", "create", "new\nline", "--shape", "3", "--dtype", "u1")
        self.fails(1, "no??x", "info", "no\033\nx")
        done = self.run_dosna("rm", "no\nx", "nowhere\nx")
        self.assertEqual(done.stderr, b"dosna: rm: no?x: no such dataset\ndosna: rm: nowhere?x: no such dataset\n")

    def test_folders(self):
        """Folders around a dataset are not made; those that are there may be used."""
        self.fails(1, "no folder x/y", "create", "x/y/b", "--shape", "3", "--dtype", "u1")
        self.fails(1, "no folder x/y", "clone", "a", "x/y/b")
        os.mkdir(self.path("pool", "x"))
        self.ok("clone", "a", "x/b")
        self.assertIn(b"shape = 10, 12\n", self.ok("info", "x/b"))

    def test_said_once(self):
        self.assertEqual(self.fails(1, "", "info", "b"), "dosna: info: b: no such folder in the connection")

    def test_clear_of_a_huge_dataset(self):
        """It takes no longer than what is stored."""
        self.ok("create", "huge", "--shape", "1000000,1000000,1000000", "--dtype", "u1", "--chunk-size", "auto")
        self.ok("set", "huge", "[-1,-1,-1]", "7")
        self.ok("clear", "-f", "huge")
        self.assertEqual(self.ok("get", "huge", "[-1,-1,-1]"), b"0\n")
        self.assertIn(b"stored = 0 of", self.ok("info", "huge"))

    def test_rm_of_some(self):
        self.ok("create", "b", "--shape", "3", "--dtype", "u1")
        self.fails(1, "nothing: no such dataset", "rm", "nothing", "b")
        self.assertEqual(self.listing(), ["a"])
        done = self.run_dosna("rm", "nothing", "a", "nowhere")
        self.assertEqual((done.returncode, done.stderr.decode()),
                         (1, "dosna: rm: nothing: no such dataset\ndosna: rm: nowhere: no such dataset\n"))
        self.assertEqual(self.listing(), [])

    def test_check(self):
        folder = self.path("pool", "a")
        with open(os.path.join(folder, "chunk_0_1.h5"), "r+b") as file:
            file.truncate(100)
        os.unlink(os.path.join(folder, "chunk_2_2.h5"))
        os.link(os.path.join(folder, "chunk_0_0.h5"), os.path.join(folder, "chunk_7_0.h5"))
        done = self.run_dosna("check", "a")
        self.assertEqual(done.returncode, 1)
        text = done.stdout.decode()
        self.assertIn("damaged: 0, 1: ", text)
        self.assertIn("stray: chunk_7_0.h5", text)
        self.assertIn("8 chunks stored, 1 missing (they read as the fill value), 0 of wrong length, 1 damaged, 1 strays", text)
        self.assertEqual(self.run_dosna("check", "a", "--repair").returncode, 1)
        self.assertFalse(os.path.exists(os.path.join(folder, "chunk_7_0.h5")))
        os.unlink(os.path.join(folder, "chunk_0_1.h5"))
        self.ok("check", "a")
        with open(os.path.join(folder, "dataset.h5"), "wb") as file:
            file.write(b"damaged")
        self.fails(1, "a", "check", "a")

    def test_wrong_cut_of_others(self):
        self.ok("create", "b", "--shape", "4", "--dtype", "u1")
        self.fails(1, "shape", "load", "b", "in.npy")


class Interrupts(cases.Case):
    def interrupt(self, number, *arguments):
        """Send a signal once a command of `map` has said through a pipe that it runs."""
        ready = self.path("ready")
        os.mkfifo(ready)
        process = subprocess.Popen(self.command(*arguments), stderr=subprocess.PIPE, cwd=self.folder,
                                   env=self.environment)
        with open(ready, "rb") as file:
            file.read(1)
        process.send_signal(number)
        _, errors = process.communicate(timeout=cases.TIMEOUT)
        os.unlink(ready)
        return process.returncode, errors.decode()

    def is_running(self, marker):
        """Is there a process with this argument, that has not ended?"""
        for number in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{number}/cmdline", "rb") as file:
                    if marker.encode() in file.read().split(b"\0"):
                        return True
            except OSError: # it has ended meanwhile
                pass
        return False

    def test_map(self):
        self.load_array("a", cases.some_array((10, 12)), "--chunk-size", "4,4")
        slow = "echo x > ready; exec sleep 1000"
        for engine in ("cpu", "threads", "processes"):
            for number in (signal.SIGINT, signal.SIGTERM):
                with self.subTest(engine=engine, number=number):
                    self.use("hdf5", engine)
                    if engine == "processes":
                        self.environment = {**self.environment}
                    status, text = self.interrupt(number, "--njobs", "1", "map", "a", "b", "--", "sh", "-c", slow)
                    self.assertEqual(status, 1)
                    self.assertEqual(text, "dosna: map: interrupted: 0 of 9 chunks were done; b was removed\n")
                    self.assertEqual(self.listing(), ["a"])

    def test_map_without_output(self):
        """A command that has closed its output, one that wants no SIGTERM, and what they have started: all are ended."""
        self.load_array("a", cases.some_array((10, 12)), "--chunk-size", "4,4")
        commands = ("exec >&-; echo x > ready; sh -c 'sleep 1000; :' {0}; :",
                    "trap '' TERM; echo x > ready; sh -c 'sleep 1000; :' {0}; sleep 1000; sleep 1000")
        for command in commands:
            for engine in ("threads", "processes"):
                with self.subTest(command, engine=engine):
                    self.use("hdf5", engine)
                    marker = uuid.uuid4().hex
                    status, text = self.interrupt(signal.SIGINT, "--njobs", "1", "map", "a", "b", "--", "sh", "-c",
                                                  command.format(marker))
                    self.assertEqual((status, text), (1, "dosna: map: interrupted: 0 of 9 chunks were done; b was removed\n"))
                    self.assertFalse(self.is_running(marker))
        self.ok("apply", "a", "--", "sh", "-c", "cat; exec >&-; exit 0")
        self.fails(1, "status 3", "apply", "a", "--", "sh", "-c", "cat; exec >&-; exit 3")

    def test_load_from_a_pipe(self):
        def hang_up_kills(): # which nohup, if it has started the tests, has changed
            signal.signal(signal.SIGHUP, signal.SIG_DFL)

        for number in (signal.SIGINT, signal.SIGHUP):
            with self.subTest(number=number):
                # pylint: disable-next=subprocess-popen-preexec-fn
                process = subprocess.Popen(self.command("load", "b", "-", "--shape", "100,1000,1000", "--dtype", "u1"),
                                           stdin=subprocess.PIPE, stderr=subprocess.PIPE, cwd=self.folder,
                                           env=self.environment, preexec_fn=hang_up_kills)
                process.stdin.write(bytes(9000000)) # so that it has begun
                process.stdin.flush()
                process.send_signal(number)
                _, errors = process.communicate(timeout=cases.TIMEOUT)
                self.assertEqual(process.returncode, 1)
                self.assertIn("b was removed", errors.decode())
                self.assertEqual(self.listing(), [])

    def test_ls(self):
        self.ok("create", "a", "--shape", "3", "--dtype", "u1")
        for i in range(600): # more than a pipe holds
            shutil.copytree(self.path("pool", "a"), self.path("pool", f"{i:0200}"))
        process = subprocess.Popen(self.command("ls", "-l"), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                   cwd=self.folder, env=self.environment)
        process.stdout.read(1)
        process.send_signal(signal.SIGINT)
        rows, errors = process.communicate(timeout=cases.TIMEOUT)
        self.assertEqual((process.returncode, errors.decode()), (1, "dosna: ls: interrupted\n"))
        self.assertLess(rows.count(b"\n"), 600)

    def test_dead_process(self):
        self.use("hdf5", "processes")
        self.load_array("a", cases.some_array((40, 12)), "--chunk-size", "4,4")
        # The command of chunk 1 kills its parent, rank 1.
        kill = "test $DOSNA_INDEX = 0,1 && kill -9 $PPID; cat"
        self.fails(1, "was killed by signal 9", "map", "a", "b", "--", "sh", "-c", kill)
        self.assertEqual(self.listing(), ["a"])


class Terminal(cases.Case):
    def on_terminal(self, *arguments, answer=b""):
        """What a terminal shows, and the exit status."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(self.command(*arguments), stdin=theirs, stdout=theirs, stderr=theirs,
                                   cwd=self.folder, env=self.environment)
        os.close(theirs)
        os.write(ours, answer)
        shown = b""
        while select.select([ours], [], [], cases.TIMEOUT)[0]:
            try:
                more = os.read(ours, 4096)
            except OSError:
                break
            shown += more
        os.close(ours)
        return shown.decode(), process.wait(timeout=cases.TIMEOUT)

    def test_asks(self):
        self.ok("create", "a", "--shape", "3", "--dtype", "u1")
        shown, status = self.on_terminal("rm", "a", answer=b"n\n")
        self.assertIn("Delete a? [y/N]", shown)
        self.assertEqual(status, 1)
        self.assertEqual(self.listing(), ["a"])
        _, status = self.on_terminal("rm", "a", answer=b"y\n")
        self.assertEqual((status, self.listing()), (0, []))

    def test_names(self):
        """A name cannot speak to the terminal."""
        self.ok("create", "a\033[31m\nb", "--shape", "3", "--dtype", "u1")
        for call in (["ls"], ["ls", "-l"], ["info", "a\033[31m\nb"]):
            shown, status = self.on_terminal(*call)
            self.assertEqual(status, 0)
            self.assertIn("a?[31m?b", shown)
            self.assertNotIn("\033", shown)

    def test_progress(self):
        self.save_array("in.npy", cases.some_array((10, 12)))
        shown, status = self.on_terminal("load", "a", "in.npy")
        self.assertEqual(status, 0)
        self.assertIn("/s", shown)
        self.assertIn("left", shown)
        shown, _ = self.on_terminal("load", "a", "in.npy", "-q")
        self.assertEqual(shown, "")

    def test_show(self):
        self.load_array("a", cases.some_array((10, 12), "u1"))
        shown, status = self.on_terminal("show", "a")
        self.assertEqual(status, 0)
        self.assertIn("\u2580", shown)
