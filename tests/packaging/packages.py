#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""The packages: where they are, and as a program, what builds them.

    $DOSNA_SOURCE   the source tree
    $DOSNA_WORK     a folder that lasts from run to run: `build` with the packages, `stage` with what
                    `cmake --install` installs, and what is worth keeping
"""
import os
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(os.environ["DOSNA_SOURCE"])
WORK = Path(os.environ["DOSNA_WORK"])
CMAKE = os.environ.get("DOSNA_CMAKE", "cmake")
BUILD = WORK / "build"
STAGE = WORK / "stage"

PACKAGES = ["dosna", "dosnafs", "libdosna0", "libdosna-dev"]


def run(*command, **kwargs):
    """Run it and give what it printed; what it had to say in an AssertionError if it failed."""
    done = subprocess.run([str(word) for word in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, timeout=kwargs.pop("timeout", 600), **kwargs)
    if done.returncode:
        raise AssertionError(f"{command}: exit status {done.returncode}\n{done.stdout}")
    return done.stdout


def deb(name):
    """The package of this name, which was built."""
    found = sorted(BUILD.glob(f"{name}_*.deb"))
    assert len(found) == 1, f"{name}: {found}"
    return found[0]


def has_backend(name):
    return bool(list(BUILD.glob(f"dosnafs-backend-{name}_*.deb")))


def main():
    for tool in ("dpkg-deb", "dpkg-shlibdeps", "rpmbuild"):
        if not shutil.which(tool):
            print(f"{tool} is not installed")
            return 77
    for old in list(BUILD.glob("*.deb")) + list(BUILD.glob("*.rpm")):
        old.unlink()
    shutil.rmtree(STAGE, ignore_errors=True)
    run(CMAKE, "--preset", "package", "-B", BUILD, cwd=SOURCE)
    run(CMAKE, "--build", BUILD, "-j", "2")
    run("cpack", "--config", BUILD / "CPackConfig.cmake", cwd=BUILD)
    run(CMAKE, "--install", BUILD, env={**os.environ, "DESTDIR": str(STAGE)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
