# SPDX-License-Identifier: Apache-2.0
"""Many datasets: listing asks the store for the list, not for each."""
import os
import subprocess
import unittest
from pathlib import Path

import mounted

COUNT = 200 if os.environ.get("DOSNA_TEST_SHORT") else 2000


class ManyTest(mounted.MountedCase):
    def setUp(self):
        super().setUp()
        self.stored.create("d0", (3, 4), "<i4", fill=5)
        content = Path(self.pool.path, "d0/dataset.h5").read_bytes()
        for i in range(1, COUNT):
            folder = Path(self.pool.path, f"d{i}")
            folder.mkdir()
            (folder / "dataset.h5").write_bytes(content)
        self.names = {f"d{i}" for i in range(COUNT)}

    def requests(self, mount):
        return mount.stat("dosnafs_metadata_requests_total"), mount.stat("dosnafs_lists_total")

    def test_mount_and_list(self):
        mount = self.mount()
        before = self.requests(mount)
        self.assertEqual(set(os.listdir(mount.path)), self.names)
        listed = subprocess.run(["find", mount.path, "-mindepth", "1", "-maxdepth", "1", "-type", "d"],
                                check=True, stdout=subprocess.PIPE, text=True).stdout.split()
        self.assertEqual({os.path.basename(path) for path in listed}, self.names)
        after = self.requests(mount)
        self.assertLess(after[0] - before[0], COUNT / 20)
        self.assertLess(after[1] - before[1], 20)

    def test_views(self):
        """Which views there are is in each dataset's description: read once each, many at a time."""
        mount = self.mount()
        before = self.requests(mount)
        listed = os.listdir(mount.file(".dosnafs", "views"))
        suffixes = (".btf", ".mhd", ".nhdr", ".nii", ".npy", ".png", ".tif", ".zarr")
        self.assertEqual(set(listed), {name + suffix for name in self.names for suffix in suffixes})
        self.assertEqual(len(listed), COUNT * len(suffixes))
        self.assertLess(self.requests(mount)[0] - before[0], COUNT * 1.1)

    def test_each_is_there(self):
        mount = self.mount()
        for name in self.names:
            self.assertEqual(os.stat(mount.file(name, "data")).st_size, 48)
        self.assertEqual(mount.read(f"d{COUNT - 1}"), b"\5\0\0\0" * 12)
        self.assertErrno(2, os.stat, mount.file(f"d{COUNT}"))

    def test_made_and_removed_here(self):
        mount = self.mount()
        for i in range(COUNT // 10):
            mount.create(f"new{i}", shape="2", dtype="|u1")
            os.remove(mount.file(f"d{i}", "data"))
            os.remove(mount.file(f"d{i}", ".meta"))
            os.rmdir(mount.file(f"d{i}"))
        expected = {f"new{i}" for i in range(COUNT // 10)} | {f"d{i}" for i in range(COUNT // 10, COUNT)}
        self.assertEqual(set(os.listdir(mount.path)), expected)
        self.assertEqual(set(os.listdir(self.pool.path)), expected)


if __name__ == "__main__":
    unittest.main()
