#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A dataset of a mounted connection as a numpy array; nothing is copied but what is looked at.

    memmap.py MOUNTPOINT/NAME              its least, greatest and mean value, slab by slab of chunks

    import memmap
    a = memmap.dataset("/mnt/volume")      # "r": to read; "r+": to change; "c": changes stay in memory
"""
import os
import sys

import numpy


def describe(folder):
    """The lines of .meta: {key: text}."""
    with open(os.path.join(folder, ".meta"), encoding="utf-8") as file:
        lines = [line.split("#")[0].partition("=") for line in file]
    return {key.strip(): value.strip() for key, equal, value in lines if equal}


def extents(text):
    return tuple(int(extent) for extent in text.split(","))


def dataset(folder, mode="r"):
    meta = describe(folder)
    return numpy.memmap(os.path.join(folder, "data"), meta["dtype"], mode, shape=extents(meta["shape"]))


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: memmap.py MOUNTPOINT/NAME")
    array = dataset(sys.argv[1])
    print(array.shape, array.dtype)
    step = extents(describe(sys.argv[1])["chunk_size"])[0]  # whole chunks: each is fetched once
    for first in range(0, len(array), step):
        slab = array[first:first + step]
        print(f"[{first}:{first + len(slab)}] min {slab.min()} max {slab.max()} mean {slab.mean():.6g}")


if __name__ == "__main__":
    main()
