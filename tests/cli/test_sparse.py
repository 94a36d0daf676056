# SPDX-License-Identifier: Apache-2.0
"""Datasets of the largest sizes, of which little is stored: no command takes time or memory that goes with the grid."""
import json
import unittest

import numpy

import cases

SIZES = {"two-tb": ((10000, 10000, 10000), "<u2", (64, 64, 64)),
         "many-chunks": ((100000, 1000, 64), "<f4", (1, 1, 64)),
         "nearly-all": (((1 << 63) - (1 << 20),), "|u1", (1 << 20,))}


def text(vector):
    return ",".join(map(str, vector))


class SparseTest(cases.Case):
    def make(self, base):
        """With its last element 5."""
        shape, dtype, chunk = SIZES[base]
        name = self.name(base)
        self.ok("create", name, "--shape", text(shape), "--dtype", dtype, "--chunk-size", text(chunk))
        self.ok("set", name, f"[{text(extent - 1 for extent in shape)}]", "5")
        return name

    def info(self, name):
        return json.loads(self.ok("--json", "info", name))

    def live(self, base):
        shape, dtype, chunk = SIZES[base]
        name = self.make(base)
        info = self.info(name)
        self.assertEqual(info["shape"], list(shape))
        self.assertEqual(info["chunk_grid"], [-(-extent // size) for extent, size in zip(shape, chunk)])
        self.assertEqual(info["stored"], 1)
        self.assertIn(name, self.ok("ls").decode().split())
        corner = ",".join(f"{max(extent - 5, 0)}:" for extent in shape)
        self.ok("get", name, f"[{corner}]", "corner.npy")
        corner = numpy.load(self.path("corner.npy"))
        self.assertEqual((corner.dtype.str, corner.shape), (dtype, tuple(5 for _ in shape)))
        self.assertEqual((corner.sum(), corner.flat[-1]), (5, 5))
        copy = self.name("copy")
        self.ok("clone", "--data", name, copy)
        self.assertEqual(self.info(copy)["stored"], 1)
        self.ok("clear", name)
        self.assertEqual(self.info(name)["stored"], 0)
        self.ok("rm", name, copy)
        self.assertNotIn(name, self.ok("ls").decode().split())

    def test_two_tb(self):
        self.live("two-tb")

    def test_many_chunks(self):
        self.live("many-chunks")

    def test_nearly_all(self):
        self.live("nearly-all")

    def test_a_picture_of_a_plane(self):
        """10^8 pixels are too many for a terminal."""
        name = self.make("two-tb")
        shown = self.ok("show", name, "--index", "9999").decode()
        self.assertEqual(len(shown.splitlines()), 40)
        self.ok("rm", name)


if __name__ == "__main__":
    unittest.main()
