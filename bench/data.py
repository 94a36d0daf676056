# SPDX-License-Identifier: Apache-2.0
"""Arrays to measure with: pools in DosNa's layout, flat files, and reading them into memory and away."""
import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import numpy

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests/support"))
from dosna_pool import Pool  # noqa: E402

CHUNK = (64, 64, 64)
DTYPE = numpy.dtype("<u2")


def nbytes(shape):
    return int(numpy.prod(shape)) * DTYPE.itemsize


def slab(shape):
    """Memory of one row of chunks along axis 0."""
    return nbytes((CHUNK[0],) + tuple(-(-n // c) * c for n, c in zip(shape[1:], CHUNK[1:])))


def chunks(shape):
    return int(numpy.prod([-(-n // c) for n, c in zip(shape, CHUNK)]))


def noise(shape, seed=1):
    return numpy.random.default_rng(seed).integers(0, 65536, shape, DTYPE)


def make_pool(folder, shape, stored=True):
    """A pool whose dataset `a` has all its chunks, or none. One noisy chunk stands in for all of them."""
    pool = Pool(folder)
    pool.create("a", shape, DTYPE, CHUNK)
    if stored:
        first = pool.chunk_path("a", (0, 0, 0))
        pool.store_chunk("a", (0, 0, 0), noise(CHUNK))
        for index in itertools.product(*(range(-(-n // c)) for n, c in zip(shape, CHUNK))):
            if any(index):
                shutil.copyfile(first, pool.chunk_path("a", index))
    return pool


def make_flat(path, size):
    piece = noise(1 << 19).tobytes()
    with open(path, "wb") as file:
        for begin in range(0, size, len(piece)):
            file.write(piece[:size - begin])
    return path


def warm(path):
    """Bring a file, or all files of a folder, into the kernel's cache."""
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    for one in files:
        with open(one, "rb", buffering=0) as file:
            while file.read(1 << 22):
                pass


def dd(source, target, *flags):
    subprocess.run(["dd", f"if={source}", f"of={target}", "bs=1M", "status=none", *flags],
                   check=True)
