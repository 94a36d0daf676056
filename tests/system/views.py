# SPDX-License-Identifier: Apache-2.0
"""What the tests of views share."""
import os
import shutil

import mounted

VIEWS = (".dosnafs", "views")
ODD_NAMES = ("plain", "two words", "grüße", "it's \"so\"", "new\nline", "100%d.x", "group/nested.v1", "a[1].T",
             "-x", "LIST", "=3D", " blank ")


class ViewsCase(mounted.MountedCase):
    def array(self, mount, name, array, chunk):
        """Make a dataset of a numpy array."""
        mount.create(mounted_name(name), shape=", ".join(map(str, array.shape)), dtype=array.dtype.str,
                     chunk_size=", ".join(map(str, chunk)))
        mount.write(mounted_name(name), array.tobytes())

    def view(self, mount, name, *parts):
        return mount.file(*VIEWS, mounted_name(name), *parts)

    def need(self, *programs):
        for program in programs:
            if not shutil.which(program):
                self.skipTest(f"{program} is not installed")


def mounted_name(name):
    """The directory entry of a dataset's name (slices may follow)."""
    return name.replace("/", "%2F")


def read(path):
    with open(path, "rb") as file:
        return file.read()


def write_at(path, data, offset):
    file = os.open(path, os.O_WRONLY)
    try:
        return os.pwrite(file, data, offset)
    finally:
        os.close(file)
