# SPDX-License-Identifier: Apache-2.0
"""Connections of the ceph and s3 backends as DosNa lays them out, made and read by python3-rados and python3-boto3.

They have the methods of dosna_pool.Pool:

    pool = CephPool(rados_ioctx)
    pool = S3Pool(boto3_client)                   # all that its user owns
    pool.create("one", (100, 120), "<u2", (32, 32), fill=7)
    pool.store("one", array)

and put(), get() and drop() for single objects, which tests use to leave anything at all in a store.
"""
import ast

import numpy

from dosna_pool import Store

SIGNATURE = b"DosNa Dataset"


class ObjectStore(Store):
    """Both keep a description as five texts, and a chunk as plain bytes."""

    def create(self, name, shape, dtype, chunk_size=None, fill=0):
        chunk_size = chunk_size or shape
        grid = [-(-extent // chunk) for extent, chunk in zip(shape, chunk_size)]
        self.put_root(name, {"shape": join(shape), "dtype": numpy.dtype(dtype).str, "fillvalue": repr(fill),
                             "chunk_grid": join(grid), "chunk_size": join(chunk_size)})

    def describe(self, name):
        """(shape, dtype, chunk_size, fill value)"""
        texts = self.get_root(name)
        return (split(texts["shape"]), numpy.dtype(texts["dtype"]), split(texts["chunk_size"]),
                number(texts["fillvalue"]))

    def write_chunk(self, name, index, chunk, description):
        _, dtype, chunk_size, fill = description
        full = numpy.full(chunk_size, fill, dtype)
        full[tuple(slice(extent) for extent in chunk.shape)] = chunk
        self.put(name, index, full.tobytes())

    def read_chunk(self, name, index, description):
        _, dtype, chunk_size, _ = description
        data = self.get(name, index)
        return None if data is None else numpy.frombuffer(data, dtype).reshape(chunk_size)

    def remove_chunk(self, name, index):
        self.drop(name, index)


class CephPool(ObjectStore):
    def __init__(self, ioctx):
        import rados  # here, so that S3 needs none
        self.ioctx, self.absent = ioctx, rados.ObjectNotFound

    def put_root(self, name, texts):
        self.ioctx.write_full(name, SIGNATURE)
        for key, text in texts.items():
            self.ioctx.set_xattr(name, key, text.encode())

    def get_root(self, name):
        assert self.ioctx.read(name) == SIGNATURE
        return {key: text.decode() for key, text in self.ioctx.get_xattrs(name)}

    @staticmethod
    def key(name, index):
        return f"{name}/{'.'.join(map(str, index))}"

    def put(self, name, index, data):
        self.ioctx.write_full(self.key(name, index), data)

    def get(self, name, index):
        key = self.key(name, index)
        try:
            return self.ioctx.read(key, self.ioctx.stat(key)[0])
        except self.absent:
            return None

    def drop(self, name, index):
        self.ioctx.remove_object(self.key(name, index))

    def objects(self):
        return sorted(found.key for found in self.ioctx.list_objects())

    def names(self):
        """Everything but chunks of datasets that are there."""
        found = self.objects()
        return [key for key in found if key.rpartition("/")[0] not in found]

    def contents(self, name):
        return sum(key.startswith(name + "/") for key in self.objects())

    def remove(self, name):
        for key in self.objects():
            if key == name or key.startswith(name + "/"):
                self.ioctx.remove_object(key)

    def state(self):
        """Every object with its size and time of change, to see that nothing was touched."""
        return {key: self.ioctx.stat(key) for key in self.objects()}


class S3Pool(ObjectStore):
    def __init__(self, client):
        self.client = client

    @staticmethod
    def bucket(name):
        return name.replace("_", "-").lower()

    def put_root(self, name, texts):
        bucket = self.bucket(name)
        self.client.create_bucket(Bucket=bucket)
        self.client.put_object(Bucket=bucket, Key="dataset_root", Body=SIGNATURE,
                               Metadata={key.replace("_", "-"): text for key, text in texts.items()})

    def get_root(self, name):
        answer = self.client.get_object(Bucket=self.bucket(name), Key="dataset_root")
        assert answer["Body"].read() == SIGNATURE
        return {key.replace("-", "_"): text for key, text in answer["Metadata"].items()}

    @staticmethod
    def key(index):
        return ".".join(map(str, index))

    def put(self, name, index, data):
        self.client.put_object(Bucket=self.bucket(name), Key=self.key(index), Body=data)

    def get(self, name, index):
        try:
            answer = self.client.get_object(Bucket=self.bucket(name), Key=self.key(index))
        except self.client.exceptions.NoSuchKey:
            return None
        return answer["Body"].read()

    def drop(self, name, index):
        self.client.delete_object(Bucket=self.bucket(name), Key=self.key(index))

    def objects(self, name):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket(name))
        return [found for page in pages for found in page.get("Contents", [])]

    def names(self):
        """Every bucket."""
        return sorted(bucket["Name"] for bucket in self.client.list_buckets()["Buckets"])

    def contents(self, name):
        return len(self.objects(name)) - 1

    def remove(self, name):
        for found in self.objects(name):
            self.client.delete_object(Bucket=self.bucket(name), Key=found["Key"])
        self.client.delete_bucket(Bucket=self.bucket(name))

    def state(self):
        """Every object with its mark and time of change, to see that nothing was touched."""
        return {(name, found["Key"]): (found["ETag"], found["LastModified"])
                for name in self.names() for found in self.objects(name)}


def join(vector):
    return "::".join(map(str, vector))


def split(text):
    return tuple(map(int, text.split("::")))


def number(text):
    """What repr() wrote, for the fill values that tests use."""
    return float(text) if text in ("nan", "inf", "-inf") else ast.literal_eval(text)
