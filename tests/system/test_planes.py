# SPDX-License-Identifier: Apache-2.0
"""Planes along every axis through mmap, where rows are pushed into the kernel's pages ahead of the reader."""
import os
import threading
import unittest

import numpy

import mounted

SHAPE = (96, 64, 4096)  # a row of two pages, rows of a plane along axis 1 far apart
META = {"shape": ", ".join(map(str, SHAPE)), "dtype": "<u2", "chunk_size": "16, 16, 512"}


class PlanesTest(mounted.MountedCase):
    def setUp(self):
        super().setUp()
        self.array = numpy.random.default_rng(5).integers(0, 1 << 16, SHAPE, "<u2")
        self.data = self.mount()
        self.data.create("one", **META)
        self.data.write("one", self.array.tobytes())

    def drop_pages(self):
        file = os.open(self.data.file("one", "data"), os.O_RDONLY)
        os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(file)

    def map(self, mode="r"):
        return numpy.memmap(self.data.file("one", "data"), "<u2", mode, shape=SHAPE)

    def test_every_axis(self):
        for index in (0, 1, 30, 63):
            self.drop_pages()
            mapped = self.map()
            for axis in (1, 0, 2):
                self.assertTrue((mapped.take(index, axis) == self.array.take(index, axis)).all())
            self.assertTrue((mapped[::-1, index] == self.array[::-1, index]).all())
            del mapped
        self.drop_pages()
        self.assertTrue((self.map() == self.array).all())

    def test_written_rows_are_never_old(self):
        """A reader goes through planes while a writer changes them: what was written before is read."""
        for turn in range(1, 6):
            self.drop_pages()
            reader = threading.Thread(target=lambda: [int(self.map()[:, i].sum()) for i in range(0, 64, 7)])
            reader.start()
            with open(self.data.file("one", "data"), "r+b", buffering=0) as file:
                for z in range(0, SHAPE[0], 3):
                    row = numpy.full(SHAPE[2], turn, "<u2")
                    offset = (z * SHAPE[1] + 7) * SHAPE[2] * 2
                    os.pwrite(file.fileno(), row.tobytes(), offset)
                    self.array[z, 7] = turn
                    self.assertEqual(os.pread(file.fileno(), row.nbytes, offset), row.tobytes())
            reader.join()
            self.assertTrue((self.map()[:, 7] == self.array[:, 7]).all())
        self.assertTrue((self.map() == self.array).all())


if __name__ == "__main__":
    unittest.main()
