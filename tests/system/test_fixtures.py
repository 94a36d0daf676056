# SPDX-License-Identifier: Apache-2.0
"""Datasets that Python DosNa wrote, with its quirks: read right, left alone, and written so that h5py reads them."""
import errno
import json
import os
import random
import shutil
import subprocess
import unittest
from pathlib import Path

import h5py
import numpy

import mounted

DATA = Path(__file__).resolve().parent.parent / "data"
SEED = int(os.environ.get("DOSNA_TEST_SEED") or random.SystemRandom().randrange(1 << 32))


class FixtureCase(mounted.MountedCase):
    def setUp(self):
        super().setUp()
        shutil.copytree(DATA / "pool", self.pool.path, dirs_exist_ok=True)
        manifest = json.loads((DATA / "manifest.json").read_text(encoding="utf-8"))
        self.datasets = {entry["name"]: numpy.load(DATA / entry["npy"]) for entry in manifest["datasets"]}

    @staticmethod
    def entry(name):
        """The directory entry of a dataset: `/` is percent-encoded."""
        return name.replace("/", "%2F")

    def each(self, mount):
        for name, array in self.datasets.items():
            with self.subTest(dataset=name):
                yield name, mount.file(self.entry(name), "data"), array


class ReadTest(FixtureCase):
    def setUp(self):
        super().setUp()
        before = self.stored.state()
        self.addCleanup(lambda: self.assertEqual(self.stored.state(), before, "reading changed the store"))

    def test_listing(self):
        mount = self.mount()
        self.assertEqual(sorted(os.listdir(mount.path)), sorted(map(self.entry, self.datasets)))
        for name, path, array in self.each(mount):
            self.assertEqual(sorted(os.listdir(os.path.dirname(path))), [".meta", "data"])
            self.assertEqual(os.stat(path).st_size, array.nbytes)

    def test_meta(self):
        mount = self.mount()
        for name, _, array in self.each(mount):
            text = mount.read(self.entry(name), ".meta").decode()
            meta = dict(line.split(" = ", 1) for line in text.splitlines() if not line.startswith("#"))
            shape, dtype, chunk_size, _ = self.stored.describe(name)
            self.assertEqual(meta["shape"], ", ".join(map(str, shape)))
            self.assertEqual(meta["dtype"], dtype.str)
            self.assertEqual(meta["chunk_size"], ", ".join(map(str, chunk_size)))
            self.assertEqual(meta["nbytes"], str(array.nbytes))
            self.assertEqual(os.getxattr(mount.file(self.entry(name)), "user.dosna.shape").decode(),
                             meta["shape"])

    def test_memmap(self):
        for cache in ("auto", "always"):
            mount = self.mount(cache=cache)
            for _, path, array in self.each(mount):
                self.assertTrue(array.flags.c_contiguous)
                mapped = numpy.memmap(path, array.dtype, "r", shape=array.shape)
                self.assertEqual(mapped.tobytes(), array.tobytes())
            del mapped  # a mapped file keeps the mount busy
            mount.umount()

    def test_dd_in_odd_blocks(self):
        mount = self.mount(cache_size="1M", cache="never")
        for _, path, array in self.each(mount):
            for block in (777, 4096, 65537):
                got = subprocess.run(["dd", f"if={path}", f"bs={block}", "status=none"], check=True,
                                     stdout=subprocess.PIPE).stdout
                self.assertEqual(got, array.tobytes(), f"bs={block}")

    def test_random_reads(self):
        rng = random.Random(SEED)
        for cache in ("auto", "never"):
            mount = self.mount(cache=cache)
            for _, path, array in self.each(mount):
                content = array.tobytes()
                with open(path, "rb", buffering=0) as file:
                    for _ in range(50):
                        offset, count = rng.randrange(len(content) + 9), rng.choice([1, 7, 999, 40000])
                        self.assertEqual(os.pread(file.fileno(), count, offset),
                                         content[offset:offset + count], f"DOSNA_TEST_SEED={SEED}")
            mount.umount()


class WriteTest(FixtureCase):
    def test_written_through_the_mount(self):
        rng = random.Random(SEED)
        mount, expected = self.mount(), {}
        for name, path, array in self.each(mount):
            content = bytearray(array.tobytes())
            with open(path, "r+b", buffering=0) as file:
                for _ in range(20):
                    # Whole items, since not every pattern of bytes is a bool to h5py.
                    first, count = rng.randrange(array.size), rng.choice([1, 3, 400])
                    data = array.reshape(-1)[:count][::-1].tobytes()
                    offset = first * array.itemsize
                    data = data[:len(content) - offset]
                    self.assertEqual(os.pwrite(file.fileno(), data, offset), len(data))
                    content[offset:offset + len(data)] = data
            expected[name] = bytes(content)
            self.assertEqual(self.stored.load(name).tobytes(), expected[name],
                             f"stored at close, DOSNA_TEST_SEED={SEED}")
        mount.umount()
        mount = self.mount()
        for name, path, _ in self.each(mount):
            self.assertEqual(Path(path).read_bytes(), expected[name], f"DOSNA_TEST_SEED={SEED}")

    def test_created_here_is_as_dosna_makes_it(self):
        """A dataset copied through the mount has h5py types equal to the original's."""
        mount = self.mount()
        for name in ("u1_3d", "i4be_3d_fill", "c8_2d", "bool_3d_fill", "f8_1d_nan"):
            with self.subTest(dataset=name):
                shutil.copytree(mount.file(name), mount.file(name + "_copy"))
                self.assertEqual(self.stored.load(name + "_copy").tobytes(), self.datasets[name].tobytes())
                folder, copy = Path(self.pool.path, name), Path(self.pool.path, name + "_copy")
                with h5py.File(folder / "dataset.h5") as a, h5py.File(copy / "dataset.h5") as b:
                    self.assertEqual(list(a.attrs), list(b.attrs))
                    for key in a.attrs:
                        one, two = a.attrs.get_id(key), b.attrs.get_id(key)
                        self.assertEqual((one.get_type(), one.shape), (two.get_type(), two.shape), key)
                        numpy.testing.assert_array_equal(a.attrs[key], b.attrs[key])
                chunk = next(copy.glob("chunk_*.h5")).name
                with h5py.File(next(folder.glob("chunk_*.h5"))) as a, h5py.File(copy / chunk) as b:
                    self.assertEqual(a["data"].id.get_type(), b["data"].id.get_type())
                    self.assertEqual(a["data"].shape, b["data"].shape)
                    self.assertIsNone(b["data"].chunks)

    def test_remove_takes_strays_too(self):
        mount = self.mount()
        for name in ("u1_stray", "f4_touched"):
            shutil.rmtree(mount.file(name))
            self.assertFalse(os.path.exists(os.path.join(self.pool.path, name)))
            self.assertNotIn(name, os.listdir(mount.path))


class DamageTest(FixtureCase):
    """Damaged data give an error for what is damaged, and for nothing else."""

    def check_others(self, mount, damaged):
        for name, path, array in self.each(mount):
            if name != damaged:
                self.assertEqual(Path(path).read_bytes(), array.tobytes())
        self.assertIsNone(mount.status, mount.log())

    def test_metadata(self):
        folder = Path(self.pool.path)
        (folder / "no_attributes").mkdir()
        h5py.File(folder / "no_attributes/dataset.h5", "w").close()
        (folder / "empty_file").mkdir()
        (folder / "empty_file/dataset.h5").touch()
        (folder / "no_dataset").mkdir()
        self.stored.create("cut", (10, 10), "<u2", (4, 4))
        os.truncate(folder / "cut/dataset.h5", 1000)
        for name, key, value in (("huge", "shape", numpy.array([1 << 40, 1 << 40])),
                                 ("zero", "chunk_size", numpy.array([0, 4])),
                                 ("negative", "shape", numpy.array([-1, 10])),
                                 ("ranks", "chunk_size", numpy.array([4, 4, 4])),
                                 ("type", "dtype", "<q99")):
            self.stored.create(name, (10, 10), "<u2", (4, 4))
            with h5py.File(folder / name / "dataset.h5", "a") as file:
                file.attrs[key] = value
        mount = self.mount()
        os.listdir(mount.path)
        for name in ("no_attributes", "empty_file", "cut", "huge", "zero", "negative", "ranks", "type"):
            with self.subTest(dataset=name):
                self.assertErrno(errno.EIO, mount.read, name)
        self.assertErrno(errno.ENOENT, mount.read, "no_dataset")
        self.check_others(mount, None)

    def test_chunk(self):
        array = self.datasets["u2_3d_even"]
        chunk = self.stored.chunk_path("u2_3d_even", (1, 0, 1))
        for what, damage in (("empty", lambda: os.truncate(chunk, 0)),
                             ("cut", lambda: os.truncate(chunk, chunk.stat().st_size // 2)),
                             ("no HDF5", lambda: chunk.write_bytes(b"x" * 5000)),
                             ("a folder", lambda: (chunk.unlink(), chunk.mkdir()))):
            with self.subTest(damage=what):
                damage()
                mount = self.mount()
                path = mount.file("u2_3d_even", "data")
                self.assertErrno(errno.EIO, Path(path).read_bytes)
                with open(path, "rb", buffering=0) as file:  # the first chunks are as good as ever
                    self.assertEqual(os.pread(file.fileno(), 1000, 0), array.tobytes()[:1000])
                self.check_others(mount, "u2_3d_even")
                mount.umount()

    def test_larger_chunk(self):
        """A `data` larger than a chunk is read as far as the chunk goes."""
        array = self.datasets["u2_3d_even"]
        chunk = self.stored.chunk_path("u2_3d_even", (0, 0, 0))
        chunk.unlink()
        with h5py.File(chunk, "w") as file:
            file["data"] = numpy.pad(array[:32, :32, :32], ((0, 3), (0, 2), (0, 1)))
        self.check_others(self.mount(), None)


if __name__ == "__main__":
    unittest.main()
