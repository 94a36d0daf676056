# SPDX-License-Identifier: Apache-2.0
"""The examples that use a mount: Python, the shell, ImageJ."""
import os
import re
import shutil
import subprocess
import tempfile

import numpy

from mounted import TIMEOUT, MountedCase

EXAMPLES = os.environ.get("EXAMPLES", "")
IJ_JAR = "/usr/share/java/ij.jar"


class Mounted(MountedCase):
    def setUp(self):
        super().setUp()
        self.mountpoint = self.mount()
        self.home = tempfile.mkdtemp(prefix="dosnafs-home-")
        self.addCleanup(shutil.rmtree, self.home)

    def run_example(self, *command):
        environment = {**os.environ, "HOME": self.home, "TMPDIR": self.home}
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment,
                              timeout=TIMEOUT, check=False)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        return done.stdout

    def example(self, program, name, *arguments):
        return self.run_example(program, os.path.join(EXAMPLES, name), *arguments)

    def make(self, name, dtype, shape=(21, 30, 40)):
        array = numpy.random.default_rng(5).integers(0, 200, shape).astype(dtype)
        self.mountpoint.create(name, shape=", ".join(map(str, shape)), dtype=dtype,
                               chunk_size=", ".join("8" for _ in shape))
        self.mountpoint.write(name, array.tobytes())
        return array

    def test_tutorial(self):
        out = self.example("/usr/bin/python3", "tutorial.py", self.mountpoint.path)
        self.assertIn("[50, ::-10, 7] [50.99 50.89", out)
        self.assertIn("checked", out)
        self.assertEqual(os.listdir(self.mountpoint.path), [])

    def test_memmap(self):
        array = self.make("one", "<i4")
        lines = self.example("/usr/bin/python3", "memmap.py", self.mountpoint.file("one")).splitlines()
        self.assertEqual(lines[0], "(21, 30, 40) int32")
        for first, line in zip(range(0, 21, 8), lines[1:], strict=True):
            slab = array[first:first + 8]
            self.assertEqual(line, f"[{first}:{first + len(slab)}] min {slab.min()} max {slab.max()} "
                             f"mean {slab.mean():.6g}")

    def test_legacy(self):
        array = self.make("one", "<u2")
        lines = self.example("sh", "legacy.sh", self.mountpoint.file("one")).splitlines()
        self.assertIn("0000000 " + " ".join(f"{byte:02x}" for byte in array[10, 0, :1].tobytes()), lines)
        self.assertIn("21", lines) # parts
        changed = (array[0].view("u1") != array[10].view("u1")).sum()
        self.assertEqual(lines[-1], str(changed))
        self.assertEqual(os.listdir(self.mountpoint.path), ["one"])
        self.assertEqual(self.mountpoint.read("one"), array.tobytes())
        self.assertEqual([name for name in os.listdir(self.home) if name.startswith("tmp.")], [])

    def test_imagej(self):
        if not os.path.exists(IJ_JAR) or not shutil.which("java") or not shutil.which("xvfb-run"):
            self.skipTest("imagej, java or xvfb-run is not installed")
        for dtype, shape in [("|u1", (21, 30, 40)), (">u2", (21, 30, 40)), ("<f4", (3, 7, 30, 40)), ("<u2", (30, 40))]:
            with self.subTest(dtype=dtype, shape=shape):
                name = f"a b-{numpy.dtype(dtype).name}-{len(shape)}"
                planes = self.make(name, dtype, shape).reshape(-1, 30, 40)
                out = self.run_example("xvfb-run", "-a", "java", "-Duser.home=" + self.home, "-cp", IJ_JAR, "ij.ImageJ",
                                       "-batch", os.path.join(EXAMPLES, "imagej.ijm"),
                                       "print:" + self.mountpoint.file(name))
                lines = [line for line in out.splitlines() if line.startswith(("size", "plane"))]
                self.assertEqual(lines[0], f"size 40 30 {len(planes)}")
                self.assertEqual(len(lines), 4, out)
                for line in lines[1:]:
                    index, mean, least, most = map(float, re.findall(r"[\d.]+", line))
                    plane = planes[int(index)].astype("f8")
                    self.assertEqual((least, most), (plane.min(), plane.max()))
                    self.assertAlmostEqual(mean, plane.mean(), places=4)
