# SPDX-License-Identifier: Apache-2.0
"""A store that fails, hangs or fills up, and a mount that dies: errors reach the user, and nothing is lost or torn."""
import errno
import mmap
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy

import mounted
import stores

META = {"shape": "64, 64, 64", "dtype": "<u2", "chunk_size": "16, 64, 64"}
NBYTES = 64 ** 3 * 2


class FaultCase(mounted.MountedCase):
    """Mounts whose store misbehaves while a file exists."""

    def setUp(self):
        super().setUp()
        self.switch = Path(self.pool.directory, "trouble")
        self.content = numpy.random.default_rng(1).bytes(NBYTES)

    def mount_fault(self, **options):
        inner = dict(self.pool.options)
        defaults = {"backend": "fault", "inner": inner.pop("backend"),
                    "inner_options": ";".join(f"{key}={value}" for key, value in inner.items()),
                    "fail_file": self.switch, "retries": 1}
        return self.mount(**{**defaults, **options})

    def is_stored(self, content, name="one"):
        try:
            return self.stored.load(name).tobytes() == content
        except OSError:  # being written
            return False


class WriteFaultTest(FaultCase):
    def failing_writes(self, code, times=1):
        """A mount with data that fsync, so many times, and close could not store."""
        mount = self.mount_fault(fail_op="write", fail_errno=errno.errorcode[code])
        mount.create("one", **META)
        file = os.open(mount.file("one", "data"), os.O_RDWR)
        self.switch.touch()
        os.pwrite(file, self.content, 0)
        for _ in range(times):
            self.assertErrno(code, os.fsync, file)
        self.assertEqual(os.pread(file, NBYTES, 0), self.content)
        self.assertErrno(code, os.close, file)
        # Whoever opens it now reads what was written, and is not told that it is stored.
        self.assertEqual(mount.read("one"), self.content)
        self.assertErrno(code, os.close, os.open(mount.file("one", "data"), os.O_RDWR))
        return mount

    def test_errors_reach_fsync_and_close_and_data_are_stored_after(self):
        for code in (errno.EIO, errno.ENOSPC, errno.EDQUOT, errno.EACCES):
            with self.subTest(errno=errno.errorcode[code]):
                mount = self.failing_writes(code, times=3)
                self.switch.unlink()
                with open(mount.file("one", "data"), "r+b", buffering=0) as file:
                    os.fsync(file.fileno())
                    self.assertTrue(self.is_stored(self.content))
                shutil.rmtree(mount.file("one"))
                mount.umount()

    def test_stored_without_anybody_asking(self):
        self.failing_writes(errno.EIO)
        self.switch.unlink()
        mounted.wait_for(lambda: self.is_stored(self.content), "write-back after the fault")

    def test_unmount_stores_what_failed_before(self):
        mount = self.failing_writes(errno.EIO)
        self.switch.unlink()
        mount.umount()
        self.assertTrue(self.is_stored(self.content))

    def test_unmount_while_it_fails(self):
        """Data are lost then; the mount ends all the same, and says so."""
        mount = self.failing_writes(errno.EIO)
        mount.expect_status = None
        mount.umount()
        self.assertIn("one", mount.log())
        self.assertNotEqual(mount.log().strip(), "")

    def test_writing_more_than_the_cache_holds(self):
        mount = self.mount_fault(fail_op="write", fail_errno="ENOSPC", cache_size="1M")
        mount.create("one", **{**META, "shape": "1024, 64, 64"})
        self.switch.touch()
        self.assertErrno(errno.ENOSPC, mount.write, "one", self.content * 16)
        self.switch.unlink()
        mount.write("one", self.content * 16)
        self.assertTrue(self.is_stored(self.content * 16))

    def test_done_but_reported_as_failed(self):
        mount = self.mount_fault(fail_op="write", fail_late="true", fail_errno="EIO")
        mount.create("one", **META)
        self.switch.touch()
        self.assertErrno(errno.EIO, mount.write, "one", self.content)
        self.switch.unlink()
        mount.write("one", self.content[::-1])
        self.assertTrue(self.is_stored(self.content[::-1]))

    def test_failing_flush(self):
        """The backend's own flush fails: so does fsync, until it works."""
        mount = self.mount_fault(fail_op="flush", fail_errno="EIO")
        mount.create("one", **META)
        self.switch.touch()
        self.assertErrno(errno.EIO, mount.write, "one", self.content)
        self.switch.unlink()
        mount.write("one", self.content)
        self.assertTrue(self.is_stored(self.content))

    def test_truncation_while_it_fails(self):
        mount = self.mount_fault(fail_op="delete_chunk+write", fail_errno="EIO")
        mount.create("one", **META)
        mount.write("one", self.content)
        self.switch.touch()
        file = os.open(mount.file("one", "data"), os.O_RDWR)
        os.ftruncate(file, NBYTES // 2 + 1000)
        self.assertErrno(errno.EIO, os.fsync, file)
        self.switch.unlink()
        os.fsync(file)
        os.close(file)
        expected = self.content[:NBYTES // 2 + 1000].ljust(NBYTES, b"\0")
        self.assertEqual(mount.read("one"), expected)
        self.assertTrue(self.is_stored(expected))

    def test_creation_that_fails(self):
        mount = self.mount_fault(fail_op="create", fail_errno="EIO")
        self.switch.touch()
        self.assertErrno(errno.EIO, mount.create, "one", **META)
        self.assertNotIn("one", self.stored.names())
        self.switch.unlink()
        mount.create("two", **META)
        mount.write("two", self.content)
        self.assertTrue(self.is_stored(self.content, "two"))


class ReadFaultTest(FaultCase):
    def setUp(self):
        super().setUp()
        self.stored.create("one", (64, 64, 64), "<u2", (16, 64, 64))
        self.stored.store("one", numpy.frombuffer(self.content, "<u2").reshape(64, 64, 64))

    def test_reading_fails_and_works_again(self):
        mount = self.mount_fault(fail_op="read", fail_errno="EIO")
        self.switch.touch()
        for _ in range(2):
            self.assertErrno(errno.EIO, mount.read, "one")
        self.switch.unlink()
        self.assertEqual(mount.read("one"), self.content)

    def test_passing_trouble_is_not_seen(self):
        for code in ("EAGAIN", "ETIMEDOUT", "ECONNRESET"):
            with self.subTest(errno=code):
                mount = self.mount_fault(fail_op="read", fail_errno=code, fail_count=2, fail_file=None,
                                         retries=4, request_timeout=30)
                self.assertEqual(mount.read("one"), self.content)
                self.assertEqual(mount.stat("dosnafs_retries_total"), 2)
                mount.umount()

    def test_lasting_trouble_is(self):
        for code, seen in (("EAGAIN", errno.EIO), ("ETIMEDOUT", errno.ETIMEDOUT),
                           ("ECONNRESET", errno.EIO)):
            with self.subTest(errno=code):
                mount = self.mount_fault(fail_op="read", fail_errno=code, fail_file=None)
                self.assertErrno(seen, mount.read, "one")
                mount.umount()

    def test_an_interrupted_listing_is_no_short_one(self):
        """Of views, for which each dataset is opened, to a program that gets signals."""
        for number in range(40):
            self.stored.create(f"some{number}", (4,), "<u2", (2,))
        mount = self.mount_fault(delay_meta=0.02, fail_file=None, request_timeout=30)
        whole = sorted(os.listdir(mount.file(".dosnafs", "views")))
        before = signal.signal(signal.SIGALRM, lambda *_: None)
        signal.setitimer(signal.ITIMER_REAL, 0.03, 0.03)
        try:
            for _ in range(5):
                try:
                    self.assertEqual(sorted(os.listdir(mount.file(".dosnafs", "views"))), whole)
                except InterruptedError:
                    pass
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)

    def test_open_fails_and_works_again(self):
        mount = self.mount_fault(fail_op="open", fail_errno="EACCES")
        self.switch.touch()
        self.assertErrno(errno.EACCES, mount.read, "one")
        self.switch.unlink()
        self.assertEqual(mount.read("one"), self.content)


class HangTest(FaultCase):
    """Requests wait while the file is there, far longer than the limits that are set."""

    LIMITS = {"fail_file": None, "request_timeout": 3, "retries": 0}

    def mount_hanging(self):
        return self.mount_fault(hang_file=self.switch, **self.LIMITS)

    def assertGivesUp(self, function, *args):
        with self.assertRaises(OSError) as caught:
            function(*args)
        self.assertIn(caught.exception.errno, (errno.EIO, errno.ETIMEDOUT))
        self.assertTrue(self.switch.exists())

    def test_reads_end_with_an_error_and_work_again(self):
        self.stored.create("one", (64, 64, 64), "<u2", (16, 64, 64))
        self.stored.store("one", numpy.frombuffer(self.content, "<u2").reshape(64, 64, 64))
        mount = self.mount_hanging()
        self.switch.touch()
        self.assertGivesUp(mount.read, "one")
        self.switch.unlink()
        mounted.wait_for(lambda: self.reads(mount), "an answer after the store came back")

    def reads(self, mount):
        try:
            return mount.read("one") == self.content
        except OSError:
            return False

    def test_writes_end_with_an_error_and_are_stored_later(self):
        mount = self.mount_hanging()
        mount.create("one", **META)
        self.switch.touch()
        self.assertGivesUp(mount.write, "one", self.content)
        self.switch.unlink()
        mounted.wait_for(lambda: self.is_stored(self.content), "write-back after the store came back")

    def test_unmount_of_a_hanging_store(self):
        self.stored.create("one", (64, 64, 64), "<u2", (16, 64, 64))
        self.stored.store("one", numpy.frombuffer(self.content, "<u2").reshape(64, 64, 64))
        mount = self.mount_hanging()
        mount.expect_status = None
        self.switch.touch()
        self.assertGivesUp(mount.read, "one")
        mount.umount()
        self.assertTrue(self.switch.exists())

    def test_a_reader_that_waits_can_be_killed(self):
        self.stored.create("one", (64, 64, 64), "<u2", (16, 64, 64))
        self.stored.store_chunk("one", (0, 0, 0), numpy.ones((16, 64, 64), "<u2"))
        mount = self.mount_fault(hang_file=self.switch, fail_file=None, request_timeout=100)
        mount.expect_status = None
        self.switch.touch()
        reader = subprocess.Popen(["cat", mount.file("one", "data")], stdout=subprocess.DEVNULL)
        mounted.wait_for(lambda: mount.stat("dosnafs_cache_misses_total") > 0, "read to begin")
        reader.kill()
        reader.wait(mounted.TIMEOUT)
        self.switch.unlink()


    def test_many_readers_wait_at_once(self):
        """More than the dozen requests that the kernel lets wait by default; and others are answered meanwhile."""
        self.stored.create("one", (READERS, 1 << 20), "|u1", (1, 1 << 20))
        mount = self.mount_fault(hang_file=self.switch, fail_file=None, request_timeout=100, njobs=READERS, prefetch=0)
        self.switch.touch()
        file = os.open(mount.file("one", "data"), os.O_RDONLY | os.O_DIRECT)
        self.addCleanup(os.close, file)
        with ThreadPoolExecutor(READERS) as readers:
            read = [readers.submit(os.preadv, file, [mmap.mmap(-1, 4096)], row << 20) for row in range(READERS)]
            try:
                mounted.wait_for(lambda: mount.stat("dosnafs_cache_misses_total") == READERS, "all to wait")
            finally:
                self.switch.unlink()
            self.assertEqual([done.result(mounted.TIMEOUT) for done in read], [4096] * READERS)


JOBS = 4
READERS = 24


class KilledTest(FaultCase):
    """Each chunk is one request of the writer, so that old or new is all that a chunk can be."""

    ROW, ROWS = 128 << 10, 128

    def test_each_chunk_is_old_or_new(self):
        mount = self.mount()
        mount.create("one", shape=f"{self.ROWS}, {self.ROW}", dtype="|u1", chunk_size=f"1, {self.ROW}")
        mount.write("one", bytes(self.ROWS * self.ROW))
        mount.umount()
        rows = numpy.zeros(self.ROWS, "u1")
        for turn, puts in enumerate((1, 9, 40, 100), 1):
            self.kill_while_writing(turn, puts)
            stored = self.stored.load("one")
            self.assertTrue((stored == stored[:, :1]).all(), "a chunk of two kinds")
            self.assertTrue(((stored[:, 0] == turn) | (stored[:, 0] == rows)).all())
            self.assertGreaterEqual((stored[:, 0] == turn).sum(), puts - JOBS)  # those were under way
            rows = stored[:, 0].copy()
            mount = self.mount()
            self.assertEqual(mount.read("one"), stored.tobytes())
            mount.umount()
        mount = self.mount()
        mount.write("one", bytes([7]) * (self.ROWS * self.ROW))
        shutil.rmtree(mount.file("one"))
        self.assertEqual(self.stored.names(), [])

    def kill_while_writing(self, value, puts):
        mount = self.mount(cache_size="4M", dirty_max="512K", njobs=JOBS)

        def write():
            try:
                with open(mount.file("one", "data"), "r+b", buffering=0) as file:
                    for _ in range(self.ROWS):
                        file.write(bytes([value]) * self.ROW)
            except OSError:
                pass  # the mount was killed

        writer = threading.Thread(target=write)
        writer.start()
        mounted.wait_for(lambda: mount.stat("dosnafs_chunk_puts_total") >= puts, f"{puts} chunks stored")
        mount.kill()
        writer.join(mounted.TIMEOUT)
        self.assertFalse(writer.is_alive())


@mounted.only("hdf5")
class FullDiskTest(mounted.MountedCase):
    def setUp(self):
        super().setUp()
        self.disk = tempfile.mkdtemp(prefix="dosnafs-disk-")
        self.addCleanup(os.rmdir, self.disk)
        made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", self.disk], check=False,
                              capture_output=True)
        if made.returncode:
            self.skipTest("no right to mount a small tmpfs")
        self.addCleanup(subprocess.run, ["umount", self.disk], check=True)
        self.filler = Path(self.disk, "filler")
        self.full = stores.Hdf5Pool(self.disk)

    def test_no_space_and_room_again(self):
        content = numpy.random.default_rng(2).bytes(4 << 20)
        mount = self.mount(pool=self.full)
        mount.create("one", shape="4, 1048576", dtype="|u1", chunk_size="1, 131072")
        self.filler.write_bytes(bytes(6 << 20))
        file = os.open(mount.file("one", "data"), os.O_RDWR)
        os.pwrite(file, content, 0)
        self.assertErrno(errno.ENOSPC, os.fsync, file)
        self.assertErrno(errno.ENOSPC, os.fsync, file)
        self.assertEqual(os.pread(file, len(content), 0), content)
        self.filler.unlink()
        os.fsync(file)
        os.close(file)
        self.assertEqual(self.full.stored.load("one").tobytes(), content)
        room = os.statvfs(self.disk)
        self.filler.write_bytes(bytes(room.f_bavail * room.f_frsize))
        self.assertErrno(errno.ENOSPC, mount.write, "one", content[::-1])
        self.filler.unlink()
        mount.umount()
        self.assertEqual(self.full.stored.load("one").tobytes(), content[::-1])


if __name__ == "__main__":
    unittest.main()
