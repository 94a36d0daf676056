# SPDX-License-Identifier: Apache-2.0
"""s3 on a real server: what DosNa leaves there, made here by boto3, is read right, and what we leave is right for it.

The server is the one whose s3.env DOSNA_TEST_S3 names.
"""
import errno
import os
import subprocess
import tempfile
import unittest
import uuid

import numpy

from mounted import BIN, MountedCase, option_text

try:
    import boto3
    from botocore.exceptions import ClientError
except ImportError:
    boto3 = None

PLACE = os.environ.get("DOSNA_TEST_S3", "")

# dtype, the text that DosNa (Python 2 and 3, numpy before and after 2) leaves, the value that it means.
FILLS = [
    ("<f4", "0", 0), ("<i4", "-3", -3), ("<u8", "18446744073709551615", 2**64 - 1), ("<i8", "5L", 5),
    ("<f8", "0.0", 0.0), ("<f4", "3.5", 3.5), ("<f8", "1e-05", 1e-05), ("<f8", "1e+16", 1e16), (">f4", "-2.5", -2.5),
    ("<f8", "nan", float("nan")), ("<f4", "inf", float("inf")), ("<f8", "-inf", float("-inf")),
    ("|b1", "True", True), ("|u1", "False", 0), ("<c8", "(1+2j)", 1 + 2j), ("<c16", "1j", 1j), ("<c8", "0j", 0j),
    ("<f8", "None", float("nan")), ("|S5", "'ab'", b"ab"), ("|S5", "b'ab'", b"ab"), ("|u1", "300", 44),
    ("<u2", "-1", 65535), ("<i4", "1.7", 1), ("<f4", "np.float32(0.5)", 0.5), ("<i8", "np.int64(5)", 5),
    ("|b1", "np.True_", True), ("<c8", "np.complex64(1+2j)", 1 + 2j),
]


def server():
    with open(PLACE, encoding="utf-8") as file:
        return dict(line.strip().split("=", 1) for line in file if "=" in line)


@unittest.skipUnless(boto3, "python3-boto3 is not installed")
@unittest.skipUnless(PLACE, "DOSNA_TEST_S3 is not set")
@unittest.skipUnless(os.path.exists(PLACE), f"no test server at DOSNA_TEST_S3={PLACE}")
class S3Case(MountedCase):
    def setUp(self):
        super().setUp()
        self.place = server()
        self.keys = {name: self.place[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
        self.client = boto3.client("s3", endpoint_url=self.place["S3_ENDPOINT"], region_name="us-east-1",
                                   aws_access_key_id=self.keys["AWS_ACCESS_KEY_ID"],
                                   aws_secret_access_key=self.keys["AWS_SECRET_ACCESS_KEY"])
        self.addCleanup(self.client.close)
        self.prefix = f"t-{uuid.uuid4().hex[:8]}-"
        self.addCleanup(self.remove_all)

    def remove_all(self):
        for bucket in [b["Name"] for b in self.client.list_buckets()["Buckets"]]:
            if bucket.startswith(self.prefix):
                for key in self.keys_of(bucket):
                    self.client.delete_object(Bucket=bucket, Key=key)
                self.client.delete_bucket(Bucket=bucket)

    def keys_of(self, bucket):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return [found["Key"] for page in pages for found in page.get("Contents", [])]

    def put(self, bucket, key, body):
        self.client.put_object(Bucket=bucket, Key=key, Body=body)

    def dosna_create(self, name, shape, dtype, fillvalue, chunk_size):
        """As DosNa's s3 backend does it."""
        bucket = (self.prefix + name).replace("_", "-").lower()
        grid = [-(-s // c) for s, c in zip(shape, chunk_size)]

        def text(vector):
            return "::".join(map(str, vector))
        self.client.create_bucket(Bucket=bucket, ACL="private")
        self.client.put_object(Bucket=bucket, Key="dataset_root", Body=b"DosNa Dataset", Metadata={
            "shape": text(shape), "dtype": dtype, "fillvalue": fillvalue, "chunk-grid": text(grid),
            "chunk-size": text(chunk_size)})
        return bucket

    def mount_s3(self, env=None, **options):
        return self.mount(env={**self.keys, **(env or {})},
                          **{"backend": "s3", "endpoint_url": self.place["S3_ENDPOINT"], **options})

    def test_what_dosna_made(self):
        shape, chunk = (7, 10), (3, 4)
        whole = numpy.random.default_rng(7).integers(0, 60000, shape).astype("<u2")
        bucket = self.dosna_create("Some_Set", shape, "<u2", "9", chunk)
        padded = numpy.full((9, 12), 77, "<u2")  # padding is anything
        padded[:7, :10] = whole
        for i in range(3):
            for j in range(3):
                if (i, j) != (1, 1):
                    part = padded[3 * i:3 * i + 3, 4 * j:4 * j + 4]
                    # DosNa stores a value of another type as it is: twice as long, of which the first half is read
                    more = b"more" * 6 if (i, j) == (0, 0) else b""
                    self.put(bucket, f"{i}.{j}", part.tobytes() + more)
        whole[3:6, 4:8] = 9
        for key in ("-1.0", "9.9", "0.0.0", "readme"):
            self.put(bucket, key, b"stray")
        mount = self.mount_s3()
        for name in (self.prefix + "Some_Set", bucket):
            self.assertEqual(mount.read(name), whole.tobytes())
        self.assertIn(bucket, os.listdir(mount.path))
        self.assertNotIn("1.1", self.keys_of(bucket))  # reading stores nothing

    def test_fill_values_that_no_header_holds(self):
        """Blanks that a header's reader may join, at the ends and within, and what is not ASCII."""
        cases = [("|S8", b" a   b\t "), ("|S3", b"   "), ("|S4", b"\xe4\n\r\x01"), ("<U6", " \xe4  \u65e5"), ("<U2", "\U0001f600")]
        mount = self.mount_s3()
        for i, (dtype, value) in enumerate(cases):
            with self.subTest(dtype=dtype, value=value):
                mount.create(f"{self.prefix}{i}", shape="2", dtype=dtype, fillvalue=repr(value))
        again = self.mount_s3()
        for i, (dtype, value) in enumerate(cases):
            with self.subTest(dtype=dtype, value=value):
                self.assertEqual(again.read(f"{self.prefix}{i}"), numpy.full(2, value, dtype).tobytes())

    def test_fill_values(self):
        buckets = [self.dosna_create(f"fill-{i}", (3,), dtype, text, (2,)) for i, (dtype, text, _) in enumerate(FILLS)]
        mount = self.mount_s3()
        for bucket, (dtype, text, value) in zip(buckets, FILLS):
            with self.subTest(dtype=dtype, text=text):
                have = numpy.frombuffer(mount.read(bucket), dtype)
                numpy.testing.assert_array_equal(have, numpy.full(3, value, dtype))

    def test_broken(self):
        """A short chunk is an error of that chunk; bad metadata of that dataset."""
        short = self.dosna_create("short", (8192,), "|u1", "0", (4096,))
        self.put(short, "0", b"short")
        self.put(short, "1", b"x" * 4096)
        bad = [self.dosna_create(f"bad-{i}", (4,), *rest, (4,)) for i, rest in enumerate(
            [("nonsense", "0"), ("<i4", "None"), ("<i4", "what")])]
        axes = self.dosna_create("axes", (4,), "<i4", "0", (4, 4))
        missing = self.prefix + "missing"
        self.client.create_bucket(Bucket=missing)
        self.put(missing, "dataset_root", b"DosNa Dataset")
        empty = self.prefix + "empty"
        self.client.create_bucket(Bucket=empty)
        mount = self.mount_s3()
        with open(mount.file(short, "data"), "rb", buffering=0) as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
            self.assertErrno(errno.EIO, os.pread, file.fileno(), 4096, 0)
            self.assertEqual(os.pread(file.fileno(), 4096, 4096), b"x" * 4096)
        for name in [*bad, axes, missing]:
            with self.subTest(name):
                self.assertErrno(errno.EIO, mount.read, name)
        self.assertErrno(errno.ENOENT, os.stat, mount.file(empty))

    def test_what_we_make(self):
        mount = self.mount_s3()
        name = self.prefix + "Our_Set"
        bucket = self.prefix + "our-set"
        shape, chunk = (5, 6, 7), (2, 4, 3)
        array = numpy.random.default_rng(5).standard_normal(shape).astype("<f4")
        mount.create(name, shape="5, 6, 7", dtype="<f4", chunk_size="2, 4, 3", fillvalue="3")
        mount.write(name, array.tobytes())
        root = self.client.get_object(Bucket=bucket, Key="dataset_root")
        self.assertEqual(root["Body"].read(), b"DosNa Dataset")
        self.assertEqual(root["Metadata"], {"shape": "5::6::7", "dtype": "<f4", "fillvalue": "3",
                                            "chunk-grid": "3::2::3", "chunk-size": "2::4::3"})
        padded = numpy.full([-(-s // c) * c for s, c in zip(shape, chunk)], 3, "<f4")
        padded[:5, :6, :7] = array
        want = {f"{i}.{j}.{k}": padded[2 * i:2 * i + 2, 4 * j:4 * j + 4, 3 * k:3 * k + 3].tobytes()
                for i in range(3) for j in range(2) for k in range(3)}
        self.assertEqual(set(self.keys_of(bucket)), {"dataset_root", *want})
        for key, body in want.items():
            self.assertEqual(self.client.get_object(Bucket=bucket, Key=key)["Body"].read(), body, key)
        subprocess.run(["rm", "-r", mount.file(name)], check=True)
        with self.assertRaises(ClientError) as caught:
            self.client.list_objects_v2(Bucket=bucket)
        self.assertEqual(caught.exception.response["Error"]["Code"], "NoSuchBucket")

    def test_names(self):
        """Spellings that fold to one bucket are one dataset, and a bucket with anything in it is not taken over."""
        mount = self.mount_s3()
        mount.create(self.prefix + "One_Name", shape="4", dtype="|u1")
        self.assertErrno(errno.EEXIST, os.mkdir, mount.file(self.prefix + "one-name"))
        taken = self.prefix + "taken"
        self.client.create_bucket(Bucket=taken)
        self.put(taken, "mine", b"mine")
        self.assertErrno(errno.EEXIST, mount.create, taken, shape="4", dtype="|u1")
        self.assertEqual(self.keys_of(taken), ["mine"])
        for name in ("ab", "-" + self.prefix, "with blank", "a..b", "1.2.3.4", "x" * 64):
            with self.subTest(name):
                self.assertFalse(os.path.exists(mount.file(name)))
                with self.assertRaises(OSError) as caught:
                    mount.create(name, shape="4", dtype="|u1")
                self.assertIn(caught.exception.errno, (errno.EINVAL, errno.ENAMETOOLONG))

    def test_foreign_objects_stay(self):
        bucket = self.dosna_create("mixed", (4,), "|u1", "0", (2,))
        for key in ("0", "1", "77", "-1", "notes.txt", "0.0"):
            self.put(bucket, key, b"ab")
        mount = self.mount_s3()
        subprocess.run(["rm", "-r", mount.file(bucket)], check=True)
        self.assertEqual(self.keys_of(bucket), ["0.0", "notes.txt"])
        self.assertFalse(os.path.exists(mount.file(bucket)))

    def test_others_writes_are_seen(self):
        bucket = self.dosna_create("shared", (4,), "|u1", "0", (4,))
        mount = self.mount_s3()
        for body in (b"abcd", b"efgh", b"abcd"):
            self.put(bucket, "0", body)
            self.assertEqual(mount.read(bucket), body)
        self.assertEqual(mount.read(bucket), b"abcd")
        self.assertGreaterEqual(mount.stat("dosnafs_chunk_unchanged_total"), 1)

    def test_https(self):
        bucket = self.dosna_create("tls", (4,), "|u1", "5", (4,))
        place = self.place["S3_TLS_ENDPOINT"]
        for verify in (self.place["S3_CA"], "false"):
            mount = self.mount_s3(endpoint_url=place, verify=verify)
            mount.write(bucket, b"wxyz")
            self.assertEqual(mount.read(bucket), b"wxyz")
            mount.umount()
        with tempfile.TemporaryDirectory() as folder:
            text = option_text({"backend": "s3", "endpoint_url": place, "verify": "true"})
            done = subprocess.run([BIN, "-o", text, "any", folder], env={**os.environ, **self.keys}, timeout=60,
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn(b"certificate is not trusted", done.stdout)
        self.assertEqual(done.stdout.count(b"\n"), 1)


if __name__ == "__main__":
    unittest.main()
