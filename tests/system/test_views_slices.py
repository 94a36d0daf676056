# SPDX-License-Identifier: Apache-2.0
"""Slices and transpositions by name against numpy, and how many chunks reading them in order fetches."""
import os
import random
import unittest

import numpy

from views import VIEWS, ViewsCase, read

SEED = int(os.environ.get("DOSNA_SEED", random.randrange(1 << 32)))
TURNS = 60 if os.environ.get("DOSNA_TEST_SHORT") else 300


def random_range(rng, size):
    def number():
        return rng.choice(["", str(rng.randint(-size - 2, size + 2))])
    step = rng.choice(["", "", ":", ":2", ":-1", ":-3", ":%d" % rng.randint(1, size + 1)])
    return number() + ":" + number() + step


def random_index(rng, shape):
    items = []
    for size in shape[:rng.randint(0, len(shape))]:
        integer = size and rng.random() < 0.25
        items.append(str(rng.randrange(-size, size)) if integer else random_range(rng, size))
    if not items or (len(items) < len(shape) and rng.random() < 0.3):
        items.append("...")
    return "[" + ",".join(items) + "]"


def random_expression(rng, array):
    """Text, and what numpy makes of it."""
    text = ""
    for _ in range(rng.randint(1, 3)):
        order = list(range(array.ndim))
        rng.shuffle(order)
        more = rng.choice([random_index(rng, array.shape), random_index(rng, array.shape), ".T",
                           ".transpose(" + ",".join(map(str, order)) + ")"])
        text += more
        array = eval("array" + more, {"array": array})  # numpy itself says what it means
    return text, array


class SlicesTest(ViewsCase):
    def setUp(self):
        super().setUp()
        self.rng = random.Random(SEED)

    def test_random(self):
        m = self.mount(backend="ram", cache_size="4M")
        for ndim in range(1, 7):
            shape = [self.rng.randint(1, max(2, 4096 ** (1 / ndim) // 1)) for _ in range(ndim)]
            chunk = [self.rng.randint(1, n) for n in shape]
            dtype = self.rng.choice(["|u1", "<u2", ">f4", "<c16", "|V3"])
            size = int(numpy.prod(shape)) * numpy.dtype(dtype).itemsize
            array = numpy.frombuffer(self.rng.randbytes(size), dtype).reshape(shape)
            name = f"d{ndim}"
            self.array(m, name, array, chunk)
            for _ in range(TURNS // 6):
                text, want = random_expression(self.rng, array)
                with self.subTest(seed=SEED, shape=shape, chunk=chunk, dtype=dtype, expression=text):
                    # One element comes as a scalar, which has this machine's byte order.
                    want = numpy.array(want, array.dtype, order="C")
                    self.assertEqual(read(m.file(*VIEWS, name + text + ".raw")), want.tobytes())
                    loaded = numpy.load(m.file(*VIEWS, name + text + ".npy"))
                    self.assertEqual((loaded.shape, loaded.dtype), (want.shape, want.dtype))
                    self.assertEqual(loaded.tobytes(), want.tobytes())


class FetchTest(ViewsCase):
    """Reading a slice in order fetches each chunk that it touches once, and no other."""

    def setUp(self):
        super().setUp()
        self.whole = numpy.random.default_rng(1).integers(0, 1 << 16, (64, 96, 128), "<u2")
        m = self.mount()
        self.array(m, "a", self.whole, (16, 16, 16))
        m.umount()

    def read(self, expression, **options):
        """Read in order by a mount that knows nothing yet. Requests to the store, and their bytes."""
        m = self.mount(prefetch=0, **options)
        want = eval("array" + expression, {"array": self.whole})
        got = bytearray()
        with open(m.file(*VIEWS, f"a{expression}.raw"), "rb", buffering=0) as file:
            while block := file.read(8192):
                got += block
        self.assertEqual(bytes(got), numpy.ascontiguousarray(want).tobytes())
        counts = m.stat("dosnafs_chunk_gets_total"), m.stat("dosnafs_chunk_get_bytes_total")
        m.umount()
        return counts

    def test_each_chunk_once(self):
        for expression, chunks in (("[:]", 4 * 6 * 8), ("[:,16:32]", 4 * 8), ("[5:9,:,3]", 6),
                                   ("[::-1,20:40,::2]", 4 * 2 * 8), ("[::16,::16,::16]", 4 * 6 * 8),
                                   ("[::32,1::48]", 2 * 2 * 8), (".T", 4 * 6 * 8), (".T[17:31]", 4 * 6),
                                   (".transpose(1,2,0)", 4 * 6 * 8), (".transpose(2,0,1)[::-1,:,5]", 4 * 8),
                                   ("[3,4,5]", 1)):
            with self.subTest(expression=expression):
                self.assertEqual(self.read(expression)[0], chunks)

    def test_small_cache(self):
        """One that holds the chunks of one position of the first axis, 4 · 6 of 8 KiB, and little more. Chunks
        are fetched in pieces then, but no byte twice."""
        self.assertEqual(self.read(".T", cache_size="1M")[1], self.whole.nbytes)


if __name__ == "__main__":
    print(f"DOSNA_SEED={SEED}")
    unittest.main()
