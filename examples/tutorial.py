#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A first dataset through a mount: create, write, slice, check. What tutorial.c does with libdosna.

    dosnafs -o directory=/data pool /mnt
    tutorial.py /mnt
"""
import os
import shutil
import sys

import numpy

import memmap


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: tutorial.py MOUNTPOINT")
    folder = os.path.join(sys.argv[1], "tutorial")

    # A dataset is a directory and its description. What is never written reads as -1.
    os.mkdir(folder)
    with open(os.path.join(folder, ".meta"), "w", encoding="utf-8") as file:
        file.write("shape = 100, 100, 100\ndtype = <f4\nchunk_size = 32, 32, 32\nfillvalue = -1\n")

    # Its data are a file of 4,000,000 bytes, so an array.
    array = memmap.dataset(folder, "r+")
    z, y = numpy.arange(20, 80, dtype="f4"), numpy.arange(100, dtype="f4")
    array[20:80] = (z[:, None] + y / 100)[:, :, None]
    array.flush()  # now it is in the store

    # Any slice that numpy knows.
    print("[50, ::-10, 7]", array[50, ::-10, 7])
    print("[90, 0, 0]", array[90, 0, 0])
    print("mean of [20:80]", array[20:80].mean())

    # Another program sees the same.
    again = memmap.dataset(folder)
    assert numpy.allclose(again[50, ::-10, 7], 50 + numpy.arange(99, 0, -10) / 100)
    assert (again[80:] == -1).all() and (again[:20] == -1).all()
    assert numpy.array_equal(numpy.fromfile(os.path.join(folder, "data"), "<f4").reshape(array.shape), array)

    del array, again
    shutil.rmtree(folder)
    print("checked")


if __name__ == "__main__":
    main()
