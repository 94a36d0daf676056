#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Runs one module of tests, as ctest wants it: exit status 77 when every test was skipped."""
import sys
import unittest



def main(module):
    suite = unittest.defaultTestLoader.loadTestsFromName(module)
    result = unittest.TextTestRunner(verbosity=2, descriptions=False).run(suite)
    if not result.wasSuccessful() or result.testsRun == 0:
        return 1
    if len(result.skipped) == result.testsRun:
        print("; ".join(sorted({why for _, why in result.skipped})), file=sys.stderr)
        return 77
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
