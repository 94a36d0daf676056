# SPDX-License-Identifier: Apache-2.0
"""The programs: arguments, errors, the background, signals, mount(8)."""
import errno
import mmap
import os
import signal
import subprocess
import tempfile
import unittest

from mounted import BIN, HELPER, MountedCase, TIMEOUT, mounts, only, option_text, wait_for

META = {"shape": "8", "dtype": "|u1"}


def run(*args, **kwargs):
    return subprocess.run(args, timeout=TIMEOUT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True, check=False, **kwargs)


def can_overlay():
    """May this user lay a folder over /usr/sbin in a mount namespace of his own?"""
    with tempfile.TemporaryDirectory() as folder:
        return run("unshare", "-m", "mount", "-t", "overlay", "overlay", "-o", f"lowerdir={folder}:/usr/sbin",
                   "/usr/sbin").returncode == 0


class ProgramCase(MountedCase):
    def setUp(self):
        super().setUp()
        self.path = tempfile.mkdtemp(prefix="dosnafs-mnt-")
        self.addCleanup(self.clean)
        self.options = self.pool.options

    def clean(self):
        if self.path in mounts():
            run("fusermount3", "-u", "-z", self.path)
        os.rmdir(self.path)

    def daemon(self):
        """The process that serves self.path."""
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                    words = file.read().split("\0")
            except OSError:
                continue
            if os.path.basename(words[0]) in ("dosnafs", "mount.dosnafs") and self.path in words:
                return int(pid)
        return None

    def assertRefused(self, status, *args, says, env=None):
        """One line on standard error that has `says` in it; nothing is mounted."""
        for extra in ((), ("-f",)):
            done = run(BIN, *extra, *args, env={**os.environ, **(env or {})})
            self.assertEqual((done.returncode, done.stdout), (status, ""), done.stderr)
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)
            self.assertTrue(done.stderr.startswith("dosnafs: "), done.stderr)
            self.assertIn(says, done.stderr)
            self.assertNotIn(self.path, mounts())


@only("hdf5")
class Arguments(ProgramCase):
    def test_help_and_version(self):
        done = run(BIN, "-h")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        for key in ("cache_size", "directory", "dirty_expire", "umask"):
            self.assertIn(f"\n  {key} ", done.stdout)
        self.assertRegex(run(BIN, "-V").stdout, r"^dosnafs \d+\.\d+\.\d+")
        self.assertEqual(run(BIN, "--help").stdout, done.stdout)

    def test_usage(self):
        self.assertRefused(2, says="needed")
        self.assertRefused(2, "pool", says="needed")
        self.assertRefused(2, "pool", self.path, "more", says="more")
        self.assertRefused(2, "-x", "pool", self.path, says="-x")
        self.assertRefused(2, "pool", self.path, "-o", says="-o")

    def test_options(self):
        for option, says in (("colour=red", "colour"), ("colour", "colour"), ("njobs=0", "njobs"), ("njobs=x", "njobs"),
                             ("cache=often", "cache"), ("cache_size=1Q", "cache_size"), ("umask=9", "umask"),
                             ("backend=paper", "paper"), ("engine=mpi", "mpi"), ("ro=perhaps", "ro"),
                             ("endpoint_url=x", "endpoint_url"), ("njobs", "njobs"), ("views=a/b", "views"),
                             ("log_level=loud", "log_level")):
            with self.subTest(option=option):
                self.assertRefused(1, "-o", f"directory={self.pool.directory},{option}", "pool", self.path, says=says)

    def test_places(self):
        options = ("-o", f"directory={self.pool.directory}")
        self.assertRefused(1, *options, "nowhere", self.path, says="nowhere")
        self.assertRefused(1, *options, "pool", self.path + "-none", says=self.path + "-none")
        self.assertRefused(1, *options, "pool", __file__, says="ot a directory")

    def test_config_file(self):
        with tempfile.NamedTemporaryFile("w", suffix=".conf", encoding="utf-8") as file:
            file.write("[dosnafs]\nnjobs = 3\ncolour = red\n")
            file.flush()
            self.assertRefused(1, "-c", file.name, "pool", self.path, says=f"{file.name}:3")
            self.assertRefused(1, "pool", self.path, says=f"{file.name}:3", env={"DOSNAFS_CONF": file.name})
            file.seek(0)
            file.truncate()
            file.write(f"[dosnafs]\nnjobs = 3\n[hdf5]\ndirectory = {self.pool.directory}\n")
            file.flush()
            m = self.mount(args=["-c", file.name], njobs=4)
            self.assertIn("\nnjobs = 4\n", m.read(".dosnafs", "config").decode())
        self.assertRefused(1, "-c", "/none.conf", "pool", self.path, says="/none.conf")

    def test_escaped_commas(self):
        folder = os.path.join(self.pool.directory, "with, comma")
        os.makedirs(os.path.join(folder, "pool"))
        m = self.mount(directory=folder)
        m.create("one", **META)
        self.assertEqual(os.listdir(os.path.join(folder, "pool")), ["one"])

    def test_mount_options(self):
        m = self.mount(rw=True, nosuid=True, nodev=True, noexec=True, noatime=True, _netdev=True, noauto=True,
                       nofail=True, user=True, defaults=True, comment="a, b", **{"x-systemd.automount": True})
        kind, source, options = mounts()[m.path]
        self.assertEqual((kind, source), ("fuse.dosnafs", "hdf5:pool"))
        self.assertTrue({"rw", "nosuid", "nodev", "noexec", "noatime"} <= set(options.split(",")), options)
        m = self.mount(ro=True)
        self.assertIn("ro", mounts()[m.path][2].split(","))


class Background(ProgramCase):
    def start(self):
        return run(BIN, "-o", option_text(self.options), self.pool.name, self.path, env={**os.environ, **self.pool.env})

    def test_it_answers_when_the_program_ends(self):
        done = self.start()
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertEqual(os.listdir(self.path), [])
        pid = self.daemon()
        self.assertNotEqual(os.getsid(pid), os.getsid(0))
        os.mkdir(os.path.join(self.path, "one"))
        with open(os.path.join(self.path, "one", ".meta"), "w", encoding="utf-8") as file:
            file.write("shape = 8\ndtype = |u1\n")
        with open(os.path.join(self.path, "one", "data"), "wb") as file:
            file.write(b"12345678")
        self.assertEqual(run("umount", self.path).returncode, 0)
        self.assertEqual(self.mount().read("one"), b"12345678")
        wait_for(lambda: self.daemon() is None, "end of the daemon")

    @only("hdf5")
    def test_a_relative_folder(self):
        done = run(BIN, "-o", "directory=.", "pool", self.path, cwd=self.pool.directory)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        os.mkdir(os.path.join(self.path, "one"))
        with open(os.path.join(self.path, "one", ".meta"), "w", encoding="utf-8") as file:
            file.write("shape = 8\ndtype = |u1\n")
        self.assertEqual(os.listdir(self.pool.path), ["one"])

    def test_a_dead_mount_is_replaced(self):
        self.start()
        pid = self.daemon()
        os.kill(pid, signal.SIGKILL)

        def dead():
            try:
                os.stat(self.path)
            except OSError as error:
                return error.errno == errno.ENOTCONN
            return False
        wait_for(dead, "end of the daemon")
        done = self.start()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(os.listdir(self.path), [])


class Signals(MountedCase):
    def check(self, number, *path, start=0):
        m = self.mount()
        m.create("one", **META)
        fd = os.open(m.file(*path), os.O_RDWR)
        try:
            with mmap.mmap(fd, 8, offset=start) as pages:
                pages[4:8] = b"mmap"
                os.pwrite(fd, b"open", start)
                self.assertEqual(m.terminate(number), 0)
        finally:
            self.assertErrno(errno.ENOTCONN, os.close, fd)
        self.assertFalse(m.mounted())
        self.assertEqual(self.mount().read("one"), b"openmmap")

    def test_sigterm(self):
        self.check(signal.SIGTERM, "one", "data")

    def test_sigint(self):
        self.check(signal.SIGINT, "one", "data")

    def test_sigterm_while_a_view_is_written(self):
        self.check(signal.SIGTERM, ".dosnafs", "views", "one.npy", start=4096)

    def test_sighup_reads_the_log_level(self):
        with tempfile.NamedTemporaryFile("w", suffix=".conf", encoding="utf-8") as file:
            m = self.mount(args=["-c", file.name])
            m.create("one", **META)
            self.assertErrno(errno.EPERM, os.mkdir, m.file("one", "two"))
            self.assertEqual(m.log(), "")
            file.write("[dosnafs]\nlog_level = debug\n")
            file.flush()
            m.process.send_signal(signal.SIGHUP)

            def logged():
                self.assertErrno(errno.EPERM, os.mkdir, m.file("one", "two"))
                return "mkdir: no directory can be made here" in m.log()
            wait_for(logged, "debug line")

    @only("hdf5")
    @unittest.skipUnless(BIN and "\n[fault]\n" in run(BIN, "-h").stdout, "no fault backend")
    def test_an_interrupted_reader_ends(self):
        """Ctrl-C on a read that waits for a store that does not answer."""
        hang = os.path.join(self.pool.directory, "hang")
        m = self.mount(backend="fault", inner="ram", hang_file=hang, cache="never", request_timeout=100)
        m.create("one", **META)
        m.write("one", b"12345678")
        with open(hang, "w", encoding="utf-8"):
            pass
        reader = subprocess.Popen(["cat", m.file("one", "data")], stdout=subprocess.DEVNULL)
        try:
            def waits():
                with open(f"/proc/{reader.pid}/stack", encoding="utf-8") as file:
                    return "request_wait_answer" in file.read()
            wait_for(waits, "waiting reader")
            reader.send_signal(signal.SIGINT)
            self.assertEqual(reader.wait(TIMEOUT), -signal.SIGINT)
            self.assertTrue(os.path.exists(hang))
        finally:
            reader.kill()
            reader.wait()
            os.unlink(hang)
        self.assertEqual(m.read("one"), b"12345678")

    def test_the_log(self):
        m = self.mount()
        os.mkdir(m.file("one"))
        fd = os.open(m.file("one", ".meta"), os.O_WRONLY | os.O_CREAT)
        self.assertErrno(errno.EINVAL, os.write, fd, b"shape = \033[1m\n")
        os.close(fd)
        self.assertEqual(len(m.log().splitlines()), 1)
        self.assertIn("dosnafs: one/.meta: line 1", m.log())
        self.assertNotIn("\033", m.log())


@unittest.skipUnless(os.getuid() == 0 and BIN and can_overlay(), "needs root and overlay mounts")
@only("hdf5")
class Helper(ProgramCase):
    """mount(8), with the helper in /sbin of a mount namespace of its own."""

    def setUp(self):
        super().setUp()
        self.sbin = tempfile.TemporaryDirectory()
        self.addCleanup(self.sbin.cleanup)
        os.symlink(os.path.abspath(BIN), os.path.join(self.sbin.name, "mount.dosnafs"))
        os.symlink(os.path.abspath(BIN), os.path.join(self.sbin.name, "dosnafs"))

    def mount_and_look(self, *command):
        """Mount, show, unmount, all in the namespace; the mount's line of the table."""
        script = ('mount -t overlay overlay -o lowerdir="$1":/usr/sbin /usr/sbin && path=$2 && shift 2 && "$@" && '
                  'grep " $path " /proc/self/mounts && cat "$path/.dosnafs/config" && umount "$path"')
        done = run("unshare", "-m", "sh", "-c", script, "sh", self.sbin.name, self.path, *command)
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        line = done.stdout.splitlines()[0].split()
        self.assertEqual(line[:3], ["hdf5:pool", self.path, "fuse.dosnafs"])
        self.assertIn("\nnjobs = 3\n", done.stdout)
        wait_for(lambda: self.daemon() is None, "end of the daemon")
        return line

    def text(self):
        return option_text({**self.options, "njobs": 3})

    def test_mount_t(self):
        for kind in ("dosnafs", "fuse.dosnafs"):
            line = self.mount_and_look("mount", "-t", kind, "-o", self.text() + ",noatime", "pool", self.path)
            self.assertIn("noatime", line[3].split(","))

    def test_fstab(self):
        for kind in ("dosnafs", "fuse.dosnafs"):
            with tempfile.NamedTemporaryFile("w", encoding="utf-8") as file:
                file.write(f"pool {self.path} {kind} defaults,ro,noauto,_netdev,nofail,user,x-systemd.automount,"
                           f"{self.text()} 0 0\n")
                file.flush()
                line = self.mount_and_look("mount", "-T", file.name, self.path)
                self.assertIn("ro", line[3].split(","))

    def test_flags(self):
        done = run(HELPER, "pool", self.path, "-f", "-v", "-o", self.text())
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertNotIn(self.path, mounts())
        done = run(HELPER, "pool", self.path, "-o", self.text() + ",colour=red")
        self.assertEqual((done.returncode, len(done.stderr.splitlines())), (1, 1), done.stderr)
        done = run(HELPER, "pool", self.path, "-sn", "-o", self.text() + ",colour=red")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertIn(self.path, mounts())


if __name__ == "__main__":
    unittest.main()
