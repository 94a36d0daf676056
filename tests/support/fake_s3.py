# SPDX-License-Identifier: Apache-2.0
"""A small S3 server in memory that can be told to misbehave. It checks no signature: radosgw does that.

    with FakeS3() as server:
        server.url                                  # http://127.0.0.1:PORT
        server.buckets["name"]["key"] = Object(b"bytes", {"shape": "3"})
        server.mischief = lambda request: …         # called first; true: it has answered

A mischief answers with request.answer(), request.raw(), request.reset(); request.method, .bucket, .key, .query and
.headers say what was asked. server.log has every (method, path).
"""
import email.utils
import hashlib
import http.server
import re
import socket
import struct
import threading
import urllib.parse
from xml.sax.saxutils import escape

REASONS = {200: "OK", 204: "No Content", 206: "Partial Content", 304: "Not Modified"}


class Object:
    def __init__(self, body, meta=None):
        self.body, self.meta = body, meta or {}
        self.etag = f'"{hashlib.md5(body).hexdigest()}"'


class Request(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def handle_one_request(self):
        try:
            super().handle_one_request()
        except (ConnectionError, ValueError, OSError):
            self.close_connection = True

    def do_GET(self):
        self.method = self.command
        split = urllib.parse.urlsplit(self.path)
        self.query = dict(urllib.parse.parse_qsl(split.query, keep_blank_values=True))
        self.bucket, _, self.key = split.path[1:].partition("/")
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        server = self.server.fake
        with server.lock:
            server.log.append((self.method, self.path))
            mischief = server.mischief
        if not (mischief and mischief(self)):
            with server.lock:
                self.serve(server)

    do_PUT = do_DELETE = do_POST = do_GET

    # ---- answers

    def raw(self, *parts):
        """Bytes as they are, and the end of the connection."""
        for part in parts:
            self.wfile.write(part)
        self.close_connection = True

    def answer(self, status, body=b"", headers=None, length=None):
        head = {"Content-Length": len(body) if length is None else length, "Date": email.utils.formatdate(usegmt=True),
                **(headers or {})}
        lines = [f"HTTP/1.1 {status} {REASONS.get(status, 'Status')}"] + [f"{k}: {v}" for k, v in head.items()]
        self.wfile.write("\r\n".join(lines + ["", ""]).encode() + (body if self.method != "HEAD" else b""))
        return True

    def xml(self, status, text, headers=None):
        return self.answer(status, ('<?xml version="1.0" encoding="UTF-8"?>' + text).encode(),
                           {"Content-Type": "application/xml", **(headers or {})})

    def error(self, status, code, more="", headers=None):
        return self.xml(status, f"<Error><Code>{code}</Code><Message>it is so</Message>{more}</Error>", headers)

    def reset(self):
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()
        return True

    # ---- a good server

    def serve(self, server):
        objects = server.buckets.get(self.bucket)
        if not self.bucket:
            return self.xml(200, "<ListAllMyBucketsResult><Buckets>" + "".join(
                f"<Bucket><Name>{name}</Name></Bucket>" for name in sorted(server.buckets)) +
                "</Buckets></ListAllMyBucketsResult>")
        if self.method == "PUT" and not self.key:
            server.buckets.setdefault(self.bucket, {})
            return self.answer(200)
        if objects is None:
            return self.error(404, "NoSuchBucket")
        return (self.serve_object if self.key else self.serve_bucket)(server, objects)

    def serve_bucket(self, server, objects):
        if self.method == "DELETE":
            if objects:
                return self.error(409, "BucketNotEmpty")
            del server.buckets[self.bucket]
            return self.answer(204)
        if self.method == "POST":
            for key in re.findall("<Key>(.*?)</Key>", self.body.decode()):
                objects.pop(key, None)
            return self.xml(200, "<DeleteResult></DeleteResult>")
        keys = sorted(key for key in objects if key > self.query.get("continuation-token", ""))
        page = keys[:min(int(self.query.get("max-keys", 1000)), server.page)]
        more = len(page) < len(keys)
        return self.xml(200, "<ListBucketResult>" + f"<IsTruncated>{str(more).lower()}</IsTruncated>" + "".join(
            f"<Contents><Key>{escape(urllib.parse.quote_plus(key))}</Key></Contents>" for key in page) +
            (f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else "") +
            "</ListBucketResult>")

    def serve_object(self, server, objects):
        if self.method == "PUT":
            if self.headers.get("If-None-Match") == "*" and self.key in objects:
                return self.error(412, "PreconditionFailed")
            source = self.headers.get("x-amz-copy-source")
            if source:
                bucket, _, key = source[1:].partition("/")
                copied = server.buckets.get(bucket, {}).get(key)
                if not copied:
                    return self.error(404, "NoSuchKey")
                objects[self.key] = copied
                return self.xml(200, f"<CopyObjectResult><ETag>{escape(copied.etag)}</ETag></CopyObjectResult>")
            meta = {k[11:].lower(): v for k, v in self.headers.items() if k.lower().startswith("x-amz-meta-")}
            found = objects[self.key] = Object(self.body, meta)
            return self.answer(200, headers={"ETag": found.etag})
        if self.method == "DELETE":
            objects.pop(self.key, None)
            return self.answer(204)
        found = objects.get(self.key)
        if not found:
            return self.error(404, "NoSuchKey")
        headers = {"ETag": found.etag, **{f"x-amz-meta-{k}": v for k, v in found.meta.items()}}
        if self.headers.get("If-None-Match") == found.etag:
            return self.answer(304, headers=headers)
        return self.serve_range(found.body, headers)

    def serve_range(self, body, headers):
        if "Range" not in self.headers:
            return self.answer(200, body, headers)
        first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())
        if first >= len(body):
            return self.error(416, "InvalidRange")
        last = min(last, len(body) - 1)
        return self.answer(206, body[first:last + 1], {**headers, "Content-Range": f"bytes {first}-{last}/{len(body)}"})


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128


class FakeS3:
    def __init__(self):
        self.buckets, self.log, self.mischief, self.page = {}, [], None, 1000
        self.lock = threading.Lock()
        self.released = threading.Event()  # for mischief that waits for the end of the test
        self.server = Server(("127.0.0.1", 0), Request)
        self.server.fake = self
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.05,))

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def add_dataset(self, bucket, shape, dtype="|u1", fillvalue="0", chunk_size=None, chunks=None):
        grid = [-(-s // c) for s, c in zip(shape, chunk_size or shape)]
        texts = {"shape": shape, "chunk-grid": grid, "chunk-size": chunk_size or shape}
        meta = {key: "::".join(map(str, vector)) for key, vector in texts.items()}
        meta.update(dtype=dtype, fillvalue=fillvalue)
        self.buckets[bucket] = {"dataset_root": Object(b"DosNa Dataset", meta),
                                **{key: Object(body) for key, body in (chunks or {}).items()}}
