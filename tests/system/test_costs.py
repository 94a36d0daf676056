# SPDX-License-Identifier: Apache-2.0
"""How many requests the store sees: counts, never times."""
import mmap
import os
import subprocess
import unittest
from pathlib import Path

import numpy

import mounted

SHAPE, CHUNK, ITEM = (128, 256, 256), (32, 32, 32), 2
NBYTES = int(numpy.prod(SHAPE)) * ITEM
SLAB = NBYTES // 4
CHUNKS = 4 * 8 * 8
META = {"shape": ", ".join(map(str, SHAPE)), "dtype": "<u2", "chunk_size": ", ".join(map(str, CHUNK))}

REQUESTS = ("chunk_gets", "chunk_puts", "chunk_deletes", "chunk_has", "lists", "metadata_requests")


class CostCase(mounted.MountedCase):
    def setUp(self):
        super().setUp()
        self.content = numpy.random.default_rng(3).bytes(NBYTES)
        self.source = Path(self.pool.directory, "flat")
        self.source.write_bytes(self.content)

    def fill(self, name="one"):
        """The dataset with all its chunks, stored a while ago: what somebody else has just changed is read again."""
        self.stored.create(name, SHAPE, "<u2", CHUNK)
        self.stored.store(name, numpy.frombuffer(self.content, "<u2").reshape(SHAPE))
        for path in Path(self.pool.directory).rglob("chunk_*"):
            os.utime(path, times=(path.stat().st_atime, path.stat().st_mtime - 10))

    def mount(self, **options):
        """Nothing is stored because of its age: a slow machine must not change the counts."""
        return super().mount(**{"dirty_expire": 600, **options})

    @staticmethod
    def counts(mount):
        return {name: mount.stat(f"dosnafs_{name}_total") for name in REQUESTS + ("chunk_get_bytes",)}

    def cost(self, mount, function, *args):
        """What a call adds to the counters."""
        before = self.counts(mount)
        function(*args)
        after = self.counts(mount)
        return {name: after[name] - before[name] for name in after}

    def dd(self, mount, *flags):
        subprocess.run(["dd", f"if={self.source}", f"of={mount.file('one', 'data')}", "status=none", *flags],
                       check=True)

    def cp(self, mount):
        subprocess.run(["cp", self.source, mount.file("one", "data")], check=True)


class WriteCostTest(CostCase):
    def assertWrittenOnce(self, mount, cost):
        self.assertEqual((cost["chunk_puts"], cost["chunk_gets"], cost["chunk_deletes"]), (CHUNKS, 0, 0))
        self.assertTrue(self.stored.load("one").tobytes() == self.content)
        self.assertIsNone(mount.status)

    def test_new_dataset(self):
        mount = self.mount()
        mount.create("one", **META)
        self.assertWrittenOnce(mount, self.cost(mount, self.dd, mount, "bs=1M"))

    def test_over_what_is_there(self):
        self.fill()
        for writer in (lambda mount: self.dd(mount, "bs=1M"), lambda mount: self.dd(mount, "bs=12345"),
                       lambda mount: self.dd(mount, "bs=1M", "conv=notrunc"), self.cp):
            mount = self.mount()
            self.assertWrittenOnce(mount, self.cost(mount, writer, mount))
            mount.umount()

    def test_a_slab_of_half_the_cache(self):
        self.fill()
        mount = self.mount(cache_size=2 * SLAB)
        self.assertWrittenOnce(mount, self.cost(mount, self.dd, mount, "bs=1M"))

    def test_truncation_and_overwrite_cost_no_more_than_the_overwrite(self):
        self.fill()
        mount = self.mount()
        plain = self.cost(mount, self.dd, mount, "bs=1M", "conv=notrunc")
        for name, count in self.cost(mount, self.dd, mount, "bs=1M").items():
            self.assertLessEqual(count, plain[name], name)

    def test_rewriting_before_the_close(self):
        """A chunk is stored as soon as it is whole: once each time, and never read."""
        self.fill()
        mount = self.mount()

        def write():
            with open(mount.file("one", "data"), "r+b", buffering=0) as file:
                for _ in range(3):
                    os.pwrite(file.fileno(), self.content[:SLAB], 0)

        cost = self.cost(mount, write)
        self.assertEqual(cost["chunk_gets"], 0)
        self.assertGreaterEqual(cost["chunk_puts"], CHUNKS // 4)
        self.assertLessEqual(cost["chunk_puts"], 3 * CHUNKS // 4)

    def test_part_of_a_chunk(self):
        """The rest of it is read once, and it is stored once."""
        self.fill()
        mount = self.mount()

        def write():
            with open(mount.file("one", "data"), "r+b", buffering=0) as file:
                for i in range(10):
                    os.pwrite(file.fileno(), b"xy", i * 512)

        cost = self.cost(mount, write)
        self.assertEqual(cost["chunk_puts"], 1)
        self.assertLessEqual(cost["chunk_gets"], 2)

    def test_nothing_dirty_nothing_stored(self):
        self.fill()
        mount = self.mount()

        def touch():
            with open(mount.file("one", "data"), "r+b", buffering=0) as file:
                file.read()
                os.fsync(file.fileno())

        self.assertEqual(self.cost(mount, touch)["chunk_puts"], 0)


class ReadCostTest(CostCase):
    @staticmethod
    def read_in_order(mount):
        """One request after the other: the kernel's readahead has several under way, in any order."""
        with mmap.mmap(-1, 1 << 17) as buffer:
            file = os.open(mount.file("one", "data"), os.O_RDONLY | os.O_DIRECT)
            while os.readv(file, [buffer]):
                pass
            os.close(file)

    def test_sequential_reading_fetches_every_byte_once(self):
        self.fill()
        for cache_size in (4 * SLAB, SLAB, SLAB // 4, 1 << 20):
            for engine in ("threads", "cpu"):
                with self.subTest(cache_size=cache_size, engine=engine):
                    mount = self.mount(cache_size=cache_size, engine=engine)
                    cost = self.cost(mount, self.read_in_order, mount)
                    self.assertGreaterEqual(cost["chunk_get_bytes"], NBYTES)
                    self.assertLessEqual(cost["chunk_get_bytes"], NBYTES * 1.02)
                    mount.umount()

    def test_reading_never_creates(self):
        self.stored.create("one", SHAPE, "<u2", CHUNK, fill=5)
        self.stored.store_chunk("one", (1, 2, 3), numpy.ones(CHUNK, "<u2"))
        before = self.stored.state()
        mount = self.mount()
        cost = self.cost(mount, mount.read, "one")
        self.assertEqual((cost["chunk_puts"], cost["chunk_deletes"]), (0, 0))
        self.assertLessEqual(cost["chunk_gets"], CHUNKS)
        mount.umount()
        self.assertEqual(self.stored.state(), before)

    def test_reading_again(self):
        """Nothing changed: cache=auto asks, and gets no data; cache=always does not ask."""
        self.fill()
        for cache in ("auto", "always"):
            mount = self.mount(cache=cache)
            mount.read("one")
            cost = self.cost(mount, mount.read, "one")
            self.assertEqual(cost["chunk_get_bytes"], 0)
            if cache == "always":
                self.assertEqual(cost["chunk_gets"], 0)
            mount.umount()

    def test_open_file_is_read_from_memory(self):
        self.fill()
        mount = self.mount()
        with open(mount.file("one", "data"), "rb", buffering=0) as file:
            file.read()
            cost = self.cost(mount, os.pread, file.fileno(), NBYTES, 0)
        self.assertEqual(cost["chunk_gets"], 0)

    def test_a_plane_along_the_last_axis(self):
        """Each chunk it touches is fetched once."""
        self.fill()
        mount = self.mount()

        def plane():
            array = numpy.memmap(mount.file("one", "data"), "<u2", "r", shape=SHAPE)
            numpy.array(array[:, :, 100])

        self.assertLessEqual(self.cost(mount, plane)["chunk_get_bytes"], NBYTES * 1.02)

    def test_looking_around(self):
        """ls -l and .meta need no chunk."""
        self.fill()
        mount = self.mount()

        def look():
            subprocess.run(["ls", "-lR", mount.path], check=True, stdout=subprocess.DEVNULL)
            mount.read("one", ".meta")

        cost = self.cost(mount, look)
        self.assertEqual((cost["chunk_gets"], cost["chunk_has"], cost["chunk_puts"]), (0, 0, 0))


if __name__ == "__main__":
    unittest.main()
