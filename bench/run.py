#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Measures dosnafs against libfuse's passthrough_ll, h5py and zarr, side by side and interleaved.

Medians of repetitions that alternate between the sides; a table at the end. Trust ratios and counts, not MB/s.
Builds the release preset first, unless --build names a folder that is built already.

The topics ceph and s3 start a Ceph cluster of their own, in memory (4 GB), and stop it. They need what the tests
need, root for a network with delays, and, for s3, the Debian packages rclone and s3fs.
"""
import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import cli
import costs
import latency
import listing
import memory
import object_stores
import random_reads
import sequential
import volume
from measure import Row, table
from mounts import PASSTHROUGH, Programs

TOP = Path(__file__).resolve().parent.parent

TOPICS = {
    "read": sequential.read_rows,
    "pages": sequential.page_rows,
    "random": random_reads.rows,
    "volume": volume.rows,
    "fetch": costs.fetch_rows,
    "puts": costs.put_rows,
    "write": sequential.write_rows,
    "latency": latency.rows,
    "memory": memory.rows,
    "listing": listing.rows,
    "cli": cli.rows,
    "ceph": object_stores.ceph_rows,
    "s3": object_stores.s3_rows,
}


def build():
    for command in (["cmake", "--preset", "release"],
                    ["cmake", "--build", "--preset", "release", "--target", "bench"]):
        subprocess.run(command, cwd=TOP, check=True, stdout=subprocess.DEVNULL)
    return TOP / "build/release"


def measure(programs, names, quick):
    rows = []
    for name in names:
        print(f"{name} ...", file=sys.stderr, flush=True)
        try:
            for row in TOPICS[name](programs, quick):
                rows.append(row)
                print("  " + "  ".join(row.cells()), file=sys.stderr, flush=True)
        except Exception as error:  # one topic that fails must not cost the others' results
            rows.append(Row(name, "failed", str(error), goal=0))
            print(f"  failed: {error}", file=sys.stderr, flush=True)
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, few repetitions")
    parser.add_argument("--only", metavar="NAME", action="append", choices=list(TOPICS),
                        help="one topic (may be repeated): " + ", ".join(TOPICS))
    parser.add_argument("--dir", help="where the data go (default: a temporary folder); about 10 GB")
    parser.add_argument("--build", help="a build folder to take the programs from")
    parser.add_argument("--markdown", metavar="FILE", help="write the table there, too")
    args = parser.parse_args()
    if not PASSTHROUGH.exists():
        parser.exit(1, f"run.py: {PASSTHROUGH} is not there: install libfuse3-dev with its documentation\n")

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # what was started is stopped
    built = Path(args.build or build()).resolve()
    folder = Path(tempfile.mkdtemp(prefix="dosnafs-bench-", dir=args.dir))
    try:
        rows = measure(Programs(built, folder), args.only or list(TOPICS), args.quick)
    finally:
        if any(os.path.ismount(path) for path in folder.iterdir()):
            print(f"run.py: something is still mounted below {folder}", file=sys.stderr)
        else:
            shutil.rmtree(folder)
    print(table(rows))
    if args.markdown:
        Path(args.markdown).write_text(table(rows, markdown=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
