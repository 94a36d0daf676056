# SPDX-License-Identifier: Apache-2.0
"""s3 against a server that misbehaves in every way: the right errno, no hang, nothing invented, and all is well
again when the server is."""
import errno
import os
import re
import subprocess
import tempfile
import unittest

from fake_s3 import FakeS3, Object
from mounted import BIN, MountedCase, option_text

CHUNK = 4096  # a page, so that the kernel asks for one chunk at a time
LARGE, PART = 4 << 20, 1 << 20  # a chunk that a lone reader gets a part of, and the part
SECRET = "the-secret-that-nobody-may-see"
KEYS = {"AWS_ACCESS_KEY_ID": "access", "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_SESSION_TOKEN": ""}
HTML = b"<html><body>Welcome to the captive portal</body></html>" * 4
BOMB = ('<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefghi", "bcdefghij")) + "]><Error><Code>&j;</Code></Error>")


def endless(request):
    request.wfile.write(b"HTTP/1.1 200 OK\r\nETag: \"x\"\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not request.server.fake.released.is_set():
        request.wfile.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")


def trickle(request):
    request.wfile.write(b"HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 4096\r\n\r\n")
    while not request.server.fake.released.wait(0.3):
        request.wfile.write(b"x")


def whole(body=bytes(CHUNK), status=200, etag='"e"'):
    return lambda request: request.answer(status, body, {"ETag": etag} if etag else {})


def part(body=bytes(PART), shift=0, status=206, etag='"e"'):
    """A part, `shift` bytes after the one that was asked for. The kernel asks twice, and then for all of a chunk."""
    def answer(request):
        first = int(re.match(r"bytes=(\d+)-", request.headers.get("Range", "bytes=0-")).group(1)) + shift
        headers = {"Content-Range": f"bytes {first}-{first + min(len(body), PART) - 1}/{LARGE}"}
        return request.answer(status, body, headers | ({"ETag": etag} if etag else {}))
    return answer


MISCHIEFS = {
    "HTML instead of a chunk": (errno.EIO, lambda r: r.answer(200, HTML, {"Content-Type": "text/html"})),
    "HTML as long as a chunk": (errno.EIO, whole(etag=None)),
    "HTML longer than a chunk": (errno.EIO, whole(HTML * 50, etag=None)),
    "HTML with status 404": (errno.EIO, lambda r: r.answer(404, HTML)),
    "nothing with status 404": (errno.EIO, lambda r: r.answer(404)),
    "an XML bomb with status 404": (errno.EIO, lambda r: r.xml(404, BOMB)),
    "half an XML with status 404": (errno.EIO, lambda r: r.xml(404, "<Error><Code>NoSuchKey</Code>")),
    "no HTTP": (errno.EIO, lambda r: r.raw(b"220 ftp ready\r\n") or True),
    "a redirect": (errno.EIO, lambda r: r.answer(301, b"", {"Location": "http://127.0.0.1:1/"})),
    "an endless body": (errno.EIO, lambda r: endless(r) or True),
    "an endless error": (errno.EACCES, lambda r: r.answer(403, bytes(1 << 20))),
    "a body that breaks off": (errno.EIO, lambda r: r.raw(
        b"HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 4096\r\n\r\nshort") or True),
    "a reset": (errno.EIO, lambda r: r.reset()),
    "silence": (errno.ETIMEDOUT, lambda r: r.server.fake.released.wait(60)),
    "a byte now and then": (errno.ETIMEDOUT, lambda r: trickle(r) or True),
    "403": (errno.EACCES, lambda r: r.error(403, "AccessDenied")),
    "clock skew": (errno.EACCES, lambda r: r.error(403, "RequestTimeTooSkewed")),
    "an expired token": (errno.EACCES, lambda r: r.error(400, "ExpiredToken")),
    "500": (errno.EIO, lambda r: r.error(500, "InternalError")),
    "500 that says absent": (errno.EIO, lambda r: r.error(500, "NoSuchKey")),
    "500 that says deleted": (errno.EIO, lambda r: r.error(500, "NoSuchBucket")),
    "503 without a word": (errno.EIO, lambda r: r.answer(503)),
    "a range, unasked": (errno.EIO, whole(status=206)),
    "a short object": (errno.EIO, whole(bytes(10))),
    "an empty object": (errno.EIO, whole(b"")),
    "unchanged, unasked": (errno.EIO, lambda r: r.answer(304)),
    "no bucket any more": (errno.ESTALE, lambda r: r.error(404, "NoSuchBucket")),
}

PART_MISCHIEFS = {
    "HTML as a range": (errno.EIO, part(etag=None)),
    "too much": (errno.EIO, part(bytes(PART + 1))),
    "another range": (errno.EIO, part(shift=1)),
    "no range": (errno.EIO, part(status=200)),
    "a short object": (errno.EIO, part(bytes(10))),
    "an empty object": (errno.EIO, lambda r: r.error(416, "InvalidRange")),
}


class HostileCase(MountedCase):
    def setUp(self):
        super().setUp()
        self.server = FakeS3()
        self.server.__enter__()
        self.addCleanup(self.server.__exit__)

    def mount_s3(self, env=None, **options):
        given = {"backend": "s3", "endpoint_url": self.server.url, "request_timeout": 1, "retries": 1, "prefetch": 0,
                 **options}
        return self.mount(env={**KEYS, **(env or {})}, **given)

    def misbehave(self, mischief, wanted):
        """For requests that `wanted` says so."""
        self.server.mischief = lambda request: wanted(request) and mischief(request)


class Reads(HostileCase):
    def check(self, mischiefs, size, places=(0,)):
        """Each at a chunk of its own, which is whole again afterwards. `places` in the chunks are read in turn."""
        chunks = {str(i): bytes([i + 1]) * size for i in range(len(mischiefs))}
        self.server.add_dataset("set", [size * len(chunks)], chunk_size=[size], chunks=chunks)
        mount = self.mount_s3()
        with open(mount.file("set", "data"), "rb", buffering=0) as file:
            for i, (what, (number, mischief)) in enumerate(mischiefs.items()):
                place = i * size + places[i % len(places)]
                with self.subTest(what):
                    self.misbehave(mischief, lambda r, key=str(i): r.key == key)
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
                    self.assertErrno(number, os.pread, file.fileno(), CHUNK, place)
                    self.server.mischief = None
                    self.assertEqual(os.pread(file.fileno(), CHUNK, place), chunks[str(i)][:CHUNK])
        self.assertNotIn(SECRET, mount.log())

    def test_chunks(self):
        self.check(MISCHIEFS, CHUNK)

    def test_parts_of_chunks(self):
        self.check(PART_MISCHIEFS, LARGE, [PART, 3 * PART])  # no stride: that would ask for all of each chunk

    def test_ranges(self):
        """They are named for parts of chunks alone."""
        asked = {}
        self.misbehave(lambda r: asked.update({r.bucket: r.headers.get("Range")}), lambda r: r.key == "0")
        mount = self.mount_s3()
        for name, size, place in (("small", CHUNK, 0), ("large", LARGE, PART)):
            self.server.add_dataset(name, [size], chunk_size=[size], chunks={"0": b"x" * size})
            with open(mount.file(name, "data"), "rb", buffering=0) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_RANDOM)
                self.assertEqual(os.pread(file.fileno(), CHUNK, place), b"x" * CHUNK)
        self.assertEqual(asked, {"small": None, "large": f"bytes={PART}-{2 * PART - 1}"})

    def test_long_objects(self):
        """A chunk is read as far as it goes, and so is the next one."""
        self.server.add_dataset("set", [2 * CHUNK], chunk_size=[CHUNK],
                                chunks={"0": b"a" * CHUNK + b"b" * (8 << 20), "1": b"c" * CHUNK})
        self.assertEqual(self.mount_s3().read("set"), b"a" * CHUNK + b"c" * CHUNK)

    def test_absent_is_absent(self):
        self.server.add_dataset("set", [CHUNK], fillvalue="7")
        self.assertEqual(self.mount_s3().read("set"), b"\7" * CHUNK)

    def test_retry_after(self):
        self.server.add_dataset("set", [CHUNK], chunks={"0": b"x" * CHUNK})
        mount = self.mount_s3(request_timeout=10)
        refused = []

        def once(request):
            if not refused:
                refused.append(1)
                return request.error(503, "SlowDown", headers={"Retry-After": "1"})
        self.misbehave(once, lambda r: r.key == "0")
        self.assertEqual(mount.read("set"), b"x" * CHUNK)
        self.assertEqual(mount.stat("dosnafs_retries_total"), 1)

    def test_long_marks(self):
        """An ETag that is too long to be kept is none: the chunk is read again."""
        self.server.add_dataset("set", [CHUNK])
        mount = self.mount_s3(cache="never")
        for byte in (b"a", b"b"):
            self.misbehave(whole(byte * CHUNK, etag=f'"{"e" * 200}"'), lambda r: r.key == "0")
            self.assertEqual(mount.read("set"), byte * CHUNK)

    def test_unchanged(self):
        """"Unchanged" is believed of the mark that was asked about, and of no other."""
        self.server.add_dataset("set", [CHUNK], chunks={"0": b"x" * CHUNK})
        mount = self.mount_s3(cache="never")
        mount.read("set")
        self.assertEqual(mount.read("set"), b"x" * CHUNK)
        self.assertEqual(mount.stat("dosnafs_chunk_unchanged_total"), 1)
        self.misbehave(lambda r: r.answer(304, headers={"ETag": '"other"'}), lambda r: r.key == "0")
        self.assertErrno(errno.EIO, mount.read, "set")


class Writes(HostileCase):
    def test_writes(self):
        """fsync says why; the data stay, and are stored when the server takes them."""
        cases = {
            "AccessDenied": (errno.EACCES, lambda r: r.error(403, "AccessDenied")),
            "QuotaExceeded": (errno.EDQUOT, lambda r: r.error(403, "QuotaExceeded")),
            "full": (errno.ENOSPC, lambda r: r.answer(507)),
            "HTML": (errno.EIO, lambda r: r.answer(200, HTML)),
            "reset": (errno.EIO, lambda r: r.reset()),
            "silence": (errno.ETIMEDOUT, lambda r: r.server.fake.released.wait(60)),
            "no bucket": (errno.ESTALE, lambda r: r.error(404, "NoSuchBucket")),
        }
        self.server.add_dataset("set", [CHUNK])
        mount = self.mount_s3()
        with open(mount.file("set", "data"), "r+b", buffering=0) as file:
            for i, (what, (number, mischief)) in enumerate(cases.items()):
                with self.subTest(what):
                    self.misbehave(mischief, lambda r: r.method == "PUT" and r.key == "0")
                    os.pwrite(file.fileno(), bytes([i]) * CHUNK, 0)
                    self.assertErrno(number, os.fsync, file.fileno())
                    self.server.mischief = None
                    os.fsync(file.fileno())
                    self.assertEqual(self.server.buckets["set"]["0"].body, bytes([i]) * CHUNK)

    def test_half_made(self):
        """A creation that fails leaves nothing, and works when tried again."""
        mount = self.mount_s3(retries=0)
        self.misbehave(lambda r: r.error(503, "SlowDown"), lambda r: r.method == "PUT" and r.key == "dataset_root")
        with self.assertRaises(OSError):
            mount.create("new", shape="4", dtype="|u1")
        self.assertEqual(self.server.buckets, {})
        self.misbehave(lambda r: r.error(503, "SlowDown"),
                       lambda r: r.key == "dataset_root" or (r.method == "DELETE" and not r.key))
        os.rmdir(mount.file("new"))
        self.server.mischief = None
        mount.create("new", shape="4", dtype="|u1")
        self.assertEqual(self.server.buckets["new"]["dataset_root"].meta["shape"], "4")


class Listings(HostileCase):
    def test_pages(self):
        """Many pages; what is not a chunk of the dataset is left alone, and the bucket with it."""
        mount = self.mount_s3()
        self.server.page = 3
        chunks = {f"{i}.{j}": b"x" for i in range(4) for j in range(4)}
        others = {key: b"mine" for key in ("0.0.0", "1", "00.1", "a b/\u00e4+&<", "1.x", "+1.0", "-0.1", "1.1.", "")
                  if key}
        strays = {"-1.0": b"s", "9.9": b"s", "99999999999999999999999.0": b"s"}
        self.server.add_dataset("set", [8, 8], chunk_size=[2, 2], chunks={**chunks, **others, **strays})
        before = len(self.server.log)
        subprocess.run(["rm", "-r", mount.file("set")], check=True)
        self.assertEqual(set(self.server.buckets["set"]), set(others))
        deletes = [method for method, path in self.server.log[before:] if method == "DELETE"]
        self.assertLessEqual(len(deletes), 2)  # the root and the bucket; the chunks went by POST
        self.assertEqual(os.listdir(mount.path), [])

    def test_keys_with_blanks(self):
        """In a listing a blank is "+", which is no character of the key: one key sorts before the other."""
        self.server.page = 1
        self.server.add_dataset("set", [2], chunk_size=[1], chunks={"0": b"x", "a a": b"", "a!a": b"", "a+a": b""})
        mount = self.mount_s3()
        subprocess.run(["rm", "-r", mount.file("set")], check=True)
        self.assertEqual(set(self.server.buckets["set"]), {"a a", "a!a", "a+a"})

    def test_key_with_nul(self):
        """It is not the chunk that its beginning names."""
        self.server.add_dataset("set", [2], chunk_size=[1], chunks={"0\0foreign": b""})
        os.rmdir(self.mount_s3().file("set"))  # which a stored chunk would refuse
        self.assertEqual(set(self.server.buckets["set"]), {"0\0foreign"})

    def test_bucket_that_seems_empty(self):
        """A page may be empty and not the last one: no dataset is made in somebody's bucket."""
        self.server.buckets["set"] = {"mine": Object(b"")}
        mount = self.mount_s3()
        self.misbehave(lambda r: r.xml(200, "<ListBucketResult><IsTruncated>true</IsTruncated>"
                                            "<NextContinuationToken>on</NextContinuationToken></ListBucketResult>"),
                       lambda r: r.bucket == "set" and r.query.get("max-keys") == "1")
        with self.assertRaises(OSError):
            mount.create("set", shape="4", dtype="|u1")
        self.assertEqual(set(self.server.buckets["set"]), {"mine"})

    def test_which_are_datasets(self):
        for i in range(40):
            self.server.add_dataset(f"set-{i}", [4])
        self.server.buckets["foreign"] = {"dataset_root": Object(b"something else that is longer")}
        self.server.buckets["empty-root"] = {"dataset_root": Object(b"")}
        self.server.buckets["empty"] = {}
        self.server.buckets["Under_Score"] = {"dataset_root": Object(b"DosNa Dataset")}
        self.server.add_dataset("forbidden", [4])
        self.misbehave(lambda r: r.error(403, "AccessDenied"), lambda r: r.bucket == "forbidden")
        mount = self.mount_s3()
        for _ in range(3):
            self.assertEqual(sorted(os.listdir(mount.path)), sorted(f"set-{i}" for i in range(40)))
        roots = [path for method, path in self.server.log if path == "/set-7/dataset_root"]
        self.assertLessEqual(len(roots), 2)
        self.assertErrno(errno.EACCES, os.stat, mount.file("forbidden"))

    def test_bad_listings(self):
        """Of buckets and of objects."""
        self.server.add_dataset("set", [4])
        bucket = "<Buckets><Bucket><Name>set</Name></Bucket></Buckets><ContinuationToken>on</ContinuationToken>"
        cases = {
            "a circle": lambda r: r.xml(200, f"<ListAllMyBucketsResult>{bucket}</ListAllMyBucketsResult>"),
            "a circle of names longer than any": lambda r: r.xml(
                200, f"<ListAllMyBucketsResult>{bucket.replace('set', 'x' * 2000)}</ListAllMyBucketsResult>"),
            "empty pages": lambda r: r.xml(200, "<ListAllMyBucketsResult><ContinuationToken>on</ContinuationToken>"
                                                "</ListAllMyBucketsResult>"),
            "HTML": lambda r: r.answer(200, HTML),
            "another listing": lambda r: r.xml(200, "<ListBucketResult></ListBucketResult>"),
            "a bomb": lambda r: r.xml(200, BOMB),
            "too deep": lambda r: r.xml(200, "<a>" * 1000),
            "a long name": lambda r: r.xml(200, f"<ListAllMyBucketsResult>{'x' * 100000}</ListAllMyBucketsResult>"),
            "an endless one": lambda r: endless_listing(r) or True,
        }
        mount = self.mount_s3(request_timeout=20)
        for what, mischief in cases.items():
            with self.subTest(what):
                self.misbehave(mischief, lambda r: not r.bucket)
                self.assertErrno(errno.EIO, os.listdir, mount.path)
        self.server.mischief = None
        self.assertEqual(os.listdir(mount.path), ["set"])


def endless_listing(request):
    request.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not request.server.fake.released.is_set():
        request.wfile.write(b"100000\r\n" + b" " * 0x100000 + b"\r\n")


class Connecting(HostileCase):
    def refused(self, mischief, env=None, **options):
        """The one line that a mount ends with."""
        self.server.mischief = mischief
        text = option_text({"backend": "s3", "endpoint_url": self.server.url, "request_timeout": 1, **options})
        done = subprocess.run([BIN, "-o", text, "any", tempfile.gettempdir()], env={**os.environ, **KEYS, **(env or {})},
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60, check=False)
        line = done.stdout.decode()
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(line.count("\n"), 1, line)
        self.assertNotIn(SECRET, line)
        return line

    def test_refusals(self):
        for what, mischief in {
                "no S3 server": lambda r: r.answer(200, HTML),
                "404": lambda r: r.answer(404, HTML),
                "captive.portal": lambda r: r.answer(302, b"", {"Location": "http://captive.portal/login"}),
                "region=eu-west-3": lambda r: r.error(400, "AuthorizationHeaderMalformed", "<Region>eu-west-3</Region>"),
                "region=eu-west-9": lambda r: r.answer(301, b"", {"x-amz-bucket-region": "eu-west-9"}),
                "clock": lambda r: r.error(403, "RequestTimeTooSkewed"),
                "expired": lambda r: r.error(400, "ExpiredToken"),
                "503": lambda r: r.answer(503),
                "in time": lambda r: r.server.fake.released.wait(60),
        }.items():
            with self.subTest(what):
                self.assertIn(what, self.refused(mischief))

    def test_control_characters_stay_out_of_the_log(self):
        line = self.refused(lambda r: r.error(403, "Bad\tCode"))
        self.assertIn("Bad?Code", line)

    def test_may_not_list(self):
        """Who may not list the buckets can use those that he knows."""
        self.server.add_dataset("set", [CHUNK], fillvalue="3")
        self.misbehave(lambda r: r.error(403, "AccessDenied"), lambda r: not r.bucket)
        mount = self.mount_s3()
        self.assertErrno(errno.EACCES, os.listdir, mount.path)
        self.assertEqual(mount.read("set"), b"\3" * CHUNK)


class Credentials(HostileCase):
    """Keys in files, which somebody else replaces while the mount is there."""

    def write_keys(self, token, profile="default"):
        text = f"[{profile}]\naws_access_key_id = access\naws_secret_access_key = {SECRET}\naws_session_token = {token}\n"
        path = os.path.join(self.pool.directory, "credentials")
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.rename(path + ".new", path)
        return {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SHARED_CREDENTIALS_FILE": path,
                "AWS_CONFIG_FILE": "/nowhere"}

    def accept(self, token):
        def check(request):
            if request.headers.get("x-amz-security-token") != token:
                return request.error(400, "ExpiredToken")
        self.server.mischief = check

    def test_rotation(self):
        tokens = ["first" + "t" * 1500, "second" + "t" * 1500]
        self.server.add_dataset("set", [CHUNK], chunks={"0": b"x" * CHUNK})
        self.accept(tokens[0])
        mount = self.mount_s3(self.write_keys(tokens[0]), cache="never")
        self.assertEqual(mount.read("set"), b"x" * CHUNK)
        self.accept(tokens[1])
        self.assertErrno(errno.EACCES, mount.read, "set")
        self.write_keys(tokens[1])
        self.assertEqual(mount.read("set"), b"x" * CHUNK)

    def test_profile(self):
        """A profile that is named is meant, whatever the environment says."""
        self.accept("of-the-profile")
        env = {**self.write_keys("of-the-profile", "mine"), "AWS_ACCESS_KEY_ID": "access",
               "AWS_SECRET_ACCESS_KEY": "another"}
        self.mount_s3(env, profile_name="mine")


if __name__ == "__main__":
    unittest.main()
