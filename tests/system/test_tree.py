# SPDX-License-Identifier: Apache-2.0
"""The tree as users and their programs see it: names, drafts, copies, truncation, permissions."""
import errno
import mmap
import os
import shutil
import subprocess
import tempfile
import unittest

from mounted import MountedCase, TIMEOUT, only

META = {"shape": "4, 6", "dtype": "<i4", "fillvalue": "7", "chunk_size": "2, 4"}
NBYTES = 4 * 6 * 4
FILL = (7).to_bytes(4, "little") * 24
BYTES = bytes(range(NBYTES))
META_TEXT = """\
shape = 4, 6
dtype = <i4
fillvalue = 7
chunk_size = 2, 4
chunk_grid = 2, 2
itemsize = 4
nbytes = 96
"""


def run(*args, **kwargs):
    return subprocess.run(args, timeout=TIMEOUT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, **kwargs)


class TreeCase(MountedCase):
    def setUp(self):
        super().setUp()
        self.m = self.mount()

    def make(self, name="one", data=None, **meta):
        self.m.create(name, **{**META, **meta})
        if data is not None:
            self.m.write(name, data)

    def assertRuns(self, *args, **kwargs):
        done = run(*args, **kwargs)
        self.assertEqual(done.returncode, 0, f"{args}: {done.stdout}")
        return done.stdout


class Tree(TreeCase):
    def test_what_is_there(self):
        self.assertEqual(os.listdir(self.m.path), [])
        self.make()
        self.assertEqual(os.listdir(self.m.path), ["one"])
        self.assertEqual(os.listdir(self.m.file("one")), [".meta", "data"])
        self.assertEqual(os.stat(self.m.file("one", "data")).st_size, NBYTES)
        self.assertEqual(os.stat(self.m.file("one", ".meta")).st_size, len(META_TEXT))
        self.assertEqual(self.m.read("one", ".meta").decode(), META_TEXT)
        self.assertEqual(self.m.read("one"), FILL)
        self.assertErrno(errno.ENOENT, os.stat, self.m.file("two"))
        self.assertErrno(errno.ENOENT, os.stat, self.m.file("one", "other"))

    def test_control_directory(self):
        control = self.m.file(".dosnafs")
        self.assertEqual(sorted(os.listdir(control)), ["config", "stats", "views"])
        self.assertEqual(os.listdir(os.path.join(control, "views")), [])
        self.assertIn("\ncache_size = ", self.m.read(".dosnafs", "config").decode())
        self.assertIn("dosnafs_chunk_gets_total 0\n", self.m.read(".dosnafs", "stats").decode())
        self.assertErrno(errno.EPERM, open, os.path.join(control, "stats"), "w")
        self.assertErrno(errno.EPERM, os.unlink, os.path.join(control, "stats"))
        self.assertErrno(errno.EPERM, os.mkdir, os.path.join(control, "new"))
        self.assertErrno(errno.EPERM, os.rmdir, control)
        self.assertErrno(errno.EPERM, os.rename, control, self.m.file("new"))
        self.assertErrno(errno.EEXIST, os.mkdir, control)

    def test_inodes_and_order(self):
        """cp copies in the order of inode numbers, and .meta has to come first."""
        self.make()
        with os.scandir(self.m.file("one")) as entries:
            numbers = {entry.name: entry.inode() for entry in entries}
        self.assertLess(numbers[".meta"], numbers["data"])
        for name, number in numbers.items():
            self.assertEqual(os.stat(self.m.file("one", name)).st_ino, number)
        with os.scandir(self.m.path) as entries:
            self.assertEqual([entry.inode() for entry in entries], [os.stat(self.m.file("one")).st_ino])

    def test_a_listing_pages_and_seeks(self):
        names = {f"dataset-{i:04}" for i in range(600)}
        for name in names:
            os.mkdir(self.m.file(name))
        self.assertEqual(set(os.listdir(self.m.path)), names)
        self.assertEqual(len(self.assertRuns("ls", "-l", self.m.path).splitlines()), 601)

    def test_listing_costs_no_request_for_each_dataset(self):
        for i in range(40):
            self.make(f"set-{i}")
        before = self.m.stat("dosnafs_metadata_requests_total")
        self.assertRuns("ls", "-l", self.m.path)
        self.assertLess(self.m.stat("dosnafs_metadata_requests_total") - before, 5)

    def test_statfs(self):
        self.assertGreater(os.statvfs(self.m.path).f_blocks, 0)
        self.assertEqual(os.statvfs(self.m.path).f_namemax, 255)

    def test_xattrs(self):
        self.make()
        want = {f"user.dosna.{key}": value for key, value in
                (line.split(" = ") for line in META_TEXT.splitlines())}
        for part in ((), ("data",)):
            path = self.m.file("one", *part)
            self.assertEqual({name: os.getxattr(path, name).decode() for name in os.listxattr(path)}, want)
            os.setxattr(path, "user.dosna.shape", b"4, 6")
            self.assertErrno(errno.EPERM, os.setxattr, path, "user.dosna.shape", b"4, 7")
            self.assertErrno(errno.EPERM, os.removexattr, path, "user.dosna.shape")
            self.assertErrno(errno.ENODATA, os.getxattr, path, "user.dosna.other")
            self.assertErrno(errno.ENOTSUP, os.setxattr, path, "user.mine", b"x")
        self.assertEqual(os.listxattr(self.m.file("one", ".meta")), [])

    def test_not_permitted(self):
        self.make()
        data, meta = self.m.file("one", "data"), self.m.file("one", ".meta")
        self.assertErrno(errno.EPERM, os.chmod, data, 0o600)
        self.assertErrno(errno.EPERM, os.chmod, self.m.file("one"), 0o700)
        self.assertErrno(errno.EPERM, os.chown, data, os.getuid() + 1, -1)
        self.assertErrno(errno.EPERM, os.link, data, self.m.file("one", "link"))
        self.assertErrno(errno.EPERM, os.symlink, "data", self.m.file("one", "link"))
        self.assertErrno(errno.EPERM, os.mknod, self.m.file("one", "node"), 0o600)
        self.assertErrno(errno.EPERM, os.mkdir, self.m.file("one", "folder"))
        self.assertErrno(errno.EPERM, open, self.m.file("one", "file"), "w")
        self.assertErrno(errno.EPERM, open, self.m.file("file"), "w")
        self.assertErrno(errno.EPERM, os.rename, data, self.m.file("one", "new"))
        self.assertErrno(errno.EPERM, os.rename, data, meta)

    def test_no_change_is_accepted(self):
        self.make()
        data = self.m.file("one", "data")
        stat = os.stat(data)
        os.chmod(data, stat.st_mode & 0o7777)
        os.chown(data, stat.st_uid, stat.st_gid)
        os.utime(data, (1, 1))
        self.assertRuns("touch", data, self.m.file("one"), self.m.file("one", ".meta"))

    @only("hdf5", "ceph")
    def test_odd_names(self):
        """What an entry cannot hold is %XX; a '%' before two hex digits is too, and nothing else."""
        entries = ["%2Edosnafs", "100%", "50%2520", "ü b", "-n"]
        ram = self.mount(backend="ram") # a store that holds any name
        for m, more in ((self.m, []), (ram, ["a%2Fb", "%2E", "%2E.", "%%2F"])):
            for entry in entries + more:
                m.create(entry, **META)
                self.assertEqual(m.read(entry), FILL)
            self.assertEqual(sorted(os.listdir(m.path)), sorted(entries + more))
        for entry in ("%41", "a%2fb", "%00", "%2Ea"):
            self.assertErrno(errno.ENOENT, os.stat, self.m.file(entry))
            self.assertErrno(errno.EINVAL, os.mkdir, self.m.file(entry))
        self.assertErrno(errno.ENAMETOOLONG, os.mkdir, self.m.file("x" * 256))
        again = self.mount()
        self.assertEqual(sorted(os.listdir(again.path)), sorted(os.listdir(self.m.path)))

    @only("hdf5")
    def test_damaged_metadata(self):
        self.make("good")
        self.make("bad")
        self.m.umount()
        for folder, _, files in os.walk(os.path.join(self.pool.path, "bad")):
            for file in files:
                with open(os.path.join(folder, file), "r+b") as out:
                    out.truncate(20)
        m = self.mount()
        self.assertEqual(sorted(os.listdir(m.path)), ["bad", "good"])
        self.assertEqual(sorted(os.listdir(m.file("bad"))), [".meta", "data"])
        for _ in range(3):
            self.assertErrno(errno.EIO, m.read, "bad")
            self.assertErrno(errno.EIO, m.read, "bad", ".meta")
        self.assertEqual(m.read("good"), FILL)
        self.assertEqual(len([line for line in m.log().splitlines() if "bad" in line]), 1, m.log())


class Drafts(TreeCase):
    def test_a_draft_is_local_until_meta_is_closed(self):
        other = self.mount()
        os.mkdir(self.m.file("one"))
        self.assertEqual(os.listdir(self.m.path), ["one"])
        self.assertEqual(os.listdir(other.path), [])
        self.assertEqual(os.listdir(self.m.file("one")), [])
        self.assertErrno(errno.EPERM, open, self.m.file("one", "data"), "w")
        with open(self.m.file("one", ".meta"), "w", encoding="utf-8") as file:
            file.write("shape = 4\ndtype = <f8\n")
            file.flush()
            self.assertEqual(os.listdir(self.m.file("one")), [".meta"])
            self.assertErrno(errno.ENOENT, os.stat, self.m.file("one", "data"))
        self.assertEqual(os.listdir(self.m.file("one")), [".meta", "data"])
        self.assertEqual(os.listdir(other.path), ["one"])
        self.assertEqual(os.stat(other.file("one", "data")).st_size, 32)
        self.assertErrno(errno.EEXIST, os.mkdir, self.m.file("one"))

    def test_keys_that_are_left_out(self):
        self.m.create("one", dtype="|u1", shape="3,5")
        text = self.m.read("one", ".meta").decode()
        self.assertIn("chunk_size = 3, 5\n", text)
        self.assertIn("fillvalue = 0\n", text)

    def test_comments(self):
        os.mkdir(self.m.file("one"))
        with open(self.m.file("one", ".meta"), "w", encoding="utf-8") as file:
            file.write("# a comment\n\n  shape=2 # two\ndtype = |S3\nfillvalue = b'a#c'\n")
        self.assertIn("fillvalue = b'a#c'\n", self.m.read("one", ".meta").decode())

    def write_meta(self, text, name="one"):
        """One write(2); the error comes out of it or of the close."""
        fd = os.open(self.m.file(name, ".meta"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        try:
            os.write(fd, text.encode())
        except OSError:
            os.close(fd)
            raise
        os.close(fd)

    def test_a_bad_line_fails_the_write(self):
        os.mkdir(self.m.file("one"))
        for text in ("shape = 0\n", "shape = -1\n", "shape = 1x\n", "shape = x", "shape =\n", "shape\n", "colour = 1\n",
                     "colour", "dtype = <q9\n", "shape = 2\nshape = 2\n", "dtype = <i4\nfillvalue = spam\n",
                     "shape = 4\ndtype = <i4\nchunk_size = 2, 2\n", "shape = 4\ndtype = <i4\nnbytes = 17\n",
                     "shape = 9223372036854775807\ndtype = <i4\n", "chunk_size = 0\n", "shape = 1\0\n"):
            with self.subTest(text=text):
                fd = os.open(self.m.file("one", ".meta"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
                try:
                    self.assertErrno(errno.EINVAL, os.write, fd, text.encode())
                    self.assertTrue(os.getxattr(self.m.file("one"), "user.dosna.error"))
                finally:
                    os.close(fd)
        self.assertIn("one/.meta: line 1: unknown key 'colour'", self.m.log())
        self.write_meta("shape = 4\ndtype = <i4\n")
        self.assertErrno(errno.ENODATA, os.getxattr, self.m.file("one"), "user.dosna.error")
        self.assertEqual(os.stat(self.m.file("one", "data")).st_size, 16)

    def test_an_unfinished_line_is_judged_at_close(self):
        os.mkdir(self.m.file("one"))
        fd = os.open(self.m.file("one", ".meta"), os.O_WRONLY | os.O_CREAT)
        for piece in (b"sha", b"pe = 1", b"0\ndt", b"ype = <f", b"8"):
            os.write(fd, piece)
        os.close(fd)
        self.assertEqual(os.stat(self.m.file("one", "data")).st_size, 80)
        os.mkdir(self.m.file("two"))
        fd = os.open(self.m.file("two", ".meta"), os.O_WRONLY | os.O_CREAT)
        os.write(fd, b"shape = 1\ndtype = <")
        self.assertErrno(errno.EINVAL, os.close, fd)
        self.assertErrno(errno.ENOENT, os.stat, self.m.file("two", "data"))

    def test_the_shell_sees_the_error(self):
        os.mkdir(self.m.file("one"))
        done = run("sh", "-c", 'printf "shape = 2\\ndtype = nonsense\\n" > "$1/.meta"', "sh", self.m.file("one"))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("printf", done.stdout)

    def test_children_of_the_shell_may_write_the_lines(self):
        """Each child's end closes its copy of the file: only the opener's own close counts."""
        os.mkdir(self.m.file("one"))
        self.assertRuns("sh", "-c", '{ env printf "shape = 8\\n"; env printf "dtype = |u1\\n"; '
                        'env printf "chunk_size = 2\\n"; } > "$1/.meta"', "sh", self.m.file("one"))
        self.assertIn("chunk_size = 2\n", self.m.read("one", ".meta").decode())

    def test_a_complete_meta_cannot_be_changed(self):
        self.make()
        for text in ("shape = 4, 7\n", "dtype = <f4\n", "chunk_size = 1, 1\n", "fillvalue = 8\n", "nbytes = 97\n"):
            with self.subTest(text=text):
                fd = os.open(self.m.file("one", ".meta"), os.O_WRONLY | os.O_TRUNC)
                try:
                    self.assertErrno(errno.EPERM, os.write, fd, text.encode())
                finally:
                    os.close(fd)
        self.assertEqual(self.m.read("one", ".meta").decode(), META_TEXT)

    def test_the_same_values_are_fine(self):
        self.make()
        self.write_meta(META_TEXT)
        self.write_meta("dtype = int32\nfillvalue = 7\nshape = 4,6")
        self.assertEqual(self.m.read("one", ".meta").decode(), META_TEXT)

    def test_removing_drafts(self):
        os.mkdir(self.m.file("one"))
        os.rmdir(self.m.file("one"))
        os.mkdir(self.m.file("one"))
        self.write_meta("shape = 4\n")
        self.assertRuns("rm", "-r", self.m.file("one"))
        os.mkdir(self.m.file("one"))
        self.assertEqual(os.listdir(self.m.file("one")), [])
        os.rename(self.m.file("one"), self.m.file("two"))
        self.assertEqual(os.listdir(self.m.path), ["two"])
        self.write_meta("shape = 4\ndtype = <f4\n", "two")
        self.assertEqual(self.stored.names(), ["two"])

    def test_a_draft_ends_with_the_mount(self):
        os.mkdir(self.m.file("one"))
        self.assertEqual(self.m.umount(), 0)
        self.assertEqual(os.listdir(self.mount().path), [])


class RemoveAndRename(TreeCase):
    def test_rm_r_leaves_nothing(self):
        self.make(data=BYTES)
        self.assertRuns("rm", "-r", self.m.file("one"))
        self.assertEqual(os.listdir(self.m.path), [])
        self.assertEqual(self.stored.names(), [])
        self.make()
        self.assertEqual(self.m.read("one"), FILL)

    def test_rmdir(self):
        self.make(data=BYTES)
        self.assertErrno(errno.ENOTEMPTY, os.rmdir, self.m.file("one"))
        self.assertEqual(self.m.read("one"), BYTES)
        self.make("two")
        os.rmdir(self.m.file("two"))
        self.assertEqual(self.stored.names(), ["one"])
        self.assertErrno(errno.ENOENT, os.rmdir, self.m.file("two"))

    def test_unlink_hides_until_created(self):
        self.make(data=BYTES)
        os.unlink(self.m.file("one", "data"))
        self.assertEqual(os.listdir(self.m.file("one")), [".meta"])
        self.assertErrno(errno.ENOENT, os.stat, self.m.file("one", "data"))
        self.assertErrno(errno.ENOENT, os.unlink, self.m.file("one", "data"))
        os.unlink(self.m.file("one", ".meta"))
        self.assertEqual(os.listdir(self.m.file("one")), [])
        with open(self.m.file("one", "data"), "xb") as file:
            file.write(BYTES[:8])
        self.assertEqual(self.m.read("one"), BYTES[:8] + FILL[8:])
        with open(self.m.file("one", ".meta"), "x", encoding="utf-8") as file:
            file.write(META_TEXT)
        self.assertEqual(os.listdir(self.m.file("one")), [".meta", "data"])

    @only("hdf5")
    def test_rename(self):
        self.make(data=BYTES)
        self.make("two")
        with open(self.m.file("one", "data"), "r+b") as file:
            os.rename(self.m.file("one"), self.m.file("three"))
            file.write(b"1234")
        self.assertEqual(sorted(os.listdir(self.m.path)), ["three", "two"])
        self.assertEqual(self.m.read("three"), b"1234" + BYTES[4:])
        self.assertErrno(errno.ENOTEMPTY, os.rename, self.m.file("three"), self.m.file("two"))
        self.assertErrno(errno.ENOENT, os.rename, self.m.file("one"), self.m.file("other"))
        self.assertNotEqual(run("mv", self.m.file("three"), self.m.file("two")).returncode, 0)
        os.mkdir(self.m.file("empty"))
        os.rename(self.m.file("three"), self.m.file("empty"))
        self.assertEqual(sorted(os.listdir(self.mount().path)), ["empty", "two"])


    @only("ceph", "s3")
    def test_a_store_that_cannot_rename(self):
        """mv copies, then."""
        self.make(data=BYTES)
        self.assertErrno(errno.EXDEV, os.rename, self.m.file("one"), self.m.file("two"))
        self.assertRuns("mv", self.m.file("one"), self.m.file("two"))
        self.assertEqual(self.m.read("two"), BYTES)
        self.assertEqual(self.stored.names(), ["two"])


class Copies(TreeCase):
    def setUp(self):
        super().setUp()
        self.make(data=BYTES)

    def assertCopied(self, name):
        self.assertEqual(self.m.read(name), BYTES)
        self.assertEqual(self.m.read(name, ".meta").decode(), META_TEXT)
        self.assertIn(name, os.listdir(self.mount().path))

    def test_cp(self):
        for i, options in enumerate((["-r"], ["-a"], ["-r", "--sparse=always"], ["-rp", "--reflink=auto"])):
            self.assertRuns("cp", *options, self.m.file("one"), self.m.file(f"copy-{i}"))
            self.assertCopied(f"copy-{i}")

    def test_cp_over_a_dataset(self):
        self.make("two", data=bytes(NBYTES))
        self.assertRuns("cp", "-rT", self.m.file("one"), self.m.file("two"))
        self.assertCopied("two")

    def test_cp_out_and_in(self):
        with tempfile.TemporaryDirectory() as folder:
            self.assertRuns("cp", "-r", self.m.file("one"), folder)
            meta, data = (os.path.join(folder, "one", part) for part in (".meta", "data"))
            with open(data, "rb") as file:
                self.assertEqual(file.read(), BYTES)
            # cp goes by inode numbers, and .meta has to be first.
            for i in range(100):
                if os.stat(meta).st_ino < os.stat(data).st_ino:
                    break
                os.rename(data, os.path.join(folder, str(i)))
                shutil.copy(os.path.join(folder, str(i)), data)
            self.assertRuns("cp", "-r", os.path.join(folder, "one"), self.m.file("two"))
        self.assertCopied("two")

    def test_shutil(self):
        shutil.copytree(self.m.file("one"), self.m.file("two"))
        self.assertCopied("two")

    def test_tar(self):
        with tempfile.TemporaryDirectory() as folder:
            archive = os.path.join(folder, "a.tar")
            self.assertRuns("tar", "-C", self.m.path, "-cf", archive, "one")
            self.assertRuns("rm", "-r", self.m.file("one"))
            self.assertRuns("tar", "-C", self.m.path, "-xf", archive)
            self.assertCopied("one")
            self.assertRuns("tar", "-C", self.m.path, "-xf", archive)
            self.assertCopied("one")

    @unittest.skipUnless(shutil.which("rsync"), "no rsync")
    def test_rsync(self):
        for options in (["-a"], ["-a", "-c"], ["-a", "-c", "--no-whole-file"], ["-a", "-c", "--inplace"]):
            self.assertRuns("rsync", *options, self.m.file("one") + "/", self.m.file("two") + "/")
            self.assertCopied("two")
            self.assertEqual(os.listdir(self.m.file("two")), [".meta", "data"])
            with open(self.m.file("two", "data"), "r+b") as file:
                file.write(b"changed")
        with tempfile.TemporaryDirectory() as folder:
            self.assertRuns("rsync", "-a", self.m.file("one"), folder)
            with open(os.path.join(folder, "one", "data"), "rb") as file:
                self.assertEqual(file.read(), BYTES)

    def test_aliases(self):
        """The names that rsync gives, and nothing that only looks like one."""
        alias = self.m.file("one", ".data.Ab12Cd")
        self.assertErrno(errno.ENOENT, os.stat, alias)
        with open(alias, "xb") as file:
            file.write(b"new!")
        os.chmod(alias, 0o600)
        self.assertEqual(os.listdir(self.m.file("one")), [".meta", "data"])
        os.rename(alias, self.m.file("one", "data"))
        self.assertErrno(errno.ENOENT, os.stat, alias)
        self.assertEqual(self.m.read("one"), b"new!" + BYTES[4:])
        # It is in place at once, also if it is given up.
        with open(alias, "xb", buffering=0) as file:
            file.write(b"old?")
            self.assertEqual(self.m.read("one"), b"old?" + BYTES[4:])
            os.pwrite(file.fileno(), b"!", 3)
        self.assertEqual(self.m.read("one"), b"old!" + BYTES[4:])
        os.unlink(alias)
        self.assertEqual(self.m.read("one"), b"old!" + BYTES[4:])
        for name in (".data.Ab12C", ".data.Ab12Cde", "data.Ab12Cd", ".datax.Ab12Cd", "..data.Ab12C"):
            self.assertErrno(errno.EPERM, open, self.m.file("one", name), "w")

    def test_holes_of_an_alias(self):
        """rsync -S seeks over zeros and sets the length at the end."""
        alias = self.m.file("one", ".data.Ab12Cd")
        with open(alias, "xb", buffering=0) as file:
            os.pwrite(file.fileno(), b"new!", 8)
            os.pwrite(file.fileno(), b"more", 20)
            os.ftruncate(file.fileno(), NBYTES)
        os.rename(alias, self.m.file("one", "data"))
        self.assertEqual(self.m.read("one"), (bytes(8) + b"new!" + bytes(8) + b"more").ljust(NBYTES, b"\0"))

    def test_du(self):
        self.assertEqual(int(self.assertRuns("du", "-s", "--apparent-size", "-B1", self.m.file("one", "data")).split()[0]),
                         NBYTES)

    def test_only_the_copier_misses_data(self):
        """A program that makes .meta without O_EXCL finds data at once."""
        self.m.create("two", **META)
        self.assertEqual(os.stat(self.m.file("two", "data")).st_size, NBYTES)


class Data(TreeCase):
    def setUp(self):
        super().setUp()
        self.make(data=BYTES)
        self.path = self.m.file("one", "data")

    def size(self):
        return os.stat(self.path).st_size

    def test_past_the_end(self):
        with open(self.path, "r+b", buffering=0) as file:
            self.assertEqual(os.pread(file.fileno(), 10, NBYTES), b"")
            self.assertEqual(os.pread(file.fileno(), 10, NBYTES - 4), BYTES[-4:])
            self.assertEqual(os.pwrite(file.fileno(), b"12345678", NBYTES - 4), 4)
            self.assertErrno(errno.ENOSPC, os.pwrite, file.fileno(), b"x", NBYTES)
            self.assertErrno(errno.ENOSPC, os.pwrite, file.fileno(), b"x", NBYTES + 100)
        self.assertEqual(self.m.read("one"), BYTES[:-4] + b"1234")
        with open(self.path, "ab", buffering=0) as file:
            self.assertErrno(errno.ENOSPC, file.write, b"x")

    def test_dd_past_the_end(self):
        done = run("dd", "if=/dev/zero", f"of={self.path}", "bs=64", "count=2")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("No space left", done.stdout)
        self.assertEqual(self.m.read("one"), bytes(NBYTES))

    def test_truncated_while_open(self):
        with open(self.path, "wb", buffering=0) as file:
            self.assertEqual((self.size(), os.fstat(file.fileno()).st_size), (0, 0))
            self.assertEqual(self.m.read("one"), b"")
            file.write(b"abcd")
            self.assertEqual(self.size(), 4)
            self.assertEqual(self.m.read("one"), b"abcd")
            file.seek(12)
            file.write(b"efgh")
            self.assertEqual(self.size(), 16)
            self.assertEqual(self.m.read("one"), b"abcd" + bytes(8) + b"efgh")
        self.assertEqual(self.size(), NBYTES)
        self.assertEqual(self.m.read("one"), b"abcd" + bytes(8) + b"efgh" + FILL[16:])

    def test_the_size_is_right_at_once_after_close(self):
        for _ in range(300):
            fd = os.open(self.path, os.O_WRONLY | os.O_TRUNC)
            os.write(fd, b"abcd")
            os.close(fd)
            self.assertEqual(self.size(), NBYTES)

    def test_extending_truncation(self):
        with open(self.path, "r+b", buffering=0) as file:
            file.truncate(8)
            self.assertEqual(self.size(), 8)
            file.truncate(20)
            self.assertEqual(self.size(), 20)
            self.assertEqual(self.m.read("one"), BYTES[:8] + bytes(12))
            self.assertErrno(errno.EFBIG, file.truncate, NBYTES + 1)
            file.truncate(NBYTES)
            self.assertEqual(self.m.read("one"), BYTES[:8] + bytes(NBYTES - 8))
        self.assertEqual(self.m.read("one"), BYTES[:8] + bytes(NBYTES - 8))

    def test_truncation_by_path(self):
        self.m.read("one")
        os.truncate(self.path, 6)
        self.assertEqual(self.size(), NBYTES)
        self.assertEqual(self.m.read("one"), BYTES[:6] + FILL[6:])
        self.assertEqual(self.mount().read("one"), BYTES[:6] + FILL[6:])
        os.truncate(self.path, NBYTES)
        self.assertEqual(self.m.read("one"), BYTES[:6] + FILL[6:])
        self.assertErrno(errno.EFBIG, os.truncate, self.path, NBYTES + 1)

    def test_append_after_truncation(self):
        self.assertRuns("sh", "-c", ': > "$1"; printf ab > "$1"; printf cd | dd of="$1" bs=2 seek=1 conv=notrunc 2>&1',
                        "sh", self.path)
        self.assertEqual(self.m.read("one"), b"abcd" + FILL[4:])
        fd = os.open(self.path, os.O_WRONLY | os.O_TRUNC | os.O_APPEND)
        os.write(fd, b"12")
        os.write(fd, b"34")
        os.close(fd)
        self.assertEqual(self.m.read("one"), b"1234" + FILL[4:])

    def test_a_second_opener_keeps_the_length(self):
        with open(self.path, "rb", buffering=0) as reader:
            with open(self.path, "wb", buffering=0) as file:
                file.write(b"abcd")
            self.assertEqual(os.fstat(reader.fileno()).st_size, 4)
            self.assertEqual(reader.read(), b"abcd")
        self.assertEqual(self.size(), NBYTES)

    def test_stored_after_close(self):
        other = self.mount()
        self.assertEqual(other.read("one"), BYTES)
        self.m.write("one", BYTES[::-1])
        self.assertEqual(other.read("one"), BYTES[::-1])

    def test_fsync(self):
        with open(self.path, "r+b", buffering=0) as file:
            file.write(b"sync")
            os.fsync(file.fileno())
            self.assertEqual(self.mount().read("one"), b"sync" + BYTES[4:])

    def test_mmap(self):
        with open(self.path, "r+b") as file, mmap.mmap(file.fileno(), 0) as pages:
            self.assertEqual(pages[:], BYTES)
            pages[8:12] = b"mmap"
            pages.flush()
        self.assertEqual(self.mount().read("one"), BYTES[:8] + b"mmap" + BYTES[12:])

    def test_direct(self):
        fd = os.open(self.path, os.O_RDONLY | os.O_DIRECT)
        try:
            self.assertEqual(os.read(fd, 4096), BYTES)
        finally:
            os.close(fd)

    def test_cache_modes(self):
        for cache in ("never", "always", "auto"):
            m = self.mount(cache=cache)
            self.assertEqual(m.read("one"), BYTES)
            with open(m.file("one", "data"), "r+b") as file:
                file.write(BYTES)
            self.assertEqual(m.read("one"), BYTES)
            self.assertEqual(m.umount(), 0)


class Options(MountedCase):
    META = META

    def test_read_only(self):
        self.mount().create("one", **META)
        m = self.mount(ro=True)
        self.assertEqual(m.read("one"), FILL)
        self.assertErrno(errno.EROFS, open, m.file("one", "data"), "r+b")
        self.assertErrno(errno.EROFS, os.mkdir, m.file("two"))
        self.assertErrno(errno.EROFS, os.rmdir, m.file("one"))

    def test_owner_and_mode(self):
        m = self.mount(uid=12, gid=34, umask="027")
        m.create("one", **META)
        stat = os.stat(m.file("one", "data"))
        self.assertEqual((stat.st_uid, stat.st_gid, stat.st_mode & 0o777), (12, 34, 0o640))
        self.assertEqual(os.stat(m.file("one")).st_mode & 0o777, 0o750)

    def test_views_name(self):
        m = self.mount(views="views")
        self.assertEqual(os.listdir(m.path), ["views"])
        self.assertEqual(os.listdir(m.file("views")), [])
        self.assertErrno(errno.EEXIST, os.mkdir, m.file("views"))
        m.create("%76iews", **META)
        self.assertEqual(sorted(os.listdir(m.path)), ["%76iews", "views"])
        self.assertEqual(os.listdir(self.mount().path), ["views"])


if __name__ == "__main__":
    unittest.main()
