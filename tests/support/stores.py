# SPDX-License-Identifier: Apache-2.0
"""The stores that the mounted tests run on, each in a fresh, empty connection.

    pool = stores.new()           # of the store that $DOSNA_TEST_STORE names: hdf5 (the default), ceph or s3
    pool.name                     # CONNECTION
    pool.options, pool.env        # what `dosnafs -o` and its environment need to reach it
    pool.directory                # a folder for the test's own files, outside the connection
    pool.stored                   # the same connection as DosNa sees it: dosna_pool.Pool and its like
    pool.remove()

The servers are those of tests/support/cluster.sh, whose places are $DOSNA_TEST_CEPH (its folder) and $DOSNA_TEST_S3
(its s3.env). missing(store) is why it cannot be tested here, or None; without a name, of the one from stores.new().
"""
import contextlib
import importlib.util
import os
import shutil
import subprocess
import tempfile
import uuid
from pathlib import Path

STORE = os.environ.get("DOSNA_TEST_STORE", "hdf5")


class Hdf5Pool:
    """An empty folder."""

    def __init__(self, directory=None):
        from dosna_pool import Pool
        self.directory = directory or tempfile.mkdtemp(prefix="dosnafs-pool-")
        self.name = "pool"
        self.path = os.path.join(self.directory, self.name)
        os.mkdir(self.path)
        self.options = {"backend": "hdf5", "directory": self.directory}
        self.env = {}
        self.stored = Pool(self.path)

    def remove(self):
        shutil.rmtree(self.directory, ignore_errors=True)


class CephPool:
    """A pool of the test cluster."""

    def __init__(self, folder=None):
        import rados
        from dosna_objects import CephPool as Stored
        conffile = os.path.join(folder or os.environ["DOSNA_TEST_CEPH"], "ceph.conf")
        self.directory = tempfile.mkdtemp(prefix="dosnafs-pool-")
        self.name = fresh_name()
        self.options = {"backend": "ceph", "conffile": conffile}
        self.env = {}
        self.cluster = rados.Rados(conffile=conffile)
        self.cluster.connect(timeout=30)
        self.cluster.create_pool(self.name)
        self.stored = Stored(self.cluster.open_ioctx(self.name))

    def remove(self):
        self.stored.ioctx.close()
        self.cluster.delete_pool(self.name)
        self.cluster.shutdown()
        shutil.rmtree(self.directory, ignore_errors=True)


class S3Pool:
    """A user of the test cluster's gateway, in a name space of buckets of its own."""

    def __init__(self, env_file=None):
        import boto3
        from dosna_objects import S3Pool as Stored
        self.server = read_env(env_file or os.environ["DOSNA_TEST_S3"])
        self.directory = tempfile.mkdtemp(prefix="dosnafs-pool-")
        self.name = "any"
        user = fresh_name()
        self.admin("user", "create", f"--tenant={user}", "--uid=u", "--display-name=test",
                   f"--access-key={user}", "--secret-key=secret")
        self.options = {"backend": "s3", "endpoint_url": self.server["S3_ENDPOINT"]}
        self.env = {"AWS_ACCESS_KEY_ID": user, "AWS_SECRET_ACCESS_KEY": "secret"}
        self.stored = Stored(boto3.client("s3", endpoint_url=self.server["S3_ENDPOINT"], region_name="default",
                                          aws_access_key_id=user, aws_secret_access_key="secret"))

    def admin(self, *args):
        conffile = os.path.join(os.path.dirname(self.server["S3_CA"]), "ceph.conf")
        subprocess.run(["radosgw-admin", "-c", conffile, "-n", "client.rgw", *args], check=True, timeout=60,
                       stdout=subprocess.DEVNULL)

    def remove(self):
        for name in self.stored.names():
            self.stored.remove(name)
        self.stored.client.close()
        shutil.rmtree(self.directory, ignore_errors=True)


KINDS = {"hdf5": Hdf5Pool, "ceph": CephPool, "s3": S3Pool}


def new():
    return KINDS[STORE]()


def fresh_name():
    return f"test{uuid.uuid4().hex[:12]}"  # as a tenant of the gateway: no hyphens


def read_env(path):
    """The lines KEY=VALUE of a file."""
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    return dict(line.split("=", 1) for line in lines)


def missing(store=STORE):
    """Why there is no such store here, or None."""
    if store == "hdf5":
        return None
    variable, file, module = {"ceph": ("DOSNA_TEST_CEPH", "ceph.conf", "rados"),
                              "s3": ("DOSNA_TEST_S3", "", "boto3")}[store]
    place = os.environ.get(variable)
    if not place:
        return f"{variable} is not set"
    if not os.path.exists(os.path.join(place, file) if file else place):
        folder = Path(place if file else os.path.dirname(place))
        with contextlib.suppress(OSError):
            return (folder / "missing").read_text(encoding="utf-8").strip()
        return f"no test cluster at {variable}={place}"
    if not importlib.util.find_spec(module):
        return f"python3-{module} is not installed"
    return None
