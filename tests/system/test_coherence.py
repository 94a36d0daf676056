# SPDX-License-Identifier: Apache-2.0
"""Close-to-open: what another mount, or DosNa itself, had stored before `open` is what is read."""
import concurrent.futures
import errno
import os
import shutil
import threading
import unittest

import numpy

import mounted
import stores

SHAPE, CHUNK = (40, 50, 60), (16, 16, 16)
META = {"shape": "40, 50, 60", "dtype": "<u2", "chunk_size": "16, 16, 16", "fillvalue": "9"}


def ramp(start):
    return (numpy.arange(numpy.prod(SHAPE)) + start).astype("<u2").reshape(SHAPE)


class CoherenceTest(mounted.MountedCase):
    def read(self, mount, name="one"):
        return numpy.frombuffer(mount.read(name), "<u2").reshape(SHAPE)

    def assertSame(self, got, expected):
        self.assertTrue(numpy.array_equal(got, expected), f"first item {got.flat[0]}, expected {expected.flat[0]}")

    def test_two_mounts_take_turns(self):
        one, two = self.mount(), self.mount()
        one.create("one", **META)
        for turn in range(6):
            writer, reader = (one, two) if turn % 2 else (two, one)
            writer.write("one", ramp(turn).tobytes())
            self.assertSame(self.read(reader), ramp(turn))
            self.assertSame(self.read(writer), ramp(turn))

    def test_part_of_a_chunk(self):
        one, two = self.mount(), self.mount()
        one.create("one", **META)
        one.write("one", ramp(0).tobytes())
        expected = ramp(0)
        for turn in range(10):
            writer, reader = (one, two) if turn % 2 else (two, one)
            self.read(reader)
            with open(writer.file("one", "data"), "r+b", buffering=0) as file:
                os.pwrite(file.fileno(), b"\1\2", 2 * (1000 + turn))
            expected.flat[1000 + turn] = 0x0201
            self.assertSame(self.read(reader), expected)

    def test_dosna_writes(self):
        self.stored.create("one", SHAPE, "<u2", CHUNK, fill=9)
        mount = self.mount()
        self.assertSame(self.read(mount), numpy.full(SHAPE, 9))
        self.stored.store("one", ramp(3))
        self.assertSame(self.read(mount), ramp(3))
        expected = ramp(3)
        expected[16:32, :16, :16] = 5
        self.stored.store_chunk("one", (1, 0, 0), expected[16:32, :16, :16])
        self.assertSame(self.read(mount), expected)
        self.stored.remove_chunk("one", (1, 0, 0))
        expected[16:32, :16, :16] = 9
        self.assertSame(self.read(mount), expected)

    def test_dosna_writes_what_was_forgotten(self):
        """So many others were open that nothing is known of it any more, but for the kernel's pages."""
        self.stored.create("one", SHAPE, "<u2", CHUNK)
        self.stored.store("one", ramp(0))
        mount = self.mount()
        self.assertSame(self.read(mount), ramp(0))
        for number in range(140):
            self.stored.create(f"other{number}", (2,), "<u2", (2,))
            mount.read(f"other{number}")
        self.stored.store("one", ramp(5))
        self.assertSame(self.read(mount), ramp(5))

    def check_many_at_once(self, *path, start=0):
        """Of those who open it after a change, at one time, none is shown pages that another's open is to drop."""
        self.stored.create("one", SHAPE, "<u2", CHUNK)
        mount = self.mount()

        def read(_):
            with open(mount.file(*path), "rb", buffering=0) as file:
                return os.pread(file.fileno(), 65536, start)

        with concurrent.futures.ThreadPoolExecutor(8) as readers:
            for turn in range(40):
                self.stored.store("one", ramp(turn))
                for got in readers.map(read, range(8)):
                    self.assertEqual(got[:8], ramp(turn).tobytes()[:8])

    def test_many_open_it_at_once(self):
        self.check_many_at_once("one", "data")

    def test_many_open_a_view_at_once(self):
        self.check_many_at_once(".dosnafs", "views", "one.npy", start=4096)

    def test_replaced_by_one_of_the_same_size(self):
        one, two = self.mount(), self.mount()
        one.create("one", **META)
        one.write("one", ramp(0).tobytes())
        self.assertSame(self.read(two), ramp(0))
        shutil.rmtree(one.file("one"))
        one.create("one", **{**META, "chunk_size": "8, 16, 16"})
        one.write("one", ramp(7).tobytes())
        self.assertSame(self.read(two), ramp(7))

    @mounted.only("hdf5")
    def test_h5py_replaces_a_chunk_file(self):
        """Same size, another inode."""
        self.stored.create("one", SHAPE, "<u2", CHUNK)
        self.stored.store("one", ramp(0))
        mount = self.mount()
        self.assertSame(self.read(mount), ramp(0))
        self.stored.create("two", SHAPE, "<u2", CHUNK)
        self.stored.store("two", ramp(7))
        expected = ramp(0)
        expected[:16, :16, :16] = ramp(7)[:16, :16, :16]
        os.rename(self.stored.chunk_path("two", (0, 0, 0)), self.stored.chunk_path("one", (0, 0, 0)))
        self.assertSame(self.read(mount), expected)

    def test_dosna_reads_what_was_closed_or_synced(self):
        mount = self.mount()
        mount.create("one", **META)
        with open(mount.file("one", "data"), "r+b", buffering=0) as file:
            file.write(ramp(1).tobytes())
            os.fsync(file.fileno())
            self.assertSame(self.stored.load("one"), ramp(1))
            os.pwrite(file.fileno(), b"\0\0", 0)
        expected = ramp(1)
        expected.flat[0] = 0
        self.assertSame(self.stored.load("one"), expected)

    def test_mapped_again(self):
        one, two = self.mount(), self.mount()
        one.create("one", **META)
        for turn in range(3):
            mapped = numpy.memmap(one.file("one", "data"), "<u2", "r+", shape=SHAPE)
            mapped[:] = ramp(turn)
            mapped.flush()
            del mapped
            self.assertSame(numpy.memmap(two.file("one", "data"), "<u2", "r", shape=SHAPE), ramp(turn))

    def test_truncation_elsewhere(self):
        one, two = self.mount(), self.mount()
        one.create("one", **META)
        one.write("one", ramp(0).tobytes())
        self.assertSame(self.read(two), ramp(0))
        half = ramp(0).nbytes // 2
        os.truncate(one.file("one", "data"), half)
        expected = ramp(0)
        expected[20:] = 9
        self.assertSame(self.read(one), expected)
        self.assertSame(self.read(two), expected)

    def test_datasets_come_and_go(self):
        one, two = self.mount(), self.mount()
        self.assertEqual(os.listdir(two.path), [])
        one.create("one", **META)
        self.assertEqual(os.listdir(two.path), ["one"])
        self.assertIn(b"shape = 40, 50, 60\n", two.read("one", ".meta"))
        self.stored.create("two", (3,), "<f8")
        if stores.STORE == "ceph":  # lists what was opened once
            os.stat(one.file("two", "data"))
        self.assertEqual(sorted(os.listdir(one.path)), ["one", "two"])
        shutil.rmtree(one.file("one"))
        self.assertEqual(os.listdir(two.path), ["two"])
        self.assertErrno(errno.ENOENT, os.open, two.file("one", "data"), os.O_RDONLY)
        one.create("one", **{**META, "shape": "2, 2, 2"})
        # What stat says may be a second old; what is opened may not.
        mounted.wait_for(lambda: os.stat(two.file("one", "data")).st_size == 16, "the new size")
        self.assertIn(b"shape = 2, 2, 2\n", two.read("one", ".meta"))

    def test_replaced_by_its_like(self):
        """Deleted and made again elsewhere, with the same description."""
        one, two = self.mount(), self.mount()
        for turn in range(3):
            one.create("one", **META)
            one.write("one", ramp(turn).tobytes())
            self.assertSame(self.read(two), ramp(turn))
            shutil.rmtree(one.file("one"))

    @mounted.only("hdf5")
    def test_replaced_by_renaming(self):
        """`mv one old; mv new one` elsewhere: what is open stays what it was, what is opened is the new one."""
        one, two = self.mount(), self.mount()
        for name, start in (("one", 0), ("new", 5)):
            one.create(name, **META)
            one.write(name, ramp(start).tobytes())
        self.assertSame(self.read(two), ramp(0))
        with open(two.file("one", "data"), "r+b", buffering=0) as file:
            os.pwrite(file.fileno(), b"\1\2", 0)
            os.rename(one.file("one"), one.file("old"))
            os.rename(one.file("new"), one.file("one"))
            self.assertSame(self.read(two), ramp(5))
        self.assertSame(self.read(one), ramp(5))
        expected = ramp(0)
        expected.flat[0] = 0x0201
        self.assertSame(self.read(one, "old"), expected)

    def test_write_to_a_chunk_that_changed(self):
        """An open file writes to a chunk that another mount changed: what else is in it is not what it was."""
        one, two = self.mount(), self.mount()
        one.create("one", shape="8192", dtype="|u1")
        one.write("one", bytes(8192))
        with open(two.file("one", "data"), "r+b", buffering=0) as file:
            self.assertEqual(two.read("one"), bytes(8192))
            with open(one.file("one", "data"), "r+b", buffering=0) as other:
                os.pwrite(other.fileno(), b"\5" * 4096, 4096)
            two.read("one", ".meta")
            os.pwrite(file.fileno(), b"\6", 0)
            self.assertEqual(two.read("one"), b"\6" + bytes(4095) + b"\5" * 4096)

    def test_two_writers_of_different_chunks(self):
        mounts = [self.mount(), self.mount()]
        mounts[0].create("one", shape="64, 64", dtype="<u2", chunk_size="8, 64")
        errors = []

        def write(number):
            try:
                with open(mounts[number].file("one", "data"), "r+b", buffering=0) as file:
                    for row in range(64):
                        if row // 8 % 2 == number:
                            os.pwrite(file.fileno(), bytes([number + 1]) * 128, row * 128)
            except OSError as error:
                errors.append(error)

        threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [])
        rows = numpy.arange(64) // 8 % 2 + 1
        expected = b"".join(bytes([row]) * 128 for row in rows)
        for mount in mounts:
            self.assertEqual(mount.read("one"), expected)
        self.assertEqual(self.stored.load("one").tobytes(), expected)

    def test_never_asks_at_every_read(self):
        """cache=never sees a change through a file that is open all the time."""
        self.stored.create("one", SHAPE, "<u2", CHUNK)
        mount = self.mount(cache="never")
        with open(mount.file("one", "data"), "rb", buffering=0) as file:
            for turn in range(3):
                self.stored.store("one", ramp(turn))
                self.assertEqual(os.pread(file.fileno(), ramp(0).nbytes, 0), ramp(turn).tobytes())

    def test_nothing_is_left_behind(self):
        """Writing and closing leaves the description, the chunks and nothing else in the store."""
        mount = self.mount()
        mount.create("one", **META)
        mount.write("one", ramp(0).tobytes())
        mount.write("one", ramp(1).tobytes())
        self.assertEqual(self.stored.contents("one"), 3 * 4 * 4)
        self.assertEqual(self.stored.names(), ["one"])


if __name__ == "__main__":
    unittest.main()
