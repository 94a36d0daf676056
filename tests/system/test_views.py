# SPDX-License-Identifier: Apache-2.0
"""The views directory: what is listed and found by name, .npy through numpy, coherence with `data`, bad input."""
import errno
import io
import os
import stat
import unittest

import numpy

from mounted import wait_for
from views import VIEWS, ODD_NAMES, ViewsCase, mounted_name, read, write_at

SUFFIXES = [".btf", ".mhd", ".nhdr", ".nii", ".npy", ".png", ".tif", ".zarr"]
META = {"shape": "4, 6, 8", "dtype": "<u2", "chunk_size": "2, 4, 4"}


class NamesTest(ViewsCase):
    def test_listing(self):
        m = self.mount(views="v", backend="ram")
        self.array(m, "a", numpy.arange(24, dtype="<u2").reshape(2, 3, 4), (2, 2, 2))
        self.array(m, "line", numpy.arange(5, dtype=">f8"), (2,))
        self.array(m, "text", numpy.array(["ab", "c"]), (2,))
        want = ["a" + suffix for suffix in SUFFIXES]
        want += ["line" + suffix for suffix in (".mhd", ".nhdr", ".nii", ".npy", ".zarr")]
        want += ["text.npy", "text.zarr"]
        self.assertEqual(sorted(os.listdir(m.file(*VIEWS))), sorted(want))
        self.assertEqual(sorted(os.listdir(m.file("v"))), sorted(want))
        self.assertEqual(sorted(os.listdir(m.path)), ["a", "line", "text", "v"])
        with os.scandir(m.file("v")) as entries:
            for entry in entries:
                status = entry.stat()
                self.assertEqual(entry.inode(), status.st_ino)
                self.assertEqual(entry.is_dir(), entry.name.endswith(".zarr"))
                self.assertEqual(bool(status.st_mode & stat.S_IWUSR), entry.name.endswith((".npy", ".zarr")))
        numbers = {os.stat(m.file("v", name)).st_ino for name in want}
        self.assertEqual(len(numbers), len(want))
        for entry in SUFFIXES[:-1]:
            self.assertEqual(os.path.getsize(m.file("v", "a" + entry)), len(read(m.file("v", "a" + entry))))

    def test_what_is_not_there(self):
        m = self.mount()
        m.create("a", **META)
        for name in ("b.npy", "a", "a.txt", "a.", ".npy", "a[.npy", "a[4].npy", "a[0,0,0,0].npy", "a[x].npy",
                     "a].npy", "a.transpose(0,1).npy", "a.T[8].npy", "a[0,0].tif", "a[2:1].nhdr", "a[::0].npy",
                     "[0].npy", ".T.npy", "=61.bytes", "b=2.bytes", "a[0].zarr/9.9", "a.zarr/0.0.0", "a.zarr/x",
                     "a.zarr/.zgroup", "a.zarr/0.0.00", "a.zarr/0.0", "x" * 255):
            self.assertErrno(errno.ENOENT, os.stat, m.file(*VIEWS, name))

    def test_a_longer_name_wins(self):
        m = self.mount()
        self.array(m, "a", numpy.arange(6, dtype="u1").reshape(2, 3), (2, 2))
        self.assertEqual(numpy.load(m.file(*VIEWS, "a.T.npy")).shape, (3, 2))
        self.array(m, "a.T", numpy.arange(4, dtype="u1"), (2,))
        m.umount()
        m = self.mount()
        self.assertEqual(numpy.load(m.file(*VIEWS, "a.T.npy")).shape, (4,))
        self.assertEqual(numpy.load(m.file(*VIEWS, "a.T.T.npy")).shape, (4,))

    def test_odd_names(self):
        m = self.mount(views="v", backend="ram")
        arrays = {name: numpy.full((2, 3), i, "<i4") for i, name in enumerate(ODD_NAMES)}
        for name, array in arrays.items():
            self.array(m, name, array, (2, 2))
        for place in (VIEWS, ("v",)):
            listed = set(os.listdir(m.file(*place)))
            for name, array in arrays.items():
                entry = mounted_name(name)
                self.assertIn(entry + ".nhdr", listed)
                self.assertTrue((numpy.load(m.file(*place, entry + ".npy")) == array).all())
                for suffix, key in ((".nhdr", b"data file: "), (".mhd", b"ElementDataFile = ")):
                    for expression, part in (("", array), ("[:,::-1].T", array[:, ::-1].T)):
                        self.check_link(m, place, entry + expression + suffix, key, part)

    def check_link(self, m, place, entry, key, array):
        """The last line of a detached header names a file of the array, in letters that every reader takes."""
        line = read(m.file(*place, entry)).splitlines()[-1]
        self.assertTrue(line.startswith(key), line)
        link = line[len(key):].decode()
        self.assertRegex(link, r"^[A-Za-z0-9._=/-]+$")
        self.assertEqual(read(m.file(*place, link)), array.tobytes())
        if entry.startswith("plain.") or entry.startswith("-x."):
            self.assertTrue(link.endswith("/data"))


class NumpyTest(ViewsCase):
    def test_load(self):
        m = self.mount(backend="ram")
        random = numpy.random.default_rng(3)
        for i, (dtype, shape, chunk) in enumerate((("<u2", (7, 33, 40), (4, 16, 16)), (">f8", (9,), (4,)),
                                                   ("|b1", (3, 5), (2, 2)), ("<c16", (2, 2, 2, 3), (1, 2, 2, 2)),
                                                   ("<U3", (4, 5), (3, 3)), ("<M8[ns]", (6,), (4,)))):
            array = random.integers(0, 2, shape).astype(dtype) if dtype != "<U3" else numpy.full(shape, "äb", dtype)
            self.array(m, f"a{i}", array, chunk)
            path = m.file(*VIEWS, f"a{i}.npy")
            for mode in (None, "r", "c"):
                loaded = numpy.load(path, mmap_mode=mode)
                self.assertEqual((loaded.dtype.str, loaded.shape), (array.dtype.str, array.shape))
                self.assertTrue((loaded == array).all())
            self.assertEqual(numpy.load(path, mmap_mode="r").offset, 4096)
            self.assertEqual(os.path.getsize(path), 4096 + array.nbytes)
            header = io.BytesIO()
            numpy.lib.format.write_array_header_1_0(header, numpy.lib.format.header_data_from_array_1_0(array))
            text = header.getvalue()[10:].rstrip()
            self.assertEqual(read(path)[10:4096].rstrip(), text)

    def test_write(self):
        m = self.mount()
        array = numpy.zeros((20, 30, 40), "<f4")
        self.array(m, "a", array, (8, 16, 16))
        for name, part in (("a.npy", array), ("a[3:9,::-2].npy", array[3:9, ::-2]), ("a.T[5].npy", array.T[5]),
                           ("a.transpose(1,2,0)[...,7].npy", array.transpose(1, 2, 0)[..., 7])):
            view = numpy.load(m.file(*VIEWS, name), mmap_mode="r+")
            values = numpy.random.default_rng(len(name)).random(part.shape, "<f4")
            view[:] = values
            part[...] = values
            view.flush()
            del view
            self.assertEqual(m.read("a"), array.tobytes(), name)
        values = numpy.arange(40, dtype="<f4")
        array[2, 3] = values
        self.assertEqual(write_at(m.file(*VIEWS, "a[2,3].raw"), values.tobytes(), 0), 160)
        m.umount()
        m = self.mount()
        self.assertEqual(m.read("a"), array.tobytes())

    def test_fsync(self):
        """Of any descriptor, be it one that cannot write."""
        m = self.mount(dirty_expire=600)
        array = numpy.zeros((4, 6), "<u2")
        self.array(m, "a", array, (2, 6))
        path = m.file(*VIEWS, "a.npy")
        writer, reader = os.open(path, os.O_RDWR), os.open(path, os.O_RDONLY)
        try:
            for turn, file in enumerate((writer, reader)):
                array[3, turn] = 7
                os.pwrite(writer, b"\7", 4096 + 2 * (18 + turn))
                os.fsync(file)
                self.assertTrue((self.stored.load("a") == array).all())
        finally:
            os.close(writer)
            os.close(reader)


class CoherenceTest(ViewsCase):
    """Two inodes, one array: what is written through one is in the other when it is opened next."""

    def check_both_ways(self, **options):
        m = self.mount(**options)
        data = bytearray(os.urandom(4 * 6 * 8 * 2))
        m.create("a", **META)
        m.write("a", data)
        npy, png = m.file(*VIEWS, "a.npy"), m.file(*VIEWS, "a[1:3].npy")
        for turn in range(20):
            self.assertEqual(read(npy)[4096:], data)
            self.assertEqual(read(png)[4096:], data[96:96 * 3])
            data[100 + turn] ^= 0xff
            write_at(m.file("a", "data"), data[100 + turn:101 + turn], 100 + turn)
            self.assertEqual(read(npy)[4096:], data)
            self.assertEqual(read(png)[4096:], data[96:96 * 3])
            data[101 + turn] ^= 0xff
            write_at(npy, data[101 + turn:102 + turn], 4096 + 101 + turn)
            self.assertEqual(m.read("a"), data)
            self.assertEqual(read(png)[4096:], data[96:96 * 3])

    def test_auto(self):
        self.check_both_ways()

    def test_always(self):
        self.check_both_ways(cache="always")

    def test_never(self):
        self.check_both_ways(cache="never")

    def test_renamed_while_open(self):
        """What is written through a view goes to the dataset that it was opened for, under its new name."""
        m = self.mount()
        data = bytearray(os.urandom(384))
        m.create("a", **META)
        m.write("a", data)
        with open(m.file(*VIEWS, "a.npy"), "r+b", buffering=0) as whole, \
                open(m.file(*VIEWS, "a[2].raw"), "r+b", buffering=0) as part:
            os.rename(m.file("a"), m.file("b"))
            for turn in range(3):
                self.assertEqual(m.read("b"), data)
                data[turn:turn + 3] = os.urandom(3)
                data[192 + turn:195 + turn] = os.urandom(3)
                self.assertEqual(os.pwrite(whole.fileno(), data[turn:turn + 3], 4096 + turn), 3)
                self.assertEqual(os.pwrite(part.fileno(), data[192 + turn:195 + turn], turn), 3)
        self.assertEqual(m.read("b"), data)
        self.assertEqual(read(m.file(*VIEWS, "b.npy"))[4096:], data)
        for name in ("a.npy", "a[2].raw", "a.zarr/.zarray"):
            self.assertErrno(errno.ENOENT, read, m.file(*VIEWS, name))
        m.umount()
        m = self.mount()
        self.assertEqual(m.read("b"), data)

    def test_other_mount(self):
        one, two = self.mount(), self.mount()
        one.create("a", **META)
        one.write("a", bytes(384))
        self.assertEqual(read(two.file(*VIEWS, "a.npy"))[4096:], bytes(384))
        write_at(one.file(*VIEWS, "a.npy"), b"xyz", 4196)
        self.assertEqual(read(two.file(*VIEWS, "a.npy"))[4196:4199], b"xyz")


class BadInputTest(ViewsCase):
    def setUp(self):
        super().setUp()
        self.m = self.mount()
        self.m.create("a", **META)
        self.m.write("a", bytes(384))

    def path(self, name):
        return self.m.file(*VIEWS, name)

    def test_read_only(self):
        for suffix in (".nhdr", ".mhd", ".nii", ".tif", ".btf", ".png", ".zarr/.zarray", ".zarr/0.0.0"):
            for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
                self.assertErrno(errno.EACCES, os.open, self.path("a" + suffix), flags)

    def test_npy_keeps_its_head(self):
        path = self.path("a.npy")
        before = read(path)
        self.assertErrno(errno.EACCES, write_at, path, b"x", 0)
        self.assertErrno(errno.EACCES, write_at, path, b"xx", 4095)
        self.assertErrno(errno.EACCES, os.truncate, path, 0)
        self.assertErrno(errno.EACCES, os.open, path, os.O_WRONLY | os.O_TRUNC)
        self.assertErrno(errno.ENOSPC, write_at, path, b"x", len(before))
        self.assertEqual(write_at(path, b"xyz", len(before) - 2), 2)
        self.assertEqual(write_at(path, before[4000:4100], 4000), 100)
        self.assertEqual(read(path)[:4096], before[:4096])

    def test_nothing_is_made_or_removed(self):
        self.assertErrno(errno.EPERM, open, self.path("b.npy"), "wb")
        self.assertErrno(errno.EPERM, os.mkdir, self.path("b"))
        self.assertErrno(errno.EPERM, os.unlink, self.path("a.npy"))
        self.assertErrno(errno.EPERM, os.rename, self.path("a.npy"), self.path("b.npy"))
        self.assertErrno(errno.EPERM, os.unlink, self.path("a.zarr/.zarray"))

    def remove(self):
        os.unlink(self.m.file("a", "data"))
        os.unlink(self.m.file("a", ".meta"))
        os.rmdir(self.m.file("a"))

    def open_all(self):
        """Views of every kind, open, and nothing of them read."""
        files = {name: os.open(self.path(name), os.O_RDWR if name.endswith(".npy") else os.O_RDONLY)
                 for name in ("a.npy", "a[::2,1].npy", "a.T.tif", "a.btf", "a.nii", "a.png", "a.zarr/0.0.0")}
        for file in files.values():
            self.addCleanup(os.close, file)
        return files

    def check_stale(self, files):
        for name, file in files.items():
            with self.subTest(name=name):
                self.assertErrno(errno.ESTALE, os.pread, file, 10, 0 if name in ("a.png", "a.zarr/0.0.0") else 4096)

    def test_vanished(self):
        """Views that are open when their dataset goes, and names that the kernel still knows."""
        files = self.open_all()
        os.stat(self.path("a[0].tif"))
        self.remove()
        self.check_stale(files)
        self.assertErrno(errno.ESTALE, os.pwrite, files["a.npy"], b"x", 4096)
        for name in ("a.npy", "a[0].tif", "a.zarr/.zarray", "a.zarr/0.0.0"):
            self.assertErrno(errno.ENOENT, read, self.path(name))

    def check_replaced(self):
        """What is open stays a view of the old dataset; the name shows the new one, at once."""
        self.assertEqual(len(read(self.path("a[1].raw"))), 96)
        files = self.open_all()
        self.remove()
        self.array(self.m, "a", numpy.arange(9, dtype="<i8"), (4,))
        self.check_stale(files)
        self.assertEqual(numpy.load(self.path("a.npy")).tolist(), list(range(9)))
        self.assertEqual(read(self.path("a[1].raw")), b"\1" + bytes(7))
        for name in ("a[::2,1].npy", "a.btf", "a.zarr/0.0.0"):
            self.assertErrno(errno.ENOENT, read, self.path(name))
        wait_for(lambda: not os.path.exists(self.path("a.btf")), "end of a name", 10)

    def test_replaced(self):
        self.check_replaced()

    def test_replaced_for_the_sole_writer(self):
        self.m.umount()
        self.m = self.mount(cache="always")
        self.check_replaced()

    def test_replaced_by_another_mount(self):
        files = self.open_all()
        other = self.mount()
        for name in ("data", ".meta"):
            os.unlink(other.file("a", name))
        os.rmdir(other.file("a"))
        self.array(other, "a", numpy.arange(9, dtype="<i8"), (4,))
        self.assertEqual(numpy.load(self.path("a.npy")).tolist(), list(range(9)))
        self.assertErrno(errno.ESTALE, os.pwrite, files.pop("a.npy"), b"x", 4096) # whose pages are the new one's
        self.check_stale(files)

    def test_ro_mount(self):
        m = self.mount(ro=True)
        self.assertErrno(errno.EROFS, os.open, m.file(*VIEWS, "a.npy"), os.O_WRONLY)


if __name__ == "__main__":
    unittest.main()
