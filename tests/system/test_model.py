# SPDX-License-Identifier: Apache-2.0
"""Random operations on one file, against an array of bytes in memory.

The seed is printed with a failure; DOSNA_TEST_SEED repeats it. With DOSNA_TEST_BACKEND (and _ENGINE,
_CONNECTION, _OPTIONS; see run_tests.sh --help) the same runs on that connection.
"""
import errno
import mmap
import os
import random
import shutil
import threading
import unittest
from dataclasses import dataclass

import numpy

import mounted

SEED = int(os.environ.get("DOSNA_TEST_SEED") or random.SystemRandom().randrange(1 << 32))
SHORT = bool(os.environ.get("DOSNA_TEST_SHORT"))
STEPS = 40 if SHORT else 250
BACKEND = os.environ.get("DOSNA_TEST_BACKEND", "")

PAGE = 4096


@dataclass
class Kind:
    shape: tuple
    dtype: str
    chunk_size: tuple
    fill: object = 0

    def meta(self):
        vectors = {"shape": self.shape, "chunk_size": self.chunk_size}
        return {**{key: ", ".join(map(str, value)) for key, value in vectors.items()},
                "dtype": self.dtype, "fillvalue": repr(self.fill)}


KINDS = [
    Kind((37, 50, 61), "<u2", (16, 16, 16), 7),
    Kind((301, 403), "<f4", (64, 100), 1.5),
    Kind((1000003,), "|u1", (4096,), 255),
    Kind((9, 10, 11, 12), "<i8", (4, 4, 4, 4), -3),
    Kind((100, 700), ">i4", (128, 1000), -2),
    Kind((130, 60), "<c16", (8, 60)),
    Kind((400, 33), "|S5", (64, 16), b"ab"),
    Kind((70, 64, 96), "<u2", (32, 32, 32)),
]

SETTINGS = [
    {"engine": "threads"},
    {"engine": "threads", "cache_size": "1M"},
    {"engine": "cpu"},
    {"engine": "cpu", "cache_size": "1M", "cache": "never"},
    {"engine": "threads", "cache_size": "1M", "cache": "always"},
    {"engine": "threads", "cache": "never", "njobs": 3},
    {"engine": "threads", "prefetch": 0, "dirty_max": "256K", "dirty_expire": 0.05},
]


class GivenConnection:
    """The connection that run_tests.sh was given, in place of a pool of the test's own."""

    def __init__(self):
        self.name = os.environ.get("DOSNA_TEST_CONNECTION", "test-dosna")
        self.env = {}
        text = os.environ.get("DOSNA_TEST_OPTIONS", "")
        self.options = dict(part.split("=", 1) for part in text.split(",") if part)
        self.options["backend"] = BACKEND
        self.options["engine"] = os.environ.get("DOSNA_TEST_ENGINE", "threads")


class Model:
    """What the file must hold: its bytes, and its length, which differs from the full size only while
    it is open after a truncation."""

    def __init__(self, kind):
        array = numpy.full(kind.shape, kind.fill, kind.dtype)
        self.fill = numpy.frombuffer(array.tobytes(), "u1")
        self.bytes = self.fill.copy()
        self.size = self.length = len(self.fill)

    def read(self, offset, count):
        return self.bytes[offset:min(offset + count, self.length)].tobytes()

    def write(self, offset, data):
        """How many bytes fit."""
        count = min(len(data), self.size - offset)
        if offset > self.length:
            self.bytes[self.length:offset] = 0
        self.bytes[offset:offset + count] = numpy.frombuffer(data, "u1")[:count]
        self.length = max(self.length, offset + count)
        return count

    def truncate(self, length):
        if length < self.length:
            self.bytes[length:] = self.fill[length:]
        else:
            self.bytes[self.length:length] = 0
        self.length = length

    def closed(self):
        self.length = self.size


class Run:
    """One file, the random operations on it, and the model beside it."""

    def __init__(self, test, rng, mount, kind, name, settings):
        self.test, self.rng, self.mount, self.settings = test, rng, mount, settings
        self.kind, self.name = kind, name
        self.model = Model(kind)
        self.fd = None
        self.done = []
        self.reopen()

    # -- choices

    def offset(self, limit):
        if self.rng.random() < 0.2:
            return min(limit, self.rng.choice([0, limit // 2 // PAGE * PAGE, limit - 1, limit]))
        return self.rng.randrange(limit + 1)

    def count(self):
        return self.rng.choice([1, 3, 100, 511, PAGE, 10007, 1 << 17, 300001, 1 << 20])

    def data(self, count):
        return self.rng.randbytes(count)

    # -- operations

    def note(self, *what):
        self.done.append(" ".join(map(str, what)))

    def same(self, got, expected, what):
        if got != expected:
            first = next((i for i, (a, b) in enumerate(zip(got, expected)) if a != b),
                         min(len(got), len(expected)))
            self.test.fail(f"{what}: {len(got)} bytes, expected {len(expected)}; "
                           f"first difference at {first}: {got[first:first + 8]!r}, "
                           f"expected {expected[first:first + 8]!r}")

    def read(self):
        offset, count = self.offset(self.model.size + 10), self.count()
        self.note("read", offset, count)
        self.same(os.pread(self.fd, count, offset), self.model.read(offset, count), "read")

    def read_along(self):
        """A few blocks in order, as a sequential reader asks for them."""
        offset, count = self.offset(self.model.size), self.count() % 70000 + 1
        self.note("read_along", offset, count)
        for _ in range(6):
            self.same(os.pread(self.fd, count, offset), self.model.read(offset, count), "read_along")
            offset += count

    def read_stride(self):
        """Pieces at a constant distance, as a plane across the storage order is read."""
        start, piece = self.offset(self.model.size // 4), self.rng.randrange(1, 300)
        stride = piece + self.rng.randrange(self.model.size // 200, self.model.size // 10)
        self.note("read_stride", start, piece, stride)
        for offset in range(start, self.model.size, stride):
            self.same(os.pread(self.fd, piece, offset), self.model.read(offset, piece), "read_stride")

    def write(self):
        offset, data = self.offset(self.model.size + 5), self.data(self.count())
        self.note("write", offset, len(data))
        if offset >= self.model.size:
            self.test.assertErrno(errno.ENOSPC, os.pwrite, self.fd, data, offset)
        else:
            self.test.assertEqual(os.pwrite(self.fd, data, offset), self.model.write(offset, data))

    def write_along(self):
        offset, count = self.offset(self.model.size - 1), self.count() % 70000 + 1
        self.note("write_along", offset, count)
        for _ in range(6):
            if offset >= self.model.size:
                break
            data = self.data(count)
            self.test.assertEqual(os.pwrite(self.fd, data, offset), self.model.write(offset, data))
            offset += count

    def overwrite(self):
        """Truncate, then all of it in odd blocks, as dd and cp do."""
        count = self.rng.choice([PAGE, 65537, 1 << 18])
        self.note("overwrite", count)
        self.close()
        self.fd = os.open(self.mount.file(self.name, "data"), os.O_RDWR | os.O_TRUNC)
        self.model.truncate(0)
        for offset in range(0, self.model.size, count):
            data = self.data(min(count, self.model.size - offset))
            self.test.assertEqual(os.pwrite(self.fd, data, offset), self.model.write(offset, data))

    def truncate(self):
        length = self.offset(self.model.size)
        self.note("truncate", length)
        os.ftruncate(self.fd, length)
        self.model.truncate(length)
        self.test.assertEqual(os.fstat(self.fd).st_size, length)

    def truncate_too_long(self):
        self.note("truncate_too_long")
        self.test.assertErrno(errno.EFBIG, os.ftruncate, self.fd, self.model.size + 1)

    def truncate_closed(self):
        """By name, while nobody has the file open: its length is the full size again at once."""
        length = self.offset(self.model.size)
        self.note("truncate_closed", length)
        self.close()
        os.truncate(self.mount.file(self.name, "data"), length)
        self.model.truncate(length)
        self.model.closed()
        self.reopen()

    def map_shared(self):
        if not self.mappable():
            return
        offset, data = self.offset(self.model.size - 1), self.data(self.count())
        data = data[:self.model.size - offset]
        seen = self.offset(self.model.size - 1)
        self.note("map_shared", offset, len(data), seen)
        with mmap.mmap(self.fd, self.model.size) as view:
            self.same(view[seen:seen + 5000], self.model.read(seen, 5000), "mmap read")
            view[offset:offset + len(data)] = data
            self.model.write(offset, data)
            self.same(view[seen:seen + 5000], self.model.read(seen, 5000), "mmap read after write")
            if self.rng.random() < 0.5:
                view.flush()

    def map_private(self):
        if not self.mappable():
            return
        offset = self.offset(self.model.size - 1)
        self.note("map_private", offset)
        with mmap.mmap(self.fd, self.model.size, access=mmap.ACCESS_COPY) as view:
            self.same(view[offset:offset + 5000], self.model.read(offset, 5000), "private mmap read")
            view[offset:offset + 1] = b"x"

    def mappable(self):
        """A map is not resized, and touching pages past the length is SIGBUS."""
        return self.model.length == self.model.size and self.settings.get("cache") != "never"

    def fsync(self):
        self.note("fsync")
        os.fsync(self.fd)

    def reopen(self):
        self.note("reopen")
        self.close()
        self.fd = os.open(self.mount.file(self.name, "data"), os.O_RDWR)
        self.test.assertEqual(os.fstat(self.fd).st_size, self.model.size)

    def remount(self):
        if BACKEND == "ram":
            return
        self.note("remount")
        self.close()
        self.test.assertEqual(self.mount.umount(), 0, self.mount.log())
        self.mount = self.test.mount_connection(self.settings)
        self.reopen()

    def close(self):
        if self.fd is not None:
            os.close(self.fd)
            self.fd = None
            self.model.closed()

    OPERATIONS = {read: 8, read_along: 4, read_stride: 2, write: 8, write_along: 4, overwrite: 1,
                  truncate: 2, truncate_too_long: 1, truncate_closed: 1, map_shared: 5,
                  map_private: 1, fsync: 2, reopen: 3, remount: 1}

    def step(self):
        operation, = self.rng.choices(list(self.OPERATIONS), list(self.OPERATIONS.values()))
        operation(self)

    def check(self):
        self.same(self.mount.read(self.name), self.model.bytes.tobytes(), "the whole file")


class ModelTest(mounted.MountedCase):
    def setUp(self):
        super().setUp()
        self.connection = GivenConnection() if BACKEND else None

    def mount_connection(self, settings):
        if not self.connection:
            return self.mount(**settings)
        return self.mount(pool=self.connection, **{**settings, **self.connection.options})

    def start(self, rng, kind, settings):
        mount = self.mount_connection(settings)
        name = f"dosna-test-{os.getpid()}-{rng.randrange(1 << 32)}"
        mount.create(name, **kind.meta())
        return Run(self, rng, mount, kind, name, settings)

    def finish(self, run):
        """All is stored: a fresh mount and DosNa see what the model holds."""
        run.close()
        run.check()
        if BACKEND != "ram":
            run.mount.umount()
            run.mount = self.mount_connection(run.settings)
            run.check()
        if not BACKEND:
            run.same(self.stored.load(run.name).tobytes(), run.model.bytes.tobytes(), "what DosNa would read")
        shutil.rmtree(run.mount.file(run.name))
        run.mount.umount()

    def random_run(self, seed, kind, settings):
        run = self.start(random.Random(seed), kind, settings)
        try:
            for _ in range(STEPS):
                run.step()
            self.finish(run)
        except BaseException as error:
            done = "\n  ".join(run.done[-30:])
            raise AssertionError(f"{error}\nDOSNA_TEST_SEED={SEED}, {kind}, {settings}, "
                                 f"the last operations:\n  {done}\n{run.mount.log()}") from error
        finally:
            if run.fd is not None:
                os.close(run.fd)

    def test_random_operations(self):
        for i, kind in enumerate(KINDS):
            for j in (i, i + 3):
                settings = SETTINGS[j % len(SETTINGS)]
                with self.subTest(kind=kind, settings=settings, seed=SEED):
                    self.random_run(SEED + 100 * i + j, kind, settings)

    def test_threads_on_one_file(self):
        """Each has a range of bytes of its own; neighbours share chunks and pages."""
        for i, settings in enumerate(SETTINGS):
            with self.subTest(settings=settings, seed=SEED):
                self.threads_run(SEED + i, KINDS[i % 2], settings)

    def threads_run(self, seed, kind, settings):
        run = self.start(random.Random(seed), kind, settings)
        path, size, count = run.mount.file(run.name, "data"), run.model.size, 4
        errors = []

        def work(number):
            rng = random.Random(seed * 1000 + number)
            low, high = size * number // count, size * (number + 1) // count
            fd = os.open(path, os.O_RDWR)
            try:
                for _ in range(STEPS):
                    offset = rng.randrange(low, high)
                    length = min(rng.choice([1, 700, 5000, 100000]), high - offset)
                    if rng.random() < 0.5:
                        data = rng.randbytes(length)
                        self.assertEqual(os.pwrite(fd, data, offset), length)
                        run.model.bytes[offset:offset + length] = numpy.frombuffer(data, "u1")
                    else:
                        run.same(os.pread(fd, length, offset), run.model.read(offset, length),
                                 f"read of thread {number} at {offset}")
            except BaseException as error:
                errors.append(error)
            finally:
                os.close(fd)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(errors, [], f"DOSNA_TEST_SEED={SEED}\n{run.mount.log()}")
        self.finish(run)


if __name__ == "__main__":
    unittest.main()
