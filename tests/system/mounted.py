# SPDX-License-Identifier: Apache-2.0
"""Mounts of dosnafs for the system tests.

    class Test(MountedCase):
        def test_something(self):
            m = self.mount(cache="never")          # -o cache=never; m.path is the mountpoint
            m.create("one", shape="4, 4", dtype="<f4", chunk_size="2, 2")
            m.write("one", array.tobytes())
            m.umount()                             # returns once the daemon is gone; m.status == 0
            self.assertIn("...", m.log())

What to know:

* The program is $DOSNAFS_BIN (an absolute path); `mount.dosnafs` stands beside it. Without it, or without
  /dev/fuse, the tests are skipped.
* Each test case has one pool, an empty connection of the store that is tested (stores.py says more):
  `self.pool.name` (CONNECTION), `self.pool.directory` (a folder for files of the test), `self.stored` (what
  DosNa sees there). `self.mount()` mounts it; several mounts of one pool at once are several "hosts".
  Keywords are options: `True` gives a bare key, everything else key=value with commas escaped. `args=[…]`
  adds arguments, `env={…}` environment, `pool=` another pool, `backend=` etc. are options as any other.
* The same tests run on every store (ctest's system_X@ceph, or DOSNA_TEST_STORE=ceph), but those that
  @mounted.only("hdf5") marks. Names of datasets are therefore such that an S3 bucket can have them.
* A mount runs in the foreground (-f); its standard error is collected: `m.log()` is what it said up to
  now, `m.status` its exit status once it ended (negative: the signal).
* Waiting is for events, never for time: a mount is up when the mount table says so, gone when the
  process has ended. A limit of TIMEOUT seconds turns a hang into a failure, and the daemon is killed then.
* Whatever a test leaves is unmounted after it; a daemon that did not end with status 0 by itself fails the test
  unless the test called m.kill() or set `m.expect_status`.
* Run with `/usr/bin/python3 -m unittest` from tests/system, or through ctest.
"""
import os
import select
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

import stores

BIN = os.environ.get("DOSNAFS_BIN", "")
HELPER = os.path.join(os.path.dirname(BIN), "mount.dosnafs")
TIMEOUT = float(os.environ.get("DOSNAFS_TEST_TIMEOUT", "60"))
FSTYPE = "fuse.dosnafs"


def mounts():
    """{mountpoint: (type, source, options)} as this process sees it, the topmost where several are stacked."""
    table = {}
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            source, path, kind, options = line.split()[:4]
            path = path.encode("utf-8", "surrogateescape").decode("unicode_escape")
            table[path] = (kind, source, options)
    return table


def wait_for(condition, what, timeout=TIMEOUT):
    """Wait until condition() is true, looking again at each change of the mount table and every 10 ms."""
    end = time.monotonic() + timeout
    with open("/proc/self/mounts", encoding="utf-8", errors="replace") as file:
        poll = select.poll()
        poll.register(file, select.POLLERR | select.POLLPRI)
        while not condition():
            if time.monotonic() > end:
                raise AssertionError(f"no {what} within {timeout} s")
            poll.poll(10)


def option_text(options):
    """A -o text of a dict; True is a bare key, None leaves it out."""
    def escape(value):
        return str(value).replace("\\", "\\\\").replace(",", "\\,")
    return ",".join(key if value is True else f"{key}={escape(value)}"
                    for key, value in options.items() if value is not None)


def missing():
    """Why nothing can be mounted here, or None."""
    if not BIN:
        return "DOSNAFS_BIN is not set"
    if not os.path.exists("/dev/fuse"):
        return "no /dev/fuse"
    text = subprocess.run([BIN, "-h"], stdout=subprocess.PIPE, text=True, check=False).stdout
    if f"\n[{stores.STORE}]\n" not in text:
        return f"dosnafs is built without the {stores.STORE} backend"
    return stores.missing()


MISSING = missing()


def only(*names):
    """Marks a test, or a class of tests, for these stores alone. For others it does not exist."""
    return lambda test: test if stores.STORE in names else None


class Mount:
    """One running dosnafs. Use MountedCase.mount() to make one."""

    def __init__(self, pool, options, args=(), env=None):
        self.pool = pool
        self.path = tempfile.mkdtemp(prefix="dosnafs-mnt-")
        self.expect_status = 0
        self._errors = tempfile.TemporaryFile()
        if options.get("backend", stores.STORE) == stores.STORE:
            options = {**pool.options, **options}
        self.process = subprocess.Popen(
            [BIN, "-f", *args, "-o", option_text(options), pool.name, self.path],
            stdin=subprocess.DEVNULL, stdout=self._errors, stderr=self._errors,
            env={**os.environ, **pool.env, **(env or {})})
        try:
            wait_for(lambda: self.mounted() or self.process.poll() is not None, "mount")
            if not self.mounted():
                raise AssertionError(f"dosnafs ended with {self.status}: {self.log()}")
            os.stat(self.path)
        except BaseException:
            self.kill()
            self.clean()
            raise

    def mounted(self):
        return mounts().get(self.path, ("",))[0] == FSTYPE

    @property
    def status(self):
        return self.process.poll()

    def log(self):
        """All that it printed up to now."""
        return os.pread(self._errors.fileno(), 1 << 24, 0).decode("utf-8", "replace")

    def file(self, *parts):
        """The path of something below the mountpoint."""
        return os.path.join(self.path, *parts)

    def create(self, name, **meta):
        """mkdir and .meta: create("one", shape="4, 4", dtype="<f4")."""
        os.mkdir(self.file(name))
        with open(self.file(name, ".meta"), "w", encoding="utf-8") as file:
            file.write("".join(f"{key} = {value}\n" for key, value in meta.items()))

    def write(self, name, data):
        """All of `data`, as dd does it, with a close that is checked."""
        with open(self.file(name, "data"), "wb") as file:
            file.write(data)

    def read(self, name, part="data"):
        with open(self.file(name, part), "rb") as file:
            return file.read()

    def stat(self, counter):
        """One number of .dosnafs/stats."""
        for line in self.read(".dosnafs", "stats").decode().splitlines():
            if line.split(" ")[0] == counter:
                return int(line.split(" ")[1])
        raise AssertionError(f"no counter {counter}")

    def wait(self):
        """Wait for the daemon's end and give its exit status."""
        try:
            return self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise AssertionError(f"dosnafs did not end: {self.log()}") from None

    def umount(self):
        """Unmount as a user does and wait for the daemon; its exit status."""
        if self.mounted():
            subprocess.run(["fusermount3", "-u", self.path], check=True, timeout=TIMEOUT)
        return self.wait()

    def terminate(self, number=signal.SIGTERM):
        """A signal, and the daemon's exit status."""
        self.process.send_signal(number)
        return self.wait()

    def kill(self):
        """kill -9: a crash. The dead mount is removed."""
        self.process.kill()
        self.process.wait()
        self.expect_status = None
        if self.mounted():
            subprocess.run(["fusermount3", "-u", "-z", self.path], check=False)

    def clean(self):
        """After a test: nothing is left mounted or running."""
        try:
            if self.status is None:
                subprocess.run(["fusermount3", "-u", "-z", self.path], check=False,
                               stderr=subprocess.DEVNULL)
                self.wait()
            if self.expect_status is not None and self.status != self.expect_status:
                raise AssertionError(f"dosnafs ended with {self.status}: {self.log()}")
        finally:
            if self.status is None:
                self.kill()
            self._errors.close()
            if not os.path.ismount(self.path):
                os.rmdir(self.path)


@unittest.skipIf(MISSING, MISSING)
class MountedCase(unittest.TestCase):
    """A test case with an empty pool and mounts of it."""

    def setUp(self):
        self.pool = stores.new()
        self.addCleanup(self.pool.remove)
        self.stored = self.pool.stored

    def mount(self, *, pool=None, args=(), env=None, **options):
        mount = Mount(pool or self.pool, options, args, env)
        self.addCleanup(mount.clean)
        return mount

    def assertErrno(self, number, function, *args, **kwargs):
        """function(…) raises OSError with this errno."""
        with self.assertRaises(OSError) as caught:
            function(*args, **kwargs)
        self.assertEqual(caught.exception.errno, number, str(caught.exception))
