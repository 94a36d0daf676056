# SPDX-License-Identifier: Apache-2.0
"""The .deb packages in a Debian of their own: installed by apt, mounted by mount(8) and from fstab, purged.

The base system is made once by debootstrap and kept in $DOSNA_WORK, with the packages that apt fetched.
"""
import glob
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from packages import SOURCE, STAGE, WORK, deb, has_backend, run

# What the system itself changes: caches and dpkg's own notes.
NOT_OURS = re.compile(r"^/(proc|sys|dev|run|tmp)(/|$)|^/var/(cache|log)/|^/var/lib/(dpkg|apt|systemd)/|^/etc/ld\.so\.cache$")


INSTALLED = ["dosna", "dosnafs", "libdosna0"] + ["dosnafs-backend-s3"] * has_backend("s3")


def release():
    text = Path("/etc/os-release").read_text(encoding="utf-8")
    found = dict(re.findall(r'^(\w+)="?([^"\n]*)', text, flags=re.M))
    return found.get("VERSION_CODENAME") if found.get("ID") == "debian" else None


def mirror():
    """The first archive that apt on this machine takes packages from."""
    for path in [*glob.glob("/etc/apt/sources.list.d/debian*.sources"), "/etc/apt/sources.list",
                 *glob.glob("/etc/apt/sources.list.d/*.sources")]:
        try:
            text = Path(path).read_text(encoding="utf-8")
        except OSError:
            continue
        found = re.search(r"^(?:URIs:|deb)\s+(?:\[.*\]\s+)?(\S+)", text, flags=re.M)
        if found:
            return found[1]
    return None


def why_not():
    if os.geteuid() != 0:
        return "needs root"
    if not shutil.which("debootstrap"):
        return "debootstrap is not installed"
    if not os.path.exists("/dev/fuse"):
        return "no /dev/fuse"
    if subprocess.run(["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], check=False,
                      stderr=subprocess.DEVNULL).returncode:
        return "nothing can be mounted here"
    if not release() or not mirror():
        return "this machine is no Debian"
    if not STAGE.exists():
        return "no packages were built"
    return None


class System:
    """A Debian in a folder, with a mount namespace of its own that lives until close()."""

    def __init__(self, base):
        for left in WORK.glob("debian-*"): # by a test that was killed
            shutil.rmtree(left)
        self.root = Path(tempfile.mkdtemp(prefix="debian-", dir=WORK))
        run("cp", "-a", f"{base}/.", self.root)
        self.keeper = subprocess.Popen(
            ["unshare", "-m", "--propagation", "private", "sh", "-c", 'echo ready; read x'],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.keeper.stdout.readline()
        for name in ("dev", "proc", "sys"):
            self.inside("mount", "--rbind", f"/{name}", self.root / name)
        archives = WORK / "archives"
        archives.mkdir(exist_ok=True)
        self.inside("mount", "--bind", archives, self.root / "var/cache/apt/archives")

    def inside(self, *command, **kwargs):
        return run("nsenter", "-t", self.keeper.pid, "-m", *command, **kwargs)

    def run(self, script, *arguments):
        """A script in the system: sh -c, with $1, $2, ..."""
        return self.inside("chroot", self.root, "/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C",
                           "DEBIAN_FRONTEND=noninteractive", "sh", "-ec", script, "sh", *arguments)

    def files(self):
        """All names in it, but for the system's own bookkeeping."""
        names = run("find", self.root, "-xdev", "-printf", "/%P\n").splitlines()
        return {name for name in names if not NOT_OURS.search(name)}

    def close(self):
        self.keeper.communicate(b"\n")
        shutil.rmtree(self.root)


def base_system():
    """debootstrap, unless it was done before."""
    base = WORK / f"base-{release()}"
    if not base.exists():
        making = WORK / "base-unfinished"
        shutil.rmtree(making, ignore_errors=True)
        run("debootstrap", "--variant=minbase", release(), making, mirror())
        for path in glob.glob("/etc/apt/apt.conf.d/*"):
            if not os.path.basename(path).startswith(("docker-", "20packagekit", "50appstream")):
                shutil.copy(path, making / "etc/apt/apt.conf.d")
        (making / "etc/apt/apt.conf.d/99keep").write_text('Binary::apt::APT::Keep-Downloaded-Packages "true";\n',
                                                          encoding="utf-8")
        making.rename(base)
    return base


@unittest.skipIf(why_not(), why_not())
class Debian(unittest.TestCase):
    def setUp(self):
        try:
            base = base_system()
        except AssertionError as error:
            self.skipTest(f"debootstrap: {str(error).splitlines()[-1]}")
        self.system = System(base)
        self.addCleanup(self.system.close)
        (self.system.root / "packages").mkdir()
        for name in INSTALLED:
            shutil.copy(deb(name), self.system.root / "packages")
        shutil.copy("/etc/resolv.conf", self.system.root / "etc/resolv.conf")
        self.system.run("apt-get update -q || true") # without a network, what is kept will do
        shutil.copytree(SOURCE / "tests/data/pool", self.system.root / "srv/pool")

    def test_install_mount_purge(self):
        system = self.system
        planned = system.run("apt-get install -s --no-install-recommends /packages/*.deb")
        others = [name for name in re.findall(r"^Inst (\S+)", planned, flags=re.M) if "dosna" not in name]
        self.assertIn("fuse3", others)
        for name in others: # a workstation needs nothing of Ceph
            self.assertNotRegex(name, "rados|ceph")
        system.run('apt-get install -y -q --no-install-recommends "$@"', *others)
        before = system.files()

        system.run("apt-get install -y -q --no-install-recommends /packages/*.deb")
        owned = system.files() - before
        self.assertLessEqual({"/usr/bin/dosnafs", "/usr/bin/dosna", "/etc/dosnafs.conf"}, owned)
        self.assertEqual(system.run('dpkg --verify "$@"', *INSTALLED), "")
        wanted = (SOURCE / "tests/data/u2_3d_even.npy").read_bytes()[128:]

        with self.subTest("mount -t dosnafs"):
            self.assertEqual(self.read("mount -t dosnafs -o directory=/srv,ro pool /mnt"), wanted)
        with self.subTest("a line of fstab"):
            system.run("echo 'pool /mnt dosnafs directory=/srv,_netdev,noauto 0 0' >> /etc/fstab")
            self.assertEqual(self.read("mount /mnt"), wanted)
        with self.subTest("the settings' file"):
            settings = system.root / "etc/dosnafs.conf"
            text = settings.read_text(encoding="utf-8")
            self.assertEqual(text, (SOURCE / "dosnafs.conf.sample").read_text(encoding="utf-8"))
            settings.write_text(text.replace("#directory = .", "directory = /srv"), encoding="utf-8")
            self.assertEqual(self.read("dosnafs pool /mnt"), wanted)
        with self.subTest("a backend that is not installed"):
            with self.assertRaisesRegex(AssertionError, "install dosnafs-backend-ceph"):
                system.run("mount -t dosnafs -o backend=ceph pool /mnt")
        if has_backend("s3"):
            with self.assertRaisesRegex(AssertionError, "no credentials"):
                system.run("mount -t dosnafs -o backend=s3 pool /mnt")
        with self.subTest("dosna"):
            self.assertIn("u2_3d_even", system.run("dosna --connection pool ls"))

        system.run('apt-get purge -y -q "$@"', *INSTALLED)
        self.assertEqual(system.files() ^ before, set())
        self.assertNotIn("dosna", system.run("dpkg -l"))

    def read(self, mount):
        """Mount with this command, copy the data of a fixture, unmount."""
        self.system.run(mount + """
            mountpoint -q /mnt
            cp /mnt/u2_3d_even/data /tmp/data
            umount /mnt
            ! mountpoint -q /mnt""")
        return (self.system.root / "tmp/data").read_bytes()


if __name__ == "__main__":
    unittest.main()
