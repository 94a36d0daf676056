# SPDX-License-Identifier: Apache-2.0
"""Real servers that stop, die and come back under a mount, and places that are none.

The cluster is this module's own, since it is stopped and killed, and keeps its data on disk.
"""
import errno
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

import numpy

import mounted
import stores
from test_mount import ProgramCase

SCRIPT = Path(__file__).resolve().parent.parent / "support/cluster.sh"
META = {"shape": "64, 64, 64", "dtype": "<u2", "chunk_size": "8, 64, 64"}
NBYTES = 64 ** 3 * 2
FOLDER = tempfile.mkdtemp(prefix="dosnafs-cluster-")
SHORT = {"request_timeout": 2, "retries": 1}


def cluster(action, *daemon):
    subprocess.run(["sh", SCRIPT, action, FOLDER, *daemon], check=True, timeout=180)


def setUpModule():
    if mounted.MISSING:
        raise unittest.SkipTest(mounted.MISSING)
    environment = {**os.environ, "AUTH": "none", "STORE": "bluestore", "DAEMONS": "mon osd mgr rgw"}
    done = subprocess.run(["sh", SCRIPT, "up", FOLDER], env=environment, check=False, timeout=180,
                          stdout=subprocess.PIPE, text=True)
    if done.returncode == 77:
        raise unittest.SkipTest(done.stdout.strip())
    done.check_returncode()
    # What stores.missing() asks, and what new pools are made in.
    os.environ["DOSNA_TEST_CEPH"], os.environ["DOSNA_TEST_S3"] = FOLDER, os.path.join(FOLDER, "s3.env")


def tearDownModule():
    cluster("down")
    shutil.rmtree(FOLDER)


def need(backend):
    """A skip where dosnafs has no such backend."""
    text = subprocess.run([mounted.BIN, "-h"], stdout=subprocess.PIPE, text=True, check=True).stdout
    if f"\n[{backend}]\n" not in text:
        raise unittest.SkipTest(f"dosnafs is built without the {backend} backend")


class ServerCase(mounted.MountedCase):
    """With a pool of the store, and one of its daemons that can go."""

    STORE = DAEMON = None

    @classmethod
    def setUpClass(cls):
        need(cls.STORE)

    def setUp(self):
        super().setUp()
        self.pool = stores.KINDS[self.STORE]()
        self.addCleanup(self.pool.remove)
        self.stored = self.pool.stored
        self.content = numpy.random.default_rng(7).bytes(NBYTES)

    def mount(self, **options):
        return super().mount(**{**self.pool.options, **options})

    def stop(self):
        self.addCleanup(cluster, "cont", self.DAEMON)
        cluster("stop", self.DAEMON)

    def cont(self):
        cluster("cont", self.DAEMON)

    def assertGone(self, function, *args):
        """The store does not answer, and that is what the user hears."""
        with self.assertRaises(OSError) as caught:
            function(*args)
        self.assertIn(caught.exception.errno, (errno.ETIMEDOUT, errno.EIO))

    def is_stored(self):
        return self.stored.load("one").tobytes() == self.content

    def reads(self, mount):
        try:
            return mount.read("one") == self.content
        except OSError:
            return False


class StopTests:
    """What is the same for both; mixed into a ServerCase."""

    def test_stopped_while_reading(self):
        self.mount().create("one", **META)
        self.stored.store("one", numpy.frombuffer(self.content, "<u2").reshape(64, 64, 64))
        mount = self.mount(**SHORT)
        mount.read("one", ".meta")
        self.stop()
        self.assertGone(mount.read, "one")
        self.cont()
        mounted.wait_for(lambda: self.reads(mount), "an answer after the server came back")

    def test_stopped_while_writing(self):
        mount = self.mount(**SHORT)
        mount.create("one", **META)
        file = os.open(mount.file("one", "data"), os.O_RDWR)
        os.pwrite(file, self.content[:NBYTES // 2], 0)
        self.stop()
        os.pwrite(file, self.content[NBYTES // 2:], NBYTES // 2)
        self.assertGone(os.fsync, file)
        self.assertEqual(os.pread(file, NBYTES, 0), self.content)
        self.assertGone(os.close, file)
        self.cont()
        mounted.wait_for(self.is_stored, "write-back after the server came back")
        self.assertEqual(mount.umount(), 0)

    def test_unmount_while_stopped(self):
        mount = self.mount(**SHORT)
        mount.expect_status = None
        mount.create("one", **META)
        file = os.open(mount.file("one", "data"), os.O_RDWR)
        self.stop()
        os.pwrite(file, self.content, 0)
        self.assertGone(os.close, file)
        mount.umount()
        self.assertRegex(mount.log(), r"\bone\b")

    def dd(self, source, target):
        return subprocess.Popen(["dd", f"if={source}", f"of={target}", "bs=32K", "conv=fsync,notrunc", "status=none"],
                                stderr=subprocess.PIPE, text=True)

    def finish(self, process):
        """Its exit status; it ends by itself."""
        with process:
            process.communicate(timeout=mounted.TIMEOUT * 2)
        return process.returncode

    def test_killed_while_writing(self):
        mount = self.mount(dirty_max="256K", njobs=2)
        mount.create("one", **META)
        source = Path(self.pool.directory, "flat")
        source.write_bytes(self.content)
        writer = self.dd(source, mount.file("one", "data"))
        mounted.wait_for(lambda: mount.stat("dosnafs_chunk_puts_total") > 0, "first chunk")
        cluster("kill", self.DAEMON)
        cluster("start", self.DAEMON)
        if self.finish(writer):  # the user was told; once more, then
            self.assertEqual(self.finish(self.dd(source, mount.file("one", "data"))), 0)
        self.assertTrue(self.is_stored())
        self.assertEqual(mount.read("one"), self.content)

    def test_killed_while_reading(self):
        mount = self.mount(njobs=2, prefetch=0, cache="never")
        mount.create("one", **META)
        mount.write("one", self.content)
        target = Path(self.pool.directory, "copy")
        reader = self.dd(mount.file("one", "data"), target)
        mounted.wait_for(lambda: mount.stat("dosnafs_chunk_gets_total") > 0, "first chunk")
        cluster("kill", self.DAEMON)
        cluster("start", self.DAEMON)
        if self.finish(reader) == 0:
            self.assertEqual(target.read_bytes(), self.content)
        mounted.wait_for(lambda: self.reads(mount), "an answer after the server came back")


class CephTest(StopTests, ServerCase):
    STORE, DAEMON = "ceph", "osd"

    def test_statfs(self):
        mount = self.mount()

        def known():
            space = os.statvfs(mount.path)
            return 1 << 30 < space.f_blocks * space.f_frsize <= 8 << 30 and 0 < space.f_bavail <= space.f_blocks
        mounted.wait_for(known, "space of the cluster")


class S3Test(StopTests, ServerCase):
    STORE, DAEMON = "s3", "rgw"


class BehindTheGatewayTest(StopTests, ServerCase):
    """The gateway answers nothing while its OSD is away."""

    STORE, DAEMON = "s3", "osd"


class PlacesCase(ProgramCase):
    def refused(self, backend, says, connection="dosna", env=None, **options):
        """One line, status 1, nothing mounted."""
        need(backend)
        with self.subTest(**options):
            text = mounted.option_text({"backend": backend, **SHORT, **options})
            self.assertRefused(1, "-o", text, connection, self.path, says=says, env=env)


class CephPlacesTest(PlacesCase):
    def test_places(self):
        conffile = os.path.join(FOLDER, "ceph.conf")
        text = Path(conffile).read_text(encoding="utf-8")
        nowhere = Path(self.pool.directory, "nowhere.conf")
        nowhere.write_text(re.sub(r":\d+/0\]", ":1/0]", text), encoding="utf-8")
        keyless = Path(self.pool.directory, "keyless.conf")
        keyless.write_text(re.sub(r"(auth_client_required =).*", r"\1 cephx", text), encoding="utf-8")
        self.refused("ceph", "no-such-pool", "no-such-pool", conffile=conffile)
        self.refused("ceph", "/none/ceph.conf", conffile="/none/ceph.conf")
        self.refused("ceph", "dosna", conffile=nowhere, timeout=1)
        self.refused("ceph", "dosna", conffile=keyless, timeout=1)


class S3PlacesTest(PlacesCase):
    def test_places(self):
        server = stores.read_env(os.path.join(FOLDER, "s3.env"))
        endpoint, secure = server["S3_ENDPOINT"], server["S3_TLS_ENDPOINT"]
        good = {key: value for key, value in server.items() if key.startswith("AWS_")}
        self.refused("s3", "127.0.0.1:1", env=good, endpoint_url="http://127.0.0.1:1")
        self.refused("s3", "no-such-host.invalid", env=good, endpoint_url="http://no-such-host.invalid")
        self.refused("s3", "certificate", env=good, endpoint_url=secure)
        self.refused("s3", "/none.crt", env=good, endpoint_url=secure, verify="/none.crt")
        self.refused("s3", "", env={**good, "AWS_SECRET_ACCESS_KEY": "wrong"}, endpoint_url=endpoint)
        self.refused("s3", "", env={**good, "AWS_ACCESS_KEY_ID": "nobody"}, endpoint_url=endpoint)
        self.refused("s3", "nobody", env=good, endpoint_url=endpoint, profile_name="nobody")
        self.refused("s3", "", env=good, endpoint_url=endpoint.replace("http:", "https:"))


if __name__ == "__main__":
    unittest.main()
