# SPDX-License-Identifier: Apache-2.0
"""`dosna` on hdf5: load, save and read against cp of the same bytes and DosNa's own figures, map against plain pipes.

`load` and `map` make durable what they store. So each stands against a copy that is not, and one that is.
"""
import os
import shutil
import subprocess

from data import make_flat, warm
from measure import Row, medians, rate, seconds

EXTENT, CHUNK = 512, 64
PYTHON_LOAD, PYTHON_READ = 187e6, 277e6  # bytes/s of DosNa in Python with its serial engine


class Side:
    """A connection, a flat file of the same bytes as its dataset `a`, and timed ways from one to the other."""

    def __init__(self, programs, extent):
        self.programs = programs
        self.size = extent ** 3 * 8
        self.extents = ",".join([str(extent)] * 3)
        self.folder = programs.scratch("cli")
        (self.folder / "pool").mkdir()
        self.flat = make_flat(self.folder / "flat", self.size)
        self.target = self.folder / "target"

    def dosna(self, *arguments, **options):
        subprocess.run([self.programs.dosna, "-q", "--connection", "pool", "--connection-options",
                        f"directory={self.folder}", *arguments], check=True, **options)

    def _timed(self, fn, *arguments):
        """Nothing is left to be written, by whoever came before."""
        os.sync()
        return seconds(fn, *arguments)

    def load(self):
        if (self.folder / "pool/a").exists():
            self.dosna("rm", "-f", "a")
        return self._timed(self.dosna, "load", "a", str(self.flat), "--raw", "--shape", self.extents, "--dtype", "<f8",
                           "--chunk-size", ",".join([str(CHUNK)] * 3))

    def save(self):
        self.target.unlink(missing_ok=True)
        return self._timed(self.dosna, "save", "a", str(self.target), "--raw")

    def read(self):
        return seconds(lambda: self.dosna("save", "a", "-", "--raw", stdout=subprocess.DEVNULL))

    def map(self):
        if (self.folder / "pool/b").exists():
            self.dosna("rm", "-f", "b")
        return self._timed(self.dosna, "--njobs", "8", "map", "a", "b", "--", "cat")

    def shell(self, command):
        """`command` makes $target from $flat."""
        self.target.unlink(missing_ok=True)
        return self._timed(lambda: subprocess.run(
            ["sh", "-c", command], check=True, env={**os.environ, "flat": self.flat, "target": self.target}))


def rows(programs, quick):
    side = Side(programs, EXTENT // 2 if quick else EXTENT)
    repeats = 3 if quick else 5
    warm(side.flat)
    try:
        yield from _compare(side, repeats)
    finally:
        shutil.rmtree(side.folder)


def _compare(side, repeats):
    took = medians(repeats, ours=side.load,
                   cp=lambda: side.shell('cp "$flat" "$target"'),
                   durable=lambda: side.shell('cp "$flat" "$target" && sync -f "$target"'))
    yield _row(side, "dosna load", took["ours"], "cp", took["cp"])
    yield _row(side, "the same, both durable", took["ours"], "cp and sync", took["durable"])
    yield _figure(side, "dosna load", took["ours"], PYTHON_LOAD)

    took = medians(repeats, ours=side.save, cp=lambda: side.shell('cp "$flat" "$target"'), read=side.read)
    yield _row(side, "dosna save", took["ours"], "cp", took["cp"])
    yield _figure(side, "dosna save to /dev/null", took["read"], PYTHON_READ)

    took = medians(repeats, ours=side.map,
                   pipes=lambda: side.shell('cat "$flat" | cat | cat >"$target" && sync -f "$target"'))
    yield _row(side, "dosna map with cat, 8 at once, both durable", took["ours"], "cat | cat | cat and sync", took["pipes"])


def _row(side, what, ours, against, other):
    return Row(what, rate(side.size, ours), f"{against} {rate(side.size, other)}", other / ours, 0.7)


def _figure(side, what, ours, python):
    return Row(what, rate(side.size, ours), f"DosNa in Python {python / 1e6:.0f} MB/s", side.size / ours / python, 4)
