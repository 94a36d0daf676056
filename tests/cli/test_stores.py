# SPDX-License-Identifier: Apache-2.0
"""What others left in a store, $DOSNA_TEST_STORE: chunks that are not as they should be, types, datasets."""
import json
import os
import random
import shutil
import ssl
import subprocess
import unittest
import zlib

import h5py
import numpy

import cases
import stores
from fake_s3 import FakeS3

NAT = -2**63
UNITS = ("Y", "M", "W", "D", "h", "m", "s", "ms", "us", "ns", "ps", "fs", "as")
# How far from 1970 numpy and everybody can count.
MOST = {"Y": 200000, "M": 2400000, "W": 10**7, "D": 10**8, "h": 10**9, "m": 10**11, "s": 10**13}
TEXTS = [["a", "b'c", 'b"c', "b'\"c", ""], ["\x00x", "tab\t\n\\", "\x7f\x80\xa0", "\\xe9"],
         ["\xe9\u200b\ud7ff", "\U0001f600", "\U000e0001", "\u0378", "\u3000", "\ufffd\U0010ffff"],
         ["\u65e5\u672c\u8a9e"] * 40]


class Check(cases.Case):
    def setUp(self):
        super().setUp()
        self.a = self.name("a")
        self.pool.stored.create(self.a, (7, 10), "<f4", (4, 4), fill=0)
        self.addCleanup(self.pool.stored.remove, self.a)
        self.data = cases.some_array((7, 10))
        self.pool.stored.store(self.a, self.data)

    def put(self, index, count):
        """A chunk of a wrong number of elements."""
        if stores.STORE != "hdf5":
            self.pool.stored.put(self.a, index, bytes(4 * count))
            return
        with h5py.File(self.pool.stored.chunk_path(self.a, index), "w") as file:
            file["data"] = numpy.zeros((count // 4, 4), "<f4")

    def put_stray(self, *index):
        self.pool.stored.store_chunk(self.a, index, numpy.ones((4, 4), "<f4"))

    def check(self, *options):
        """Its exit status, what it says in the end, and what it found of each kind."""
        done = self.run_dosna("check", self.a, "--json", *options)
        self.assertEqual(len(done.stderr.splitlines()), done.returncode, done.stderr)
        found = json.loads(done.stdout)
        findings = {}
        for finding in found.pop("findings"):
            findings.setdefault(finding["kind"], {})[finding["chunk"]] = finding["why"]
        return done.returncode, found, findings

    @unittest.skipUnless(stores.STORE == "hdf5", "only hdf5 unpacks anything")
    def test_bomb(self):
        """Three megabytes that unpack to three gigabytes."""
        part, packer = bytes(16 << 20), zlib.compressobj()
        first = packer.compress(part) + packer.flush(zlib.Z_FULL_FLUSH)
        again = packer.compress(part) + packer.flush(zlib.Z_FULL_FLUSH)
        with h5py.File(self.pool.stored.chunk_path(self.a, (0, 0)), "w") as file:
            data = file.create_dataset("data", (8, 8), "<f4", chunks=(8, 8), compression="gzip")
            data.id.write_direct_chunk((0, 0), first + 199 * again + packer.flush())
        with subprocess.Popen(self.command("check", self.a, "--json"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              cwd=self.folder, env=self.environment) as process:
            found = json.loads(process.stdout.read())
            used = os.wait4(process.pid, 0)[2].ru_maxrss  # of libhdf5's process too
            process.returncode = 0
        self.assertEqual([finding["chunk"] for finding in found["findings"]], ["0, 0"])
        self.assertLess(used, 1 << 20)

    def test_whole(self):
        self.assertEqual(self.check(), (0, {"stored": 6, "missing": 0, "wrong_length": 0, "damaged": 0, "strays": 0}, {}))

    def test_wrong_length(self):
        self.put((0, 0), 32)
        self.put((0, 1), 8)
        self.put((1, 2), 0)
        self.pool.stored.remove_chunk(self.a, (1, 0))
        status, found, findings = self.check()
        self.assertEqual((status, found), (1, {"stored": 5, "missing": 1, "wrong_length": 3, "damaged": 0, "strays": 0}))
        self.assertEqual(findings, {"wrong length": {"0, 0": "128 bytes, not 64", "0, 1": "32 bytes, not 64",
                                                     "1, 2": "0 bytes, not 64"}})
        text = self.run_dosna("check", self.a).stdout.decode()
        self.assertIn("wrong length: 0, 0: 128 bytes, not 64\n", text)
        self.assertIn("5 chunks stored, 1 missing (they read as the fill value), 3 of wrong length, 0 damaged, 0 strays\n",
                      text)

    def test_strays(self):
        for index in ((-1, 0), (2, 0), (0, 77)):
            self.put_stray(*index)
        names = {f"{sep.join(map(str, index))}" for index in ((-1, 0), (2, 0), (0, 77)) for sep in "._"}
        before = self.pool.stored.contents(self.a)
        status, found, findings = self.check()
        self.assertEqual((status, found["strays"], found["stored"]), (1, 3, 6))
        for name in findings["stray"]:
            self.assertIn(name.rpartition("/")[2].removeprefix("chunk_").removesuffix(".h5"), names)
        self.assertEqual(self.pool.stored.contents(self.a), before)
        self.assertEqual(self.check("--repair")[:2], (0, {**found, "strays": 3}))
        self.assertEqual(self.pool.stored.contents(self.a), 6)
        self.assertEqual(self.check()[:2], (0, {**found, "strays": 0}))
        self.assert_same(self.pool.stored.load(self.a), self.data)

    def test_few_chunks_of_many(self):
        """What is asked goes with what is stored, where the store can list that."""
        giant = self.name("giant")
        self.ok("create", giant, "--shape", "100000,1000", "--dtype", "|u1", "--chunk-size", "1,1")
        self.addCleanup(self.pool.stored.remove, giant)
        for row in (0, 7, 99999):
            self.ok("set", giant, f"[{row}, 999]", "5")
        found = json.loads(self.ok("check", giant, "--json"))
        self.assertEqual((found["stored"], found["missing"]), (3, 10**8 - 3))

    def test_clone_is_of_the_stored_bytes(self):
        b = self.name("b")
        self.pool.stored.remove_chunk(self.a, (0, 1))
        self.ok("clone", self.a, b, "--data")
        self.addCleanup(self.pool.stored.remove, b)
        self.assertEqual(self.pool.stored.contents(b), 5)
        self.data[:4, 4:8] = 0
        self.assert_same(self.pool.stored.load(b), self.data)


class NoAnswer(cases.Case):
    """A store that is out of reach is not a store of damaged chunks."""

    def faulty(self, *options):
        inner = ";".join(f"{key}={value}" for key, value in self.pool.options.items() if key != "backend")
        self.where = ["--backend", "fault", "--connection", self.pool.name, "--connection-options",
                      f"inner={stores.STORE}", "inner_options=" + inner, "retries=0", *options]

    def setUp(self):
        super().setUp()
        self.a = self.name("a")
        self.load_array(self.a, cases.some_array((9, 8)), "--chunk-size", "2,2")
        self.addCleanup(self.pool.stored.remove, self.a)

    def test_out_of_reach(self):
        for operations in ("chunk_length+read+has", "read+has"):
            self.faulty("fail_op=" + operations, "fail_errno=ECONNRESET")
            done = self.run_dosna("check", self.a)
            self.assertEqual((done.returncode, done.stdout), (1, b""))
            self.assertEqual(len(done.stderr.splitlines()), 1, done.stderr)

    def test_late(self):
        self.faulty("fail_op=read", "fail_errno=ETIMEDOUT", "fail_after=3")
        self.fails(1, "injected fault", "check", self.a)

    def test_late_json(self):
        self.faulty("fail_op=read", "fail_errno=ETIMEDOUT", "fail_after=3")
        done = self.run_dosna("check", self.a, "--json")
        self.assertEqual(done.returncode, 1)
        found = json.loads(done.stdout)
        self.assertEqual(found["findings"], [])
        self.assertIn("injected fault", found["error"])

    def test_damaged(self):
        self.faulty("fail_op=read", "fail_errno=EIO", "fail_count=2")
        done = self.run_dosna("check", self.a)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stdout.count(b"damaged: "), 2)
        self.assertIn(b"20 chunks stored, 0 missing (they read as the fill value), 0 of wrong length, 2 damaged", done.stdout)

    def test_nobody_there(self):
        where = {"hdf5": ["directory=/nonexistent"], "ceph": ["conffile=/nonexistent"],
                 "s3": ["endpoint_url=http://127.0.0.1:1"]}[stores.STORE]
        self.where = ["--backend", stores.STORE, "--connection", self.pool.name, "--connection-options", *where]
        for command in (["ls"], ["check", self.a], ["info", self.a], ["save", self.a, "x.npy"], ["rm", "-f", self.a],
                        ["load", "b", "in.npy"]):
            self.fails(1, "", *command)
        self.assertFalse(os.path.exists(self.path("x.npy")))


@unittest.skipUnless(stores.STORE == "hdf5", "it is about s3, and needs no store")
@unittest.skipUnless(cases.is_built("s3"), "dosna is built without s3")
@unittest.skipUnless(shutil.which("openssl"), "openssl is not installed")
class TrustInS3(cases.Case):
    """A server with a certificate of its own."""

    def setUp(self):
        super().setUp()
        self.server = FakeS3()
        self.server.__enter__()
        self.addCleanup(self.server.__exit__)
        inner = self.server.server
        inner.socket = self.make_certificate("server").wrap_socket(inner.socket, server_side=True)
        self.make_certificate("other")
        self.environment.update(AWS_ACCESS_KEY_ID="access", AWS_SECRET_ACCESS_KEY="secret")

    def make_certificate(self, name):
        """NAME.pem with its key in NAME.key, and the folder NAME, as /etc/ssl/certs is."""
        pem, key = self.path(name + ".pem"), self.path(name + ".key")
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-keyout", key, "-out", pem, "-days", "2", "-subj", "/CN=" + name, "-addext",
                        "subjectAltName=IP:127.0.0.1"], check=True, stderr=subprocess.DEVNULL)
        os.mkdir(self.path(name))
        shutil.copy(pem, self.path(name, "ca-certificates.crt"))
        subprocess.run(["openssl", "rehash", self.path(name)], check=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem, key)
        return context

    def check(self, verify, trusted, *before):
        self.where = ["--backend", "s3", "--connection", "any", "--connection-options",
                      "endpoint_url=" + self.server.url.replace("http:", "https:"), "verify=" + verify]
        done = subprocess.run([*before, *self.command("ls")], env=self.environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, check=False)
        with self.subTest(verify):
            self.assertEqual(done.returncode == 0, trusted, done.stdout)
            self.assertIn(b"" if trusted else b"certificate is not trusted", done.stdout)

    def test_what_is_named(self):
        self.check("true", False)
        self.check("false", True)
        for kind in ("", ".pem"):
            self.check(self.path("server" + kind), True)
            self.check(self.path("other" + kind), False)

    @unittest.skipIf(subprocess.call(["unshare", "-rm", "true"], stderr=subprocess.DEVNULL), "there are no namespaces")
    def test_nothing_else(self):
        """The system's certificates do not count beside those that are named."""
        system = ["unshare", "-rm", "sh", "-c", 'mount --bind "$0" /etc/ssl/certs && exec "$@"', self.path("server")]
        self.check("true", True, *system)
        for kind in ("", ".pem"):
            self.check(self.path("other" + kind), False, *system)


@unittest.skipUnless(stores.STORE == "s3", "it is about copies in s3")
class CopiesInS3(cases.Case):
    """What a server may answer to one."""

    def setUp(self):
        super().setUp()
        self.server = FakeS3()
        self.server.__enter__()
        self.addCleanup(self.server.__exit__)
        self.server.add_dataset("src", (8,), chunk_size=(4,), chunks={"0": b"abcd", "1": b"efgh"})
        self.where = ["--backend", "s3", "--connection", "any", "--connection-options",
                      "endpoint_url=" + self.server.url, "retries=1"]

    def answers(self, *mischief):
        """To the first copies; to those that follow, good ones."""
        left = list(mischief)
        self.server.mischief = lambda request: "x-amz-copy-source" in request.headers and left and left.pop(0)(request)

    def cloned(self):
        self.ok("clone", "src", "dst", "--data", "--engine", "cpu")
        return {key: found.body for key, found in self.server.buckets["dst"].items() if key != "dataset_root"}

    def test_no_bytes_come_here(self):
        self.assertEqual(self.cloned(), {"0": b"abcd", "1": b"efgh"})
        self.assertNotIn(("GET", "/src/0"), self.server.log)

    def test_later(self):
        self.answers(lambda r: r.xml(200, "<Error><Code>InternalError</Code></Error>"), lambda r: r.error(503, "SlowDown"))
        with self.assertRaises(AssertionError): # one more try is all it has
            self.cloned()
        self.answers(lambda r: r.xml(200, "<Error><Code>InternalError</Code></Error>"))
        self.assertEqual(self.cloned(), {"0": b"abcd", "1": b"efgh"})

    def test_not_implemented(self):
        self.answers(*2 * [lambda r: r.error(501, "NotImplemented")])
        self.assertEqual(self.cloned(), {"0": b"abcd", "1": b"efgh"})
        self.assertIn(("GET", "/src/0"), self.server.log)

    def test_bad_answers(self):
        for text, mischief in (("AccessDenied", lambda r: r.xml(200, "<Error><Code>AccessDenied</Code></Error>")),
                               ("no S3 server", lambda r: r.answer(200, headers={"ETag": '"of nothing"'})),
                               ("no S3 server", lambda r: r.answer(200, b"<html>hello")),
                               ("no S3 server", lambda r: r.xml(200, "<CopyObjectResult><ETag>x</ETag>"))):
            self.answers(mischief)
            self.fails(1, text, "clone", "src", "dst", "--data", "--engine", "cpu")
            self.assertEqual(set(self.server.buckets), {"src"})


class Rescan(cases.Case):
    def test_made_by_others(self):
        names = {self.name(base) for base in "abc"}
        before = set(self.listing())
        for name in names:
            self.pool.stored.create(name, (4,), "<u2", (2,))
            self.addCleanup(self.pool.stored.remove, name)
            self.pool.stored.store(name, numpy.arange(4, dtype="<u2"))
        if stores.STORE == "ceph": # which lists what was opened once
            self.assertEqual(set(self.listing()), before)
            self.ok("info", self.name("a"))
            self.assertEqual(set(self.listing()), before | {self.name("a")})
        self.assertEqual(set(self.ok("ls", "--rescan").decode().split()), before | names)
        self.assertEqual(set(self.listing()), before | names)


@unittest.skipIf(stores.STORE == "hdf5", "hdf5 cannot hold these types")
class Types(cases.Case):
    """What numpy's print() makes of dates, texts and raw bytes."""

    def test_texts(self):
        for order in "<>":
            for values in TEXTS:
                self.check_print(numpy.array(values, order + "U10"), 1)
        self.check_print(numpy.array([b"a'", b'"', b"\x00\xff\n"], "S5"), 0)

    def test_raw(self):
        self.check_print(numpy.array([b"ab", b"c\x00\x01", b"'"], "V3"), 1)

    def test_dates(self):
        seed = random.randrange(2**32)
        generator = random.Random(seed)
        for unit in generator.sample(UNITS, 3) if cases.SHORT else UNITS:
            step = generator.choice(["", "7"])
            most = MOST.get(unit, 2**62) // (7 if step else 1)
            rows = [[0, 1, -1, NAT], [most, -most, NAT, 5], [generator.randrange(-most, most) for _ in range(4)]]
            with self.subTest(seed=seed, unit=unit, step=step):
                dates = numpy.array(rows, "<i8").view(f"<M8[{step}{unit}]")
                self.check_print(dates, (0, 3), (2, 1))
                self.check_print(dates[:1].astype(dates.dtype.newbyteorder(">")))
                self.check_print(numpy.array([generator.randrange(10**4)], "<i8").view(f"<m8[{step}{unit}]"), 0)
        self.check_print(numpy.array([5, -10000, NAT], "i8").view("m8"), 0, 2)
        self.check_print(numpy.array([NAT, NAT], "i8").view("M8[s]"))
        self.check_print(numpy.arange(0, 2000, dtype="M8[D]").reshape(40, 50))
