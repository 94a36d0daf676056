# SPDX-License-Identifier: Apache-2.0
"""Interleaved repetitions, medians, and the table."""
import mmap
import statistics
import time
from dataclasses import dataclass
from typing import Optional


@dataclass
class Row:
    """One line of the table. `value` is what the goal is about; `ours` and `other` are what it came from."""
    what: str
    ours: str
    other: str
    value: Optional[float] = None
    goal: Optional[float] = None
    further: Optional[float] = None  # reach `goal`, then go on to this
    at_most: bool = False            # the goal is an upper bound

    def reached(self, goal):
        return self.value <= goal if self.at_most else self.value >= goal

    @property
    def verdict(self):
        if self.goal is None:
            return ""
        if self.value is None or not self.reached(self.goal):
            return "below"
        return "PASS+" if self.further is not None and self.reached(self.further) else "PASS"

    def cells(self):
        goal = ""
        if self.goal is not None:
            goal = ("≤ " if self.at_most else "≥ ") + f"{self.goal:g}"
            goal += f" ({self.further:g})" if self.further is not None else ""
        value = "" if self.value is None else f"{self.value:.3g}"
        return [self.what, self.ours, self.other, value, goal, self.verdict]


HEAD = ["what", "dosnafs", "against", "ratio or value", "reach (go on)", ""]


def table(rows, markdown=False):
    cells = [HEAD] + [row.cells() for row in rows]
    if markdown:
        cells.insert(1, ["---"] * len(HEAD))
        return "\n".join("| " + " | ".join(line) + " |" for line in cells)
    widths = [max(len(line[i]) for line in cells) for i in range(len(HEAD))]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip()
                     for line in cells)


MEMORY = 1 << 30


def touch_memory():
    """A virtual machine gives memory that was free for some seconds back to its host, and who touches it next pays up to a
    second a GiB for it. That is nobody's speed: it is touched before every measurement, of all sides alike. In huge
    pages, since who asks for those gets other memory than what was freed in small ones."""
    with mmap.mmap(-1, MEMORY, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_HUGEPAGE)
        for offset in range(0, MEMORY, mmap.PAGESIZE):
            memory[offset] = 1


def interleave(repeats, **sides):
    """Call each side once per repetition, the order turned round every time. {side: [result, ...]}"""
    results = {name: [] for name in sides}
    names = list(sides)
    for _ in range(repeats):
        for name in names:
            touch_memory()
            results[name].append(sides[name]())
        names.reverse()
    return results


def medians(repeats, **sides):
    return {name: statistics.median(values)
            for name, values in interleave(repeats, **sides).items()}


def seconds(fn, *args):
    begin = time.perf_counter()
    fn(*args)
    return time.perf_counter() - begin


def rate(nbytes, took):
    """Bytes and seconds as text."""
    return f"{nbytes / took / 1e6:.0f} MB/s"


def milliseconds(took):
    return f"{took * 1e3:.3g} ms"
