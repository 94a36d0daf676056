# SPDX-License-Identifier: Apache-2.0
"""Datasets of the largest sizes, with a few chunks stored: what they cost goes with what is stored or asked for, never
with the grid. Costs are requests to the store, as .dosnafs/stats counts them; the daemon's memory is its VmHWM."""
import errno
import math
import mmap
import os
import random
import signal
import subprocess
import unittest

import numpy

import mounted
import stores
from test_faults import FaultCase

VIEWS = (".dosnafs", "views")
CACHE = 64 << 20
# What the daemon needs beside its cache; librados begins with 16 MiB, and has a copy of what is on its way.
ASIDE = (64 if stores.STORE == "ceph" else 32) << 20
AROUND = 128 << 10 # what the kernel reads around a page fault
SHORT = bool(os.environ.get("DOSNA_TEST_SHORT"))
REQUESTS = ("chunk_gets", "chunk_puts", "chunk_deletes", "chunk_has", "lists", "metadata_requests")


class Giant:
    """What a dataset should hold: a fill value, and what was written over it."""

    def __init__(self, name, shape, dtype, chunk, fill=0):
        self.name, self.shape, self.chunk = name, shape, chunk
        self.fill = numpy.array(fill, dtype)
        self.meta = {"shape": ", ".join(map(str, shape)), "dtype": dtype, "fillvalue": fill,
                     "chunk_size": ", ".join(map(str, chunk))}
        self.grid = [-(-extent // size) for extent, size in zip(shape, chunk)]
        self.itemsize = self.fill.itemsize
        self.nbytes = math.prod(shape) * self.itemsize
        self.elements = {}   # number: value, of those that were written
        self.chunks = set()  # those that are stored

    def index(self, element):
        index = []
        for extent in reversed(self.shape):
            element, at = divmod(element, extent)
            index.insert(0, at)
        return index

    def chunk_of(self, element):
        return tuple(at // size for at, size in zip(self.index(element), self.chunk))

    def first_element(self, chunk):
        element = 0
        for at, size, extent in zip(chunk, self.chunk, self.shape):
            element = element * extent + at * size
        return element

    def write(self, element, value):
        self.elements[element] = value
        self.chunks.add(self.chunk_of(element))

    def write_around(self, first, count):
        """A page is written whole."""
        self.chunks |= {self.chunk_of(element) for element in range(first, first + count)}

    def rows_of(self, length):
        """How many chunks so many bytes can touch."""
        return length // (self.chunk[-1] * self.itemsize) + 3

    def bytes(self, offset, length):
        first = offset // self.itemsize
        items = numpy.full((offset + length - 1) // self.itemsize + 1 - first, self.fill)
        for element, value in self.elements.items():
            if first <= element < first + len(items):
                items[element - first] = value
        start = offset - first * self.itemsize
        return items.tobytes()[start:start + length]

    def truncate(self, length):
        """What is left; an element that is cut in two would be no number that was written."""
        self.elements = {element: value for element, value in self.elements.items()
                         if element < length // self.itemsize}
        self.chunks = {chunk for chunk in self.chunks if self.first_element(chunk) * self.itemsize < length}


def two_tb():
    return Giant("two-tb", (10000, 10000, 10000), "<u2", (64, 64, 64))


def many_chunks():
    """10^8 of them."""
    return Giant("many-chunks", (100000, 1000, 64), "<f4", (1, 1, 64), 3)


def nearly_all():
    """An off_t has 63 bits."""
    return Giant("nearly-all", ((1 << 63) - (1 << 20),), "|u1", (1 << 20,))


GIANTS = (two_tb, many_chunks, nearly_all)


class GiantCase(mounted.MountedCase):
    OPTIONS = {}

    def setUp(self):
        super().setUp()
        self.random = random.Random(11)

    def mount(self, **options):
        return super().mount(**{"cache_size": CACHE, "dirty_expire": 600, **self.OPTIONS, **options})

    def counts(self, mount):
        return {name: mount.stat(f"dosnafs_{name}_total") for name in REQUESTS}

    def cost(self, mount, function, *args):
        before = self.counts(mount)
        function(*args)
        after = self.counts(mount)
        return {name: after[name] - before[name] for name in after}

    def assertCost(self, cost, **most):
        """No more than these; of what is not named, none."""
        over = {name: count for name, count in cost.items() if count > most.get(name, 0)}
        self.assertEqual(over, {}, f"allowed were {most}")

    def assertMemory(self, mount):
        if SHORT or self.OPTIONS:  # a sanitizer has memory of its own, and the chunks of ram are in memory
            return
        with open(f"/proc/{mount.process.pid}/status", encoding="utf-8") as file:
            peak = next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM:"))
        self.assertLessEqual(peak, CACHE + ASIDE)

    def places(self, giant, count):
        """Elements: the ends, and others anywhere."""
        last = giant.nbytes // giant.itemsize - 1
        return [0, last, *(self.random.randrange(last) for _ in range(count))]

    def open(self, mount, name, part="data", flags=os.O_RDWR):
        """Without readahead, which would ask for more than is read."""
        file = os.open(mount.file(name, part), flags)
        self.addCleanup(self.close, file)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_RANDOM)
        return file

    @staticmethod
    def close(file):
        try:
            os.close(file)
        except OSError:
            pass  # it was closed by the test

    def write(self, file, giant, count):
        for element in self.places(giant, count):
            value = numpy.array(self.random.randrange(1, 256), giant.fill.dtype)
            self.assertEqual(os.pwrite(file, value.tobytes(), element * giant.itemsize), giant.itemsize)
            giant.write(element, value)

    def check(self, file, giant, length):
        """What was written, and anything else."""
        for element in [*giant.elements, *self.places(giant, 10)]:
            offset = min(element * giant.itemsize, length)
            n = self.random.randrange(1, 500)
            self.assertEqual(os.pread(file, n, offset), giant.bytes(offset, min(n, length - offset)), offset)

    def check_stored(self, giant):
        if not self.OPTIONS:
            self.assertEqual(self.stored.contents(giant.name), len(giant.chunks))

    def made(self, mount, giant, writes=10):
        """With some elements written."""
        mount.create(giant.name, **giant.meta)
        file = self.open(mount, giant.name)
        self.write(file, giant, writes)
        os.close(file)
        return giant


class LifeTest(GiantCase):
    """One test for each size, from the beginning to the end."""

    def look(self, mount, giant):
        path = mount.file(giant.name, "data")
        status = os.stat(path)
        self.assertEqual(status.st_size, giant.nbytes)
        self.assertEqual(status.st_blocks, -(-giant.nbytes // 512))
        listed = subprocess.run(["ls", "-l", mount.file(giant.name)], check=True, stdout=subprocess.PIPE, text=True)
        self.assertIn(f" {giant.nbytes} ", listed.stdout)
        used = subprocess.run(["du", "-B1", path], check=True, stdout=subprocess.PIPE, text=True)
        self.assertEqual(int(used.stdout.split()[0]), -(-giant.nbytes // 512) * 512)
        self.assertGreater(os.statvfs(mount.path).f_blocks, 0)
        self.assertIn(f"chunk_grid = {', '.join(map(str, giant.grid))}\n", mount.read(giant.name, ".meta").decode())

    def read_and_write(self, mount, file, giant):
        reads = 12
        cost = self.cost(mount, self.check, file, giant, giant.nbytes)
        self.assertCost(cost, chunk_gets=reads * giant.rows_of(2 * mmap.PAGESIZE))
        self.write(file, giant, 12)
        chunks = len(giant.chunks)
        self.assertCost(self.cost(mount, os.fsync, file), chunk_gets=chunks, chunk_puts=chunks)
        self.check(file, giant, giant.nbytes)
        self.check_stored(giant)
        self.assertErrno(errno.ENOSPC, os.pwrite, file, b"x", giant.nbytes)
        self.assertEqual(os.pread(file, 10, giant.nbytes), b"")
        self.assertErrno(errno.EFBIG, os.ftruncate, file, giant.nbytes + 1)

    def map(self, file, giant):
        for element in self.places(giant, 5):
            start = element * giant.itemsize // mmap.PAGESIZE * mmap.PAGESIZE
            length = min(mmap.PAGESIZE, giant.nbytes - start)
            with mmap.mmap(file, length, offset=start) as mapped:
                self.assertEqual(mapped[:], giant.bytes(start, length))
                at = element * giant.itemsize - start
                value = numpy.array(9, giant.fill.dtype)
                mapped[at:at + giant.itemsize] = value.tobytes()
                giant.write(element, value)
                giant.write_around(start // giant.itemsize, length // giant.itemsize)
        os.fsync(file)
        self.check(file, giant, giant.nbytes)
        self.check_stored(giant)

    def truncate(self, mount, file, giant):
        """In the middle of an element of a chunk of a layer, and to nothing."""
        for length in (giant.nbytes // 2 // 1000 * 1000 + 77 * giant.itemsize, 0):
            stored = len(giant.chunks)
            self.assertCost(self.cost(mount, os.ftruncate, file, length))
            giant.truncate(length)
            self.assertEqual(os.fstat(file).st_size, length)
            self.check(file, giant, length)
            self.assertCost(self.cost(mount, os.fsync, file), chunk_gets=stored, chunk_puts=stored,
                            chunk_deletes=stored, lists=3)
            self.check_stored(giant)
        if not giant.fill:  # else zeros would have to be stored
            self.assertCost(self.cost(mount, os.ftruncate, file, giant.nbytes))
            self.check(file, giant, giant.nbytes)
        os.close(file)
        mounted.wait_for(lambda: os.stat(mount.file(giant.name, "data")).st_size == giant.nbytes, "whole length")

    def remove(self, mount, giant):
        name = giant.name
        if self.OPTIONS or stores.STORE == "hdf5":
            name += "-2"
            os.rename(mount.file(giant.name), mount.file(name))
            self.check(self.open(mount, name), giant, giant.nbytes)
        else:
            self.assertErrno(errno.EXDEV, os.rename, mount.file(name), mount.file(name + "-2"))
        stored = len(giant.chunks)
        cost = self.cost(mount, lambda: subprocess.run(["rm", "-r", mount.file(name)], check=True))
        self.assertCost(cost, chunk_deletes=stored, lists=8, metadata_requests=20)
        self.assertEqual(os.listdir(mount.path), [])
        if not self.OPTIONS:
            self.assertEqual(self.stored.names(), [])

    def live(self, giant):
        mount = self.mount()
        self.assertCost(self.cost(mount, lambda: mount.create(giant.name, **giant.meta)), lists=1,
                        metadata_requests=6)
        self.assertCost(self.cost(mount, self.look, mount, giant), metadata_requests=8)
        file = self.open(mount, giant.name)
        self.read_and_write(mount, file, giant)
        self.map(file, giant)
        self.truncate(mount, file, giant)
        file = self.open(mount, giant.name)
        self.write(file, giant, 5)
        os.close(file)
        self.remove(mount, giant)
        self.assertMemory(mount)
        self.assertEqual(mount.log(), "")

    def test_two_tb(self):
        self.live(two_tb())

    def test_many_chunks(self):
        self.live(many_chunks())

    def test_nearly_all(self):
        self.live(nearly_all())


class ReadersTest(GiantCase):
    """What other programs see."""

    def view(self, mount, name):
        return mount.file(*VIEWS, name)

    def check_formats(self, mount, giant):
        """Head, end and some of the middle of each."""
        listed = os.listdir(mount.file(*VIEWS))
        self.assertIn(f"{giant.name}.npy", listed)
        for entry in listed:
            path = self.view(mount, entry)
            if entry.endswith((".zarr", ".png")):
                continue
            file = self.open(mount, *VIEWS[:1], "/".join((*VIEWS[1:], entry)), os.O_RDONLY)
            size = os.fstat(file).st_size
            self.assertEqual(len(os.pread(file, 1000, 0)), min(size, 1000), path)
            end = max(size - 700, 0)
            self.assertEqual(len(os.pread(file, 1000, end)), min(size, 700), path)
            if entry.endswith((".npy", ".nii", ".tif")):
                self.assertEqual(size, giant.nbytes + 4096)
                self.assertEqual(os.pread(file, 1000, end), giant.bytes(giant.nbytes - 700, 700), path)
        if giant.nbytes > 1 << 46:  # no process has so many addresses
            return
        array = numpy.load(self.view(mount, giant.name + ".npy"), mmap_mode="r")
        self.assertEqual(array.shape, giant.shape)
        for element, value in giant.elements.items():
            self.assertEqual(array[tuple(giant.index(element))], value)

    def check_zarr(self, mount, giant):
        path = self.view(mount, giant.name + ".zarr")
        names = [".".join(map(str, index)) for index in sorted(giant.chunks)]
        listed = []
        cost = self.cost(mount, lambda: listed.extend(os.listdir(path)))
        self.assertEqual(listed, [".zarray", ".zattrs", *names])
        self.assertCost(cost, metadata_requests=len(names) + 4, lists=len(names) + 1)
        if math.prod(giant.grid) <= 1 << 27:
            self.assertEqual(cost["lists"], 1)
        for name in names:
            self.assertEqual(os.stat(os.path.join(path, name)).st_size, math.prod(giant.chunk) * giant.itemsize)

    def test_views(self):
        mount = self.mount(cache="always")  # which asks about nothing again
        for make in GIANTS:
            giant = self.made(mount, make())
            with self.subTest(giant.name):
                most = 3 * 8 * giant.rows_of(2 * mmap.PAGESIZE) + 2 * len(giant.elements) * giant.rows_of(AROUND)
                cost = self.cost(mount, self.check_formats, mount, giant)
                self.assertCost(cost, chunk_gets=most, metadata_requests=60, lists=1)
                self.check_zarr(mount, giant)
                subprocess.run(["rm", "-r", mount.file(giant.name)], check=True)
        self.assertMemory(mount)

    @mounted.only("hdf5")
    def test_preview(self):
        """A request for each chunk of the plane at most, and for each pixel."""
        mount = self.mount(cache="always")
        for giant in (two_tb(), many_chunks()):
            mount.create(giant.name, **giant.meta)
            cost = self.cost(mount, lambda: subprocess.run(["cat", self.view(mount, giant.name + ".png")], check=True,
                                                           stdout=subprocess.DEVNULL))
            self.assertCost(cost, chunk_gets=min(math.prod(giant.grid[1:]), 256 ** 2), metadata_requests=8)
        self.assertMemory(mount)

    def test_a_zarr_directory_of_a_slice(self):
        """All of its chunks are there; as many as are read are named."""
        mount = self.mount()
        giant = self.made(mount, many_chunks(), 2)
        path = self.view(mount, giant.name + "[:].zarr")
        names = []
        with os.scandir(self.view(mount, giant.name + "[1:].zarr")) as entries:
            cost = self.cost(mount, lambda: names.extend(next(entries).name for _ in range(3000)))
        self.assertEqual(names[:4], [".zarray", ".zattrs", "0.0.0", "0.1.0"])
        self.assertEqual(names[2002:2004], ["2.0.0", "2.1.0"])
        self.assertCost(cost, metadata_requests=2)
        self.assertEqual(len(os.listdir(path)), 2 + len(giant.chunks))  # [:] is the whole
        self.assertMemory(mount)

    def planes(self, mount, giant):
        for element, value in giant.elements.items():
            z, y, x = giant.index(element)
            for place in (f"[{z},{y}::997,{x}::997]", f"[{z}::997,{y},{x}::997]", f"[{z}::997,{y}::997,{x}]"):
                plane = numpy.load(self.view(mount, giant.name + place + ".npy"))
                self.assertEqual(plane.flat[0], value)

    def test_planes(self):
        """Thinned along each axis, and one row of chunks of each through a map."""
        mount = self.mount(cache="always")  # which asks about nothing again
        giant = self.made(mount, two_tb(), 1)
        self.assertCost(self.cost(mount, self.planes, mount, giant), chunk_gets=9 * 11 ** 2, metadata_requests=30)
        array = numpy.memmap(mount.file(giant.name, "data"), "<u2", "r", shape=giant.shape)
        z, y, x = next(iter(giant.index(element) for element in giant.elements if element))
        value = giant.elements[next(element for element in giant.elements if element)]
        cost = self.cost(mount, lambda: [self.assertEqual(plane[-1, -1], value) for plane in (
            array[z, y - 30:y + 1, :x + 1], array[z - 30:z + 1, y, :x + 1], array[z - 30:z + 1, y - 30:y + 1, x])])
        # Pages around what is read, and the rows that are pushed ahead, are of the chunks along these rows.
        self.assertLess(cost["chunk_gets"], 40 * giant.grid[2])
        del array
        self.assertMemory(mount)

    def test_copies_of_a_piece(self):
        """cp --sparse and tar --sparse, of a slice."""
        mount = self.mount()
        giant = self.made(mount, two_tb(), 0)
        content = numpy.zeros((200, 100, 300), "<u2")
        content[-1, -1, -1] = giant.elements[giant.nbytes // 2 - 1]
        name = giant.name + "[-200:,-100:,-300:].raw"
        copy, archive = (os.path.join(self.pool.directory, name) for name in ("copy", "archive"))
        subprocess.run(["cp", "--sparse=always", self.view(mount, name), copy], check=True)
        with open(copy, "rb") as file:
            self.assertEqual(file.read(), content.tobytes())
        self.assertLess(os.stat(copy).st_blocks * 512, content.nbytes / 2)
        subprocess.run(["tar", "--sparse", "-C", mount.file(*VIEWS), "-cf", archive, name], check=True)
        unpacked = subprocess.run(["tar", "-xOf", archive], check=True, stdout=subprocess.PIPE).stdout
        self.assertEqual(unpacked, content.tobytes())

    def test_the_cache_stays_within_its_size(self):
        """Full of data and full of holes."""
        mount = self.mount()
        giant = nearly_all()
        mount.create(giant.name, **giant.meta)
        subprocess.run(["dd", "if=/dev/zero", f"of={mount.file(giant.name, 'data')}", "bs=1M", "count=128",
                        "conv=notrunc", "status=none"], check=True)
        subprocess.run(["dd", f"if={mount.file(giant.name, 'data')}", "of=/dev/null", "bs=1M", "count=256",
                        "status=none"], check=True)
        holes = many_chunks()
        mount.create(holes.name, **holes.meta)
        subprocess.run(["dd", f"if={mount.file(holes.name, 'data')}", "of=/dev/null", "bs=1M",
                        f"count={2 if SHORT or stores.STORE != 'hdf5' else 64}", "status=none"], check=True)
        self.assertMemory(mount)


@mounted.only("hdf5")
class FarAwayTest(FaultCase):
    """A store that takes its time for each request."""

    def datasets(self):
        for number in range(200):
            self.stored.create(f"some{number}", (100, 100, 100), "<u2", (10, 10, 10))

    def cost(self, mount, *command):
        before = mount.stat("dosnafs_metadata_requests_total")
        subprocess.run(command, check=True, timeout=mounted.TIMEOUT, stdout=subprocess.DEVNULL)
        return mount.stat("dosnafs_metadata_requests_total") - before

    def test_200_datasets(self):
        """One after the other they would take longer than is waited for."""
        self.datasets()
        mount = self.mount_fault(delay=0.5, delay_meta=0.5, fail_file=None)
        for command in (("ls",), ("ls", "-l"), ("find", "-mindepth", "1", "-maxdepth", "1", "-type", "d")):
            self.assertLessEqual(self.cost(mount, *command[:1], mount.path, *command[1:]), 4)
        self.assertLessEqual(self.cost(mount, "ls", "-l", mount.file("some7")), 4)
        self.assertLessEqual(self.cost(mount, "ls", mount.file(*VIEWS)), 210)

    def interrupt(self, mount, counter, *command):
        """Ctrl-C once its requests are counted."""
        counter = f"dosnafs_{counter}_total"
        before = mount.stat(counter)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            mounted.wait_for(lambda: mount.stat(counter) > before + 20, f"{counter} of {command[0]}")
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(mounted.TIMEOUT), -signal.SIGINT, command)

    def test_interruption(self):
        """Each of these would take hours, or days."""
        giant = two_tb()
        self.datasets()
        mount = self.mount_fault(delay=0.1, delay_meta=0.1, fail_file=None, fail_op="list_chunks",
                                 fail_errno=errno.ENOTSUP, dirty_max="1M")  # close stores what is dirty
        mount.create(giant.name, **giant.meta)
        data = mount.file(giant.name, "data")
        self.interrupt(mount, "chunk_gets", "cat", data)
        self.interrupt(mount, "chunk_gets", "cat", mount.file(*VIEWS, giant.name + "[:,:,7].raw"))
        self.interrupt(mount, "chunk_has", "ls", mount.file(*VIEWS, giant.name + ".zarr"))
        self.interrupt(mount, "metadata_requests", "ls", mount.file(*VIEWS))
        self.interrupt(mount, "chunk_puts", "dd", "if=/dev/zero", f"of={data}", "bs=1M", "conv=notrunc")
        self.assertEqual(os.stat(data).st_size, giant.nbytes)
        self.assertEqual(mount.umount(), 0)

    def test_interrupted_removal(self):
        """What is removed is gone at once; the rest is done at the end."""
        giant = many_chunks()
        self.stored.create(giant.name, giant.shape, "<f4", giant.chunk)
        self.stored.store_chunk(giant.name, (0, 0, 0), numpy.ones(giant.chunk, "<f4"))
        chunk = self.stored.chunk_path(giant.name, (0, 0, 0)).read_bytes()
        for i in range(1, 1000):
            self.stored.chunk_path(giant.name, (i, i, 0)).write_bytes(chunk)
        mount = self.mount_fault(delay=0.1, fail_file=None)
        data = mount.file(giant.name, "data")
        self.interrupt(mount, "chunk_deletes", "rm", data)
        self.assertEqual(mount.read(giant.name, ".meta")[:5], b"shape")
        self.assertEqual(mount.umount(), 0)
        self.assertEqual(self.stored.contents(giant.name), 0)


@mounted.only("hdf5")
class RamLifeTest(LifeTest):
    OPTIONS = {"backend": "ram"}


@mounted.only("hdf5")
class RamReadersTest(ReadersTest):
    OPTIONS = {"backend": "ram"}


if __name__ == "__main__":
    unittest.main()
