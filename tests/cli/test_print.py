# SPDX-License-Identifier: Apache-2.0
"""`dosna get` prints what numpy's print() does."""
import random

import numpy

import cases

FLOATS = [
    [0.1, 2.5, -3], [1e-5, 1], [1e8, 1], [1e7, 1.5], [1e-4, 1e-3], [123456789.123, 0.001], [numpy.nan, 1, -1],
    [numpy.inf, -numpy.inf, 0], [numpy.nan] * 2, [0.0, -0.0], [1 / 3, 2 / 3, 1e3], [1e300, 1e-300], [5e-324, 1],
    [0.12345678901, 12345.6789012345], [99999999.9, 1], [1e16, 1], [numpy.inf, 1e-10], [-1.5, numpy.nan, numpy.inf],
    [100, 200, 0.5], [1e22, 1e23], [0.000123456789123, 0.5], [9.999999995, 1],
]


class Print(cases.Case):
    def test_floats(self):
        for dtype in ("<f8", "<f2") if cases.SHORT else ("<f8", "<f4", ">f8", "<f2"):
            for values in FLOATS:
                with numpy.errstate(over="ignore"):
                    self.check_print(numpy.array(values, dtype))

    def test_complex(self):
        for dtype in ("<c16", ">c8"):
            for values in FLOATS[:6]:
                self.check_print(numpy.array(values, dtype) * (1 - 2j))
        self.check_print(numpy.array([1 + numpy.nan * 1j, 2 - 1j]))

    def test_others(self):
        self.check_print(numpy.array([[1, -200], [30, 4]], "<i2"))
        self.check_print(numpy.array([True, False]))
        self.check_print(numpy.array([[b"a", b"bcd"]]))
        self.check_print(numpy.array([2**64 - 1, 0], "<u8"))

    def test_scalars(self):
        for dtype in ("<f8", "<f4", "<i4", "|b1", "|u1"):
            array = cases.some_array((3, 4), dtype)
            self.check_print(array, (1, 2))

    def test_layouts(self):
        for shape in [(1,), (1001,), (1000,), (40,), (3, 50), (2, 3, 4), (30, 40), (11, 12, 13), (2, 2, 2, 2),
                      (1, 1001), (1001, 1), (7, 7, 30), (5, 5, 5, 5, 5)]:
            self.check_print(cases.some_array(shape, "<i4"))
            self.check_print(cases.some_array(shape, "<f4"))

    def test_slices(self):
        seed = random.randrange(2**32)
        generator = random.Random(seed)
        array = cases.some_array((13, 14, 15))
        self.load_array("b", array)
        for _ in range(25):
            parts = [generator.choice([":", "...", "3", "-2", "2:9", "::-1", "5:1:-2", "1::4"]) for _ in range(3)]
            text = ", ".join(part for i, part in enumerate(parts) if part != "..." or "..." not in parts[:i])
            selected = eval(f"array[{text}]", {"array": array}) # pylint: disable=eval-used
            self.assertEqual(self.ok("get", "b", f"[{text}]").decode(), str(selected) + "\n", (seed, text))
