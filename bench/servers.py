# SPDX-License-Identifier: Apache-2.0
"""A Ceph cluster and its S3 gateway to measure on, and others' ways to the same objects."""
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import stores
from data import CHUNK, DTYPE, nbytes
from mounts import Mount

SCRIPT = Path(__file__).resolve().parent.parent / "tests/support/cluster.sh"
PARTS = 64 << 20  # of the flat object's upload


class Cluster:
    """In memory; the context ends with its end. `daemons` as in cluster.sh."""

    def __init__(self, programs, daemons):
        self.programs, self.daemons = programs, daemons
        self.folder = programs.scratch("cluster")

    def _run(self, *arguments, check=True):
        return subprocess.run(["sh", SCRIPT, *arguments], check=check, stdout=subprocess.DEVNULL,
                              stderr=None if check else subprocess.DEVNULL,
                              env={**os.environ, "DAEMONS": self.daemons}).returncode

    def __enter__(self):
        status = self._run("up", self.folder, check=False)
        if status == 77:
            raise RuntimeError((self.folder / "missing").read_text().strip())
        if status != 0:
            self.__exit__()
            raise RuntimeError(f"cluster.sh up: status {status}")
        return self

    def __exit__(self, *error):
        for name in ("rgw", "osd"):  # which would wait for each other, and write all that is in memory to the disk
            self._run("kill", self.folder, name, check=False)
        self._run("down", self.folder)

    @contextmanager
    def away(self, seconds):
        """Gives what a command is prefixed with, so that each answer of the servers reaches it that much later."""
        place = stores.read_env(self.folder / "cluster.env")
        proxy = subprocess.Popen([self.programs.build / "tests/delay_proxy", "-n", str(seconds * 1e3),
                                  place["ADDRESS"], place["PORTS"]], stdout=subprocess.PIPE, text=True)
        try:
            namespace = proxy.stdout.readline().strip()
            if not namespace:
                raise RuntimeError("delay_proxy needs root")
            yield ["nsenter", f"--net={namespace}"]
        finally:
            proxy.terminate()
            proxy.wait()
            proxy.stdout.close()


class Store:
    """A new connection on a cluster, by dosnafs and without a filesystem; the context ends with its end."""

    def __init__(self, programs, pool, threads):
        self.programs, self.pool = programs, pool
        self.threads = programs.build / "bench" / threads

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.pool.remove()

    def create(self, name, shape):
        self.pool.stored.create(name, shape, DTYPE, CHUNK)

    def mount(self, **options):
        return self.programs.mount(self.pool, env=self.pool.env, directory=None, **self.pool.options, **options)

    def transfer(self, verb, name, shape, njobs, prefix=()):
        """Seconds to get or put all chunks of a dataset by so many threads."""
        grid = ",".join(str(-(-n // c)) for n, c in zip(shape, CHUNK))
        done = subprocess.run([*prefix, self.threads, verb, str(njobs), str(nbytes(CHUNK)), grid, *self.where(name)],
                              check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **self.pool.env})
        return float(done.stdout)


class CephStore(Store):
    name, reference = "ceph", "librados"

    def __init__(self, programs, cluster):
        super().__init__(programs, stores.CephPool(cluster.folder), "rados_threads")

    def where(self, name):
        return [self.pool.options["conffile"], self.pool.name, name]


class S3Store(Store):
    name, reference = "s3", "libcurl"

    def __init__(self, programs, cluster):
        super().__init__(programs, stores.S3Pool(cluster.folder / "s3.env"), "curl_threads")
        self.endpoint = self.pool.options["endpoint_url"]

    def where(self, name):
        return [f"{self.endpoint}/{name}"]

    def put_flat(self, bucket, path):
        """A file as one object."""
        from boto3.s3.transfer import TransferConfig
        self.pool.stored.client.create_bucket(Bucket=bucket)
        self.pool.stored.client.upload_file(str(path), bucket, path.name,
                                            Config=TransferConfig(multipart_chunksize=PARTS, max_concurrency=2))

    def peers(self):
        """{program: mount(bucket)} of those that are installed, with their own defaults."""
        mounts = {"rclone": self._mount_rclone, "s3fs": self._mount_s3fs}
        return {name: mount for name, mount in mounts.items() if shutil.which(name)}

    def _mount_rclone(self, bucket):
        settings = {"TYPE": "s3", "PROVIDER": "Ceph", "ENDPOINT": self.endpoint,
                    "ACCESS_KEY_ID": self.pool.env["AWS_ACCESS_KEY_ID"],
                    "SECRET_ACCESS_KEY": self.pool.env["AWS_SECRET_ACCESS_KEY"]}
        return Mount(["rclone", "--config", os.devnull, "mount", "--read-only", f"bench:{bucket}"],
                     self.programs.mountpoint(),
                     env={"AWS_CA_BUNDLE": "",  # with one, it does not start
                          **{f"RCLONE_CONFIG_BENCH_{key}": value for key, value in settings.items()}})

    def _mount_s3fs(self, bucket):
        folder = self.programs.scratch("s3fs")
        keys = folder / "keys"
        keys.touch(mode=0o600)
        keys.write_text(":".join(self.pool.env[key] for key in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")))
        return Mount(["s3fs", "-f", "-o", f"ro,url={self.endpoint},use_path_request_style,passwd_file={keys},"
                      f"tmpdir={folder}", bucket], self.programs.mountpoint(), quiet=True)
