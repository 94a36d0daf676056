# SPDX-License-Identifier: Apache-2.0
"""Mounts to measure: dosnafs, and libfuse's passthrough_ll built from Debian's copy of its source."""
import os
import shutil
import subprocess
import time
from pathlib import Path

PASSTHROUGH = Path("/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c")


class Mount:
    """A FUSE program in the foreground; the context ends with its unmount. What a `quiet` one says is lost."""

    def __init__(self, argv, mountpoint, quiet=False, env=None):
        self.path = Path(mountpoint)
        self.path.mkdir(exist_ok=True)
        output = subprocess.DEVNULL if quiet else None
        self.process = subprocess.Popen([*map(str, argv), str(self.path)], stdout=output, stderr=output,
                                        env={**os.environ, **(env or {})})
        deadline = time.monotonic() + 60
        while not os.path.ismount(self.path):
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                raise RuntimeError(f"{argv[0]} did not mount")
            time.sleep(0.002)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        subprocess.run(["fusermount3", "-u", str(self.path)], check=False)
        try:
            self.process.wait(300)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def data(self, name):
        return self.path / name / "data"

    def stats(self):
        """{counter: value}"""
        text = (self.path / ".dosnafs" / "stats").read_text()
        lines = [line.split() for line in text.splitlines() if line and line[0] != "#"]
        return {name: float(value) for name, value in lines}

    def peak_memory(self):
        """Bytes of resident memory, at their highest."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no VmHWM")


class Programs:
    """What is measured, and what with: `build` holds what the target `bench` makes."""

    def __init__(self, build, folder):
        self.build = Path(build)
        self.dosnafs = Path(build) / "src/fs/dosnafs"
        self.dosna = Path(build) / "src/cli/dosna"
        self.randread = Path(build) / "bench/randread"
        for program in (self.dosnafs, self.dosna, self.randread):
            if not program.exists():
                raise SystemExit(f"run.py: {program} is not built")
        self.folder = Path(folder)
        self.passthrough = self._build_passthrough()
        self.count = 0

    def _build_passthrough(self):
        target = self.folder / "passthrough_ll"
        flags = subprocess.run(["pkg-config", "--cflags", "--libs", "fuse3"], check=True,
                               capture_output=True, text=True).stdout.split()
        subprocess.run(["cc", "-O2", "-w", f"-I{PASSTHROUGH.parent}", str(PASSTHROUGH), *flags,
                        "-o", str(target)], check=True)
        return target

    def mountpoint(self):
        self.count += 1
        return self.folder / f"mnt{self.count}"

    def command(self, pool, **options):
        """dosnafs's command line but for the mountpoint. An option of None is left out."""
        options = {"directory": pool.directory, **options}
        text = ",".join(f"{key}={value}" for key, value in options.items() if value is not None)
        return [str(self.dosnafs), "-o", text, pool.name]

    def mount(self, pool, env=None, prefix=(), **options):
        """`prefix` is a command that runs another one."""
        argv = self.command(pool, **options)
        return Mount([*prefix, argv[0], "-f", *argv[1:]], self.mountpoint(), env=env)

    def mount_passthrough(self, source, cache):
        # libfuse 3.14 warns about its own default.
        return Mount([self.passthrough, "-f", "-o", f"source={source},cache={cache}"],
                     self.mountpoint(), quiet=True)

    def scratch(self, name):
        """An empty folder."""
        path = self.folder / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
        return path
