# SPDX-License-Identifier: Apache-2.0
"""The first command of README.md, in a copy of the sources that was never built."""
import hashlib
import os
import shutil
import subprocess
import tempfile
import unittest

import numpy

from dosna_pool import Pool

TOP = os.path.dirname(os.environ.get("EXAMPLES", ""))
TIMEOUT = 600


class Quickstart(unittest.TestCase):
    def setUp(self):
        self.home = tempfile.mkdtemp(prefix="dosnafs-quickstart-")
        self.addCleanup(shutil.rmtree, self.home)
        self.sources = os.path.join(self.home, "sources")
        shutil.copytree(TOP, self.sources, symlinks=True, ignore=shutil.ignore_patterns(".git", "build"))
        self.work = os.path.join(self.home, "work")
        os.mkdir(self.work)

    def quickstart(self, *arguments):
        done = subprocess.run(["sh", os.path.join(self.sources, "examples/quickstart.sh"), *arguments],
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=TIMEOUT,
                              env={**os.environ, "TMPDIR": self.work}, check=False)
        self.assertEqual(done.returncode, 0, done.stdout)
        self.assertEqual(os.listdir(self.work), [], "it cleans up")
        return done.stdout

    def test_twice(self):
        array = numpy.add.outer(numpy.arange(100) * 100, numpy.add.outer(numpy.arange(120), numpy.arange(140)))
        for _ in range(2):
            out = self.quickstart()
            self.assertIn(hashlib.sha256(array.astype("<u2").tobytes()).hexdigest(), out)
            self.assertIn("chunk_0_0_0.h5", out)

        pool = Pool(os.path.join(self.home, "pool"))
        pool.folder.mkdir()
        pool.create("mine", (7, 9), "<i4", (4, 4))
        pool.store("mine", numpy.arange(63, dtype="<i4").reshape(7, 9))
        out = self.quickstart(str(pool.folder))
        self.assertIn("[27 28 29 30 31 32 33 34 35]", out) # the middle row


if __name__ == "__main__":
    unittest.main()
