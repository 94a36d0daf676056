# SPDX-License-Identifier: Apache-2.0
"""The ceph backend, mounted, with python3-rados beside it as DosNa: $DOSNA_TEST_CEPH is the test cluster's folder."""
import errno
import os
import subprocess
import threading
import unittest
import uuid
from types import SimpleNamespace

import numpy

from mounted import BIN, MountedCase, option_text

try:
    import rados
except ImportError:
    rados = None

FOLDER = os.environ.get("DOSNA_TEST_CEPH", "")
CONFFILE = os.path.join(FOLDER, "ceph.conf")
SIGNATURE = b"DosNa Dataset"


@unittest.skipUnless(rados, "python3-rados is not installed")
@unittest.skipUnless(FOLDER and os.path.exists(CONFFILE), f"no test cluster at DOSNA_TEST_CEPH={FOLDER}")
class CephCase(MountedCase):
    """Each test has a pool of its own, and `self.io`, the pool without dosnafs."""

    @classmethod
    def setUpClass(cls):
        cls.cluster = rados.Rados(conffile=CONFFILE)
        cls.cluster.connect(timeout=30)

    @classmethod
    def tearDownClass(cls):
        cls.cluster.shutdown()

    def setUp(self):
        super().setUp()
        name = f"test-{uuid.uuid4().hex[:12]}"
        self.cluster.create_pool(name)
        self.addCleanup(self.cluster.delete_pool, name)
        self.io = self.cluster.open_ioctx(name)
        self.addCleanup(self.io.close)
        self.ceph = SimpleNamespace(name=name, options={}, env={})

    def mount(self, **options):
        return super().mount(**{"pool": self.ceph, "backend": "ceph", "conffile": CONFFILE, **options})

    def plant(self, name, shape, dtype, chunk_size, fill):
        """A dataset as DosNa makes it; the vectors and `fill` are texts."""
        self.io.write(name, SIGNATURE)
        shapes, chunks = ([int(n) for n in text.split("::")] for text in (shape, chunk_size))
        grid = "::".join(str(-(-extent // chunk)) for extent, chunk in zip(shapes, chunks))
        for key, text in (("shape", shape), ("dtype", dtype), ("fillvalue", fill), ("chunk_grid", grid),
                          ("chunk_size", chunk_size)):
            self.io.set_xattr(name, key, text.encode())

    def objects(self):
        """{name: (bytes, extended attributes)} of everything that DosNa sees."""
        return {found.key: (self.io.read(found.key, 1 << 20), dict(found.get_xattrs()))
                for found in self.io.list_objects()}


class TestWhatDosnaWrote(CephCase):
    FILLS = [
        ("<i4", "0", 0), ("<i4", "-3", -3), ("<u8", "18446744073709551615L", 2**64 - 1), ("<i8", "5L", 5),
        ("<f4", "0.0", 0.0), ("<f8", "3.5", 3.5), ("<f8", "1e-05", 1e-05), ("<f8", "1e+16", 1e16),
        ("<f8", "nan", numpy.nan), (">f8", "inf", numpy.inf), ("<f4", "-inf", -numpy.inf),
        ("|b1", "True", True), ("|u1", "False", 0), ("<f4", "None", numpy.nan), ("<i2", "1.7", 1),
        ("|u1", "300", 44), ("<c8", "(1+2j)", 1 + 2j), ("<c16", "0j", 0), ("<c16", "1j", 1j),
        ("|S5", "'ab'", b"ab"), ("|S5", "b'ab'", b"ab"), ("<f4", "np.float32(0.5)", 0.5),
        ("<i8", "np.int64(5)", 5), ("|b1", "np.True_", True), ("<c8", "np.complex64(1+2j)", 1 + 2j),
    ]

    def test_every_form_of_a_fill_value(self):
        for i, (dtype, text, _) in enumerate(self.FILLS):
            self.plant(f"set-{i}", "3::2", dtype, "2::2", text)
        mount = self.mount()
        for i, (dtype, text, value) in enumerate(self.FILLS):
            with self.subTest(dtype=dtype, fill=text):
                self.assertEqual(mount.read(f"set-{i}"), numpy.full((3, 2), value, dtype).tobytes())

    def test_bad_metadata(self):
        """Each is an error of its own dataset, and one line in the log."""
        good = {"shape": "4::4", "dtype": "<i4", "fillvalue": "0", "chunk_size": "2::2"}
        bad = [("shape", None), ("shape", ""), ("shape", "4"), ("shape", "4:4"), ("shape", "4::0"),
               ("shape", "4::-4"), ("shape", "9" * 3000), ("shape", "4611686018427387904::4"), ("dtype", "<q9"),
               ("dtype", None), ("fillvalue", "None"), ("fillvalue", "{}"), ("fillvalue", None),
               ("chunk_size", "2::x"), ("chunk_size", "0::2"), ("chunk_size", "2::2\0"), ("chunk_size", None)]
        for i, (key, text) in enumerate(bad):
            self.io.write_full(f"bad-{i}", SIGNATURE)
            for other, value in {**good, key: text}.items():
                if value is not None:
                    self.io.set_xattr(f"bad-{i}", other, value.encode())
        self.plant("good", "4", "<i4", "2", "7")
        mount = self.mount()
        for i, (key, text) in enumerate(bad):
            with self.subTest(**{key: text}):
                self.assertErrno(errno.EIO, mount.read, f"bad-{i}")
        self.assertEqual(mount.read("good"), numpy.full(4, 7, "<i4").tobytes())

    def test_blanks_and_signs(self):
        """DosNa reads vectors by int(), which takes both."""
        self.plant("one", "4::4", "float32", "2::2", "0")
        self.io.set_xattr("one", "shape", b" +4 :: 4 ")
        self.assertEqual(self.mount().read("one"), bytes(64))

    def test_chunks_of_wrong_size(self):
        """A longer one is cut, a shorter one is an error until it is written whole."""
        whole = numpy.arange(4, dtype="<i4").tobytes()
        for name, data in (("longer", whole + b"more than a chunk"), ("shorter", whole[:8])):
            self.plant(name, "2::4", "<i4", "2::2", "7")
            self.io.write_full(f"{name}/0.1", data)
        mount = self.mount()
        self.assertEqual(mount.read("longer"), numpy.array([[7, 7, 0, 1], [7, 7, 2, 3]], "<i4").tobytes())
        self.assertErrno(errno.EIO, mount.read, "shorter")
        self.assertIn("shorter chunk 0.1: the object has 8 of 16 bytes", mount.log())
        mount.write("shorter", bytes(range(32)))
        self.assertEqual(mount.read("shorter"), bytes(range(32)))
        self.assertEqual(self.io.stat("shorter/0.1")[0], 16)
        self.assertEqual(self.io.stat("longer/0.1")[0], 33)  # nobody wrote there

    def test_neighbours(self):
        """What is no dataset is none, and what is outside the grid goes with its dataset, but nothing else does."""
        self.plant("one", "4::4", "<i4", "2::2", "7")
        strays = ["one/-1.0", "one/2.0", "one/9.9", "one/3"]
        foreign = ["readme", "one.txt", "one/notes", "one/0.0.bak", "one/00.1", "one /0.0", "One/0.0", "two/0.0"]
        for name in ["one/0.0", "one/1.1", *strays, *foreign]:
            self.io.write_full(name, b"0123456789abcdef")
        self.io.write_full("longer", SIGNATURE + b"!")
        self.plant("one/5", "4", "<i4", "2", "0")  # DosNa takes such a name
        mount = self.mount()
        before = self.objects()
        self.assertEqual(mount.read("one")[:8], b"01234567")
        self.assertEqual(mount.read("one")[-8:], b"89abcdef")
        for name in ("readme", "longer", "two"):
            self.assertErrno(errno.ENOENT, os.stat, mount.file(name))
            self.assertNotIn(name, os.listdir(mount.path))
        self.assertEqual(self.objects(), before)  # reading wrote nothing
        self.assertErrno(errno.ENOTEMPTY, os.rmdir, mount.file("one"))
        for name in ("data", ".meta"):
            os.unlink(mount.file("one", name))
        os.rmdir(mount.file("one"))
        gone = {"one", "one/0.0", "one/1.1", *strays}
        self.assertEqual(self.objects(), {name: what for name, what in before.items() if name not in gone})

    def test_opens_by_name_and_is_listed_then(self):
        self.plant("theirs", "4", "<i4", "2", "0")
        mount = self.mount()
        self.assertEqual(os.listdir(mount.path), [])
        self.assertEqual(mount.read("theirs"), bytes(16))
        self.assertEqual(os.listdir(mount.path), ["theirs"])
        self.assertEqual(os.listdir(self.mount().path), ["theirs"])


class TestWhatWeWrite(CephCase):
    def test_byte_for_byte(self):
        mount = self.mount()
        mount.create("one", shape="5, 3", dtype=">i2", chunk_size="2, 2", fillvalue="-7")
        array = numpy.arange(15, dtype=">i2").reshape(5, 3)
        mount.write("one", array.tobytes())
        mount.umount()
        padded = numpy.full((6, 4), -7, ">i2")
        padded[:5, :3] = array
        expected = {"one": (SIGNATURE, {"shape": b"5::3", "dtype": b">i2", "fillvalue": b"-7",
                                        "chunk_grid": b"3::2", "chunk_size": b"2::2"})}
        for i, j in numpy.ndindex(3, 2):
            chunk = padded[2 * i:2 * i + 2, 2 * j:2 * j + 2]
            expected[f"one/{i}.{j}"] = (chunk.tobytes(), {})
        self.assertEqual(self.objects(), expected)

    def test_one_axis(self):
        mount = self.mount()
        mount.create("one", shape="10", dtype="<f4", chunk_size="4")
        mount.write("one", numpy.arange(10, dtype="<f4").tobytes())
        mount.umount()
        found = self.objects()
        self.assertEqual(sorted(found), ["one", "one/0", "one/1", "one/2"])
        self.assertEqual(found["one"][1], {"shape": b"10", "dtype": b"<f4", "fillvalue": b"0",
                                           "chunk_grid": b"3", "chunk_size": b"4"})

    def test_fill_values(self):
        """A plain integer wherever it is one: DosNa applies int() to the text. Else Python's repr."""
        mount = self.mount()
        for i, (dtype, given, text) in enumerate([
                ("<f4", "0.0", "0"), ("<f8", "2.0", "2"), ("<f8", "2.5", "2.5"), ("<f8", "nan", "nan"),
                ("|b1", "False", "0"), ("<c8", "0j", "0"), ("<c16", "1+2j", "(1+2j)"), ("|S3", "b'ab'", "b'ab'")]):
            mount.create(f"set-{i}", shape="2", dtype=dtype, fillvalue=given)
            self.assertEqual(self.io.get_xattr(f"set-{i}", "fillvalue"), text.encode())

    def test_a_part_of_a_chunk(self):
        mount = self.mount()
        mount.create("one", shape="1000", dtype="|u1", chunk_size="1000", fillvalue="9")
        for offset, text in ((500, b"abc"), (998, b"yz"), (0, b"A")):
            with open(mount.file("one", "data"), "r+b") as file:
                file.seek(offset)
                file.write(text)
        expected = bytearray(b"\x09" * 1000)
        expected[500:503], expected[998:], expected[0:1] = b"abc", b"yz", b"A"
        self.assertEqual(self.io.read("one/0"), bytes(expected))

    def test_never_over_what_is_there(self):
        self.io.write_full("foreign", b"mine")
        mount = self.mount()
        before = self.objects()
        self.assertErrno(errno.EEXIST, mount.create, "foreign", shape="4", dtype="<i4")
        self.assertEqual(self.objects(), before)
        self.assertEqual(os.listdir(self.mount().path), [])

    def test_names_of_chunks_are_refused(self):
        mount = self.mount()
        mount.create("one", shape="4", dtype="<i4", chunk_size="2")
        self.assertErrno(errno.EINVAL, mount.create, "one%2F0", shape="4", dtype="<i4")
        self.assertEqual(list(self.objects()), ["one"])


class TestCatalogue(CephCase):
    META = {"shape": "4", "dtype": "<i4"}

    def test_mounts_see_each_other(self):
        here, there = self.mount(), self.mount()
        here.create("one", **self.META)
        there.create("two", **self.META)
        self.assertEqual(sorted(os.listdir(here.path)), ["one", "two"])
        for name in ("data", ".meta"):
            os.unlink(there.file("one", name))
        os.rmdir(there.file("one"))
        self.assertEqual(os.listdir(here.path), ["two"])

    def test_what_dosna_deleted_goes(self):
        mount = self.mount()
        mount.create("one", **self.META)
        mount.umount()
        self.io.remove_object("one")
        mount = self.mount()
        self.assertErrno(errno.ENOENT, os.stat, mount.file("one"))
        self.assertEqual(os.listdir(mount.path), [])

    def test_race(self):
        """Mounts that make and remove the same names: in the end both list what is there."""
        mounts = [self.mount(), self.mount()]

        def work(mount, turn):
            for i in range(40):
                name = f"n{(i * (turn + 1)) % 3}"
                try:
                    if i % 2 == turn:
                        mount.create(name, **self.META)
                    else:
                        for part in ("data", ".meta"):
                            os.unlink(mount.file(name, part))
                        os.rmdir(mount.file(name))
                except OSError:
                    pass  # the other was first
        threads = [threading.Thread(target=work, args=(mount, i)) for i, mount in enumerate(mounts)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        expected = sorted(self.objects())
        for mount in (self.mount(), self.mount()):
            self.assertEqual(sorted(os.listdir(mount.path)), expected)


class TestClients(CephCase):
    def test_limited_to_the_pool(self):
        """cephx: a client that may use one pool, and only read what the monitors say."""
        keyring = os.path.join(FOLDER, "client.dosna.keyring")
        if not os.path.exists(keyring):
            self.skipTest("the cluster runs without cephx")
        conffile = self.write_conffile(lambda text: text.replace(f"keyring = {FOLDER}/keyring", f"keyring = {keyring}"))
        self.ceph.name = "dosna"
        io = self.cluster.open_ioctx("dosna")
        self.addCleanup(io.close)
        name = f"set-{uuid.uuid4().hex[:8]}"
        mount = self.mount(conffile=conffile, client_id="dosna")
        mount.create(name, shape="4", dtype="<i4", chunk_size="2")
        mount.write(name, bytes(range(16)))
        self.assertEqual(mount.read(name), bytes(range(16)))
        self.assertIn(name, os.listdir(mount.path))
        self.assertGreater(os.statvfs(mount.path).f_blocks, 0)
        self.assertEqual(io.read(f"{name}/1"), bytes(range(8, 16)))
        for part in ("data", ".meta"):
            os.unlink(mount.file(name, part))
        os.rmdir(mount.file(name))
        self.assertNotIn(name, os.listdir(mount.path))
        self.assertEqual([found.key for found in io.list_objects() if found.key.startswith(name)], [])

    def test_limited_to_reading(self):
        """Nothing can be entered into the catalogue then, and nothing fails for it."""
        if "cephx" not in self.conffile_text():
            self.skipTest("the cluster runs without cephx")
        self.plant("one", "4", "<i4", "2", "7")
        entity = f"client.{self.ceph.name}"
        command = ('{"prefix": "auth get-or-create", "entity": "%s", "caps": ["mon", "allow r", "osd", '
                   '"allow r pool=%s"]}' % (entity, self.ceph.name))
        code, key, text = self.cluster.mon_command(command, b"")
        self.assertEqual(code, 0, text)
        self.addCleanup(self.cluster.mon_command, '{"prefix": "auth rm", "entity": "%s"}' % entity, b"")
        keyring = os.path.join(self.pool.directory, "keyring")
        with open(keyring, "wb") as file:
            file.write(key)
        conffile = self.write_conffile(lambda text: text.replace(f"keyring = {FOLDER}/keyring", f"keyring = {keyring}"))
        mount = self.mount(conffile=conffile, client_id=self.ceph.name, retries=0)
        self.assertEqual(mount.read("one"), numpy.full(4, 7, "<i4").tobytes())
        file = os.open(mount.file("one", "data"), os.O_RDWR)
        os.write(file, b"x")
        self.assertErrno(errno.EACCES, os.fsync, file)
        self.assertErrno(errno.EACCES, os.close, file)
        self.assertEqual(sorted(self.objects()), ["one"])
        mount.expect_status = None  # that byte is lost

    def conffile_text(self):
        with open(CONFFILE, encoding="utf-8") as file:
            return file.read()

    def write_conffile(self, change):
        path = os.path.join(self.pool.directory, "changed.conf")
        with open(path, "w", encoding="utf-8") as file:
            file.write(change(self.conffile_text()))
        return path

    def refused(self, why, name="dosna", **options):
        """One line on standard error that says why, and nothing is mounted."""
        place = os.path.join(self.pool.directory, "mountpoint")
        os.makedirs(place, exist_ok=True)
        text = option_text({"backend": "ceph", "conffile": CONFFILE, **options})
        done = subprocess.run([BIN, "-f", "-o", text, name, place], capture_output=True, text=True, timeout=60, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(done.stderr.count("\n"), 1, done.stderr)
        self.assertIn(why, done.stderr)
        self.assertFalse(os.path.ismount(place))

    def test_refused(self):
        self.refused("there is no such pool", name="no-such-pool")
        self.refused("conffile /no/such.conf: No such file", conffile="/no/such.conf")
        self.refused("is none of Ceph's", conffile=__file__)
        nobody = self.write_conffile(lambda text: text + "\nmon_host = 127.0.0.1:1\n[global]\nmon_host = 127.0.0.1:1\n")
        self.refused("no monitor answered within 1 s", conffile=nobody, timeout=1)
        if "cephx" not in self.conffile_text():
            self.skipTest("the cluster runs without cephx: keys were not tried")
        self.refused("refuses client.stranger", client_id="stranger")
        other = self.write_conffile(lambda text: text.replace(f"keyring = {FOLDER}/keyring", "keyring = /no/such"))
        self.refused("no keyring has a key for client.admin", conffile=other)
        keyring = os.path.join(self.pool.directory, "keyring")
        other = self.write_conffile(lambda text: text.replace(f"keyring = {FOLDER}/keyring", f"keyring = {keyring}"))
        for key, why in (("AQBzzzz9jU5hABAAAbbbbbbbbbbbbbbbbbbbbg==", "refuses client.admin"), ("rubbish", "malformed")):
            with open(keyring, "w", encoding="ascii") as file:
                file.write(f"[client.admin]\n\tkey = {key}\n")
            self.refused(why, conffile=other)


if __name__ == "__main__":
    unittest.main()
