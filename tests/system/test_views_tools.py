# SPDX-License-Identifier: Apache-2.0
"""Views opened by the tools that they are for, as Debian 12 packages them."""
import functools
import glob
import os
import shutil
import subprocess
import tempfile
import unittest

import numpy

from views import VIEWS, ODD_NAMES, ViewsCase, mounted_name, read, write_at

HERE = os.path.dirname(os.path.abspath(__file__))
SHAPE, CHUNK = (5, 33, 47), (2, 16, 20)
NUMBERS = ("|u1", "|i1", "<u2", ">i2", "<i4", ">u4", "<f4", ">f4", "<f8", ">i8", "<u8")
EXPRESSIONS = ("", "[1:4,::-1,3:40:2]", ".T", ".transpose(1,0,2)[4]")
TIMEOUT = 120


def random_array(dtype, shape=SHAPE, seed=11):
    size = int(numpy.prod(shape))
    values = numpy.random.default_rng(seed).integers(-1 << 62, 1 << 62, size)
    kind = numpy.dtype(dtype)
    return (values.astype("f8") if kind.kind == "f" else values).astype(kind).reshape(shape)


def slice_of(array, expression):
    return numpy.ascontiguousarray(eval("array" + expression, {"array": array}))


class ToolCase(ViewsCase):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(prefix="dosnafs-tools-")
        self.addCleanup(shutil.rmtree, self.folder)

    def run_tool(self, *command, **options):
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT, check=False, cwd=self.folder, **options)
        self.assertEqual(done.returncode, 0, done.stderr.decode(errors="replace"))
        return done

    def each(self, suffix, check, dtypes=NUMBERS, expressions=EXPRESSIONS):
        """check(path, array) for a view of every type and expression."""
        m = self.mount(backend="ram")
        for dtype in dtypes:
            array = random_array(dtype)
            name = "a" + dtype[1:] + ("b" if dtype[0] == ">" else "")
            self.array(m, name, array, CHUNK)
            for expression in expressions:
                with self.subTest(dtype=dtype, expression=expression):
                    check(m.file(*VIEWS, name + expression + suffix), slice_of(array, expression))

    def odd(self, suffix, check):
        """The same for every odd name, with and without a slice."""
        m = self.mount(backend="ram")
        for name in ODD_NAMES:
            array = random_array("<i2", (3, 4, 5), len(name))
            self.array(m, name, array, (2, 2, 2))
            for expression in ("", "[1:,::-1]"):
                with self.subTest(name=name, expression=expression):
                    check(m.file(*VIEWS, mounted_name(name) + expression + suffix), slice_of(array, expression))


class TiffTest(ToolCase):
    def test_tifffile(self):
        import tifffile

        def check(path, array):
            with tifffile.TiffFile(path) as file:
                self.assertEqual(file.is_bigtiff, path.endswith(".btf"))
                if file.is_bigtiff:
                    self.assertEqual(len(file.pages), array.size // array.shape[-1] // array.shape[-2])
                found = file.asarray()
            self.assertEqual((found.shape, found.tobytes()), (array.shape, array.astype(found.dtype).tobytes()))
        self.each(".btf", check, NUMBERS + ("<f2", "<c8", ">c16"))
        self.each(".tif", check, [dtype for dtype in NUMBERS if dtype[2] != "8"])

    def test_libtiff(self):
        import tifffile
        self.need("tiffinfo", "tiffcp")

        def check(path, array):
            info = self.run_tool("tiffinfo", path).stdout.decode()
            self.assertIn(f"Image Width: {array.shape[-1]} Image Length: {array.shape[-2]}", info)
            copy = os.path.join(self.folder, "copy.tif")
            self.run_tool("tiffcp", "-c", "none", path, copy)
            with tifffile.TiffFile(copy) as file:
                pages = numpy.stack([page.asarray() for page in file.pages])
            self.assertTrue((pages.reshape(array.shape) == array).all())
        # A comma in tiffcp's argument would begin a list of directories.
        self.each(".btf", check, ("|u1", "<u2", ">i4", "<f4", ">f8"), ("", "[::-1]", ".T"))

    def test_a_million_planes(self):
        """Far planes of a BigTIFF are computed, not stored."""
        import tifffile
        m = self.mount()
        m.create("a", shape="1000000, 2, 3", dtype="<u2", chunk_size="4096, 2, 3")
        array = numpy.zeros((1000000, 2, 3), "<u2")
        array[999999] = 7
        m.write("a", array.tobytes())
        path = m.file(*VIEWS, "a.btf")
        page = 216
        self.assertEqual(os.path.getsize(path), 4096 + 12000000 + 999999 * page)
        with open(path, "rb") as file:
            file.seek(4096 + 12000000 + 999998 * page)
            last = file.read()
        self.assertEqual(int.from_bytes(last[-8:], "little"), 0)
        self.assertEqual(int.from_bytes(last[8 + 5 * 20 + 12:8 + 6 * 20], "little"), 4096 + 11999988)
        with tifffile.TiffFile(path) as file:
            self.assertEqual(file.pages[2].shape, (2, 3))

    def test_odd_names(self):
        import tifffile
        for suffix in (".btf", ".tif"):
            self.odd(suffix, lambda path, array: self.assertTrue((tifffile.imread(path) == array).all()))


class ImageJTest(ToolCase):
    """`NAME.tif` as a virtual stack, and `data` by Import > Raw; ImageJ writes all pixels out, big-endian."""

    JAR = "/usr/share/java/ij.jar"
    MACRO = """
run("TIFF Virtual Stack...", "open=[{tif}]");
print(getWidth(), getHeight(), nSlices, bitDepth(), is("Virtual Stack"), getValue(3, 4));
saveAs("Raw Data", "{folder}/{i}-tif");
close();
run("Raw...", "open=[{data}] image=[{kind}] width={shape[2]} height={shape[1]} number={shape[0]} {order} use");
print(getWidth(), getHeight(), nSlices, bitDepth(), is("Virtual Stack"), getValue(3, 4));
saveAs("Raw Data", "{folder}/{i}-raw");
close();
"""

    BIG = """
run("TIFF Virtual Stack...", "open=[{tif}]");
print(nSlices, is("Virtual Stack"));
slices = newArray({slices});
for (i = 0; i < slices.length; i++) {{
    setSlice(slices[i]);
    run("Duplicate...", "title=one");
    saveAs("Raw Data", "{folder}/" + slices[i]);
    close();
}}
"""

    def setUp(self):
        super().setUp()
        if not os.path.exists(self.JAR):
            self.skipTest("imagej is not installed")
        self.need("java", "xvfb-run")

    def run_macro(self, macro):
        """What it prints, a list of words a line."""
        path = os.path.join(self.folder, "macro.ijm")
        with open(path, "w", encoding="utf-8") as file:
            file.write(macro)
        done = self.run_tool("xvfb-run", "-a", "java", "-Duser.home=" + self.folder, "-cp", self.JAR, "ij.ImageJ",
                             "-batch", path)
        return [line.split() for line in done.stdout.decode().splitlines() if line.strip()]

    def test_all(self):
        m = self.mount()
        kinds = {"|u1": "8-bit", "<u2": "16-bit Unsigned", ">u2": "16-bit Unsigned", ">f4": "32-bit Real",
                 "<f4": "32-bit Real"}
        macro, want = "", {}
        for i, (dtype, kind) in enumerate(kinds.items()):
            want[i] = random_array(dtype)
            self.array(m, f"a{i}", want[i], CHUNK)
            macro += self.MACRO.format(tif=m.file(*VIEWS, f"a{i}.tif"), data=m.file(f"a{i}", "data"), kind=kind,
                                       shape=SHAPE, order="little-endian" if dtype[0] == "<" else "",
                                       folder=self.folder, i=i)
        lines = self.run_macro(macro)
        for i, array in want.items():
            for way, line in (("tif", lines[2 * i]), ("raw", lines[2 * i + 1])):
                with self.subTest(dtype=array.dtype.str, way=way):
                    self.assertEqual(list(map(int, line[:5])), [47, 33, 5, array.dtype.itemsize * 8, 1])
                    found = read(os.path.join(self.folder, f"{i}-{way}"))
                    self.assertEqual(found, array.astype(array.dtype.newbyteorder(">")).tobytes())

    def test_beyond_4_gib(self):
        """A stack of 11 GiB, of which nothing but a few chunks is stored: ImageJ counts planes in 64 bits."""
        m = self.mount()
        m.create("a", shape="3000, 1024, 2048", dtype="<u2", chunk_size="8, 256, 1024", fillvalue="7")
        self.assertGreater(os.path.getsize(m.file(*VIEWS, "a.tif")), 11 << 30)
        want = {}
        for number in (1, 1025, 1500, 3000):
            want[number] = numpy.full((1024, 2048), 7, "<u2")
            want[number][300:600, 1000:1100] = random_array("<u2", (300, 100), number)
            rows = want[number][300:600].tobytes()
            self.assertEqual(write_at(m.file("a", "data"), rows, ((number - 1) * 1024 + 300) * 4096), len(rows))
        lines = self.run_macro(self.BIG.format(tif=m.file(*VIEWS, "a.tif"), folder=self.folder,
                                               slices=",".join(map(str, want))))
        self.assertEqual(lines[0], ["3000", "1"])
        for number, array in want.items():
            with self.subTest(slice=number):
                self.assertEqual(read(os.path.join(self.folder, str(number))), array.astype(">u2").tobytes())


class ItkTest(ToolCase):
    """ITK's own readers (Debian 12 has no python3-simpleitk, whose reader they are)."""

    @functools.lru_cache(maxsize=None)
    def program(self):
        headers = glob.glob("/usr/include/ITK-*")
        if not headers or not shutil.which("g++"):
            self.skipTest("libinsighttoolkit5-dev is not installed")
        version = headers[0].rsplit("-", 1)[1]
        libraries = ["ITKIOMeta", "ITKIONRRD", "ITKIOImageBase", "ITKCommon", "itksys", "ITKVNLInstantiation"]
        path = os.path.join(self.folder, "itk_read")
        self.run_tool("g++", "-std=c++17", "-w", "-I" + headers[0], os.path.join(HERE, "itk_read.cxx"), "-o", path,
                      *[f"-l{library}-{version}" for library in libraries])
        return path

    def check(self, path, array):
        done = self.run_tool(self.program(), path.rsplit(".", 1)[1], path)
        self.assertEqual(done.stderr.split()[:array.ndim], [b"%d" % n for n in array.shape[::-1]])
        self.assertEqual(done.stdout, array.astype(array.dtype.newbyteorder("=")).tobytes())

    def test_mhd(self):
        self.each(".mhd", self.check)

    def test_nhdr(self):
        self.each(".nhdr", self.check)

    def test_odd_names(self):
        for suffix in (".mhd", ".nhdr"):
            self.odd(suffix, self.check)

    def test_from_the_root(self):
        m = self.mount(views="v")
        array = random_array("<u2")
        self.array(m, "a", array, CHUNK)
        for suffix in (".mhd", ".nhdr"):
            self.check(m.file("v", "a" + suffix), array)


class TeemTest(ToolCase):
    UNU = "teem-unu"

    def check(self, path, array):
        found = self.run_tool(self.UNU, "save", "-f", "nrrd", "-e", "raw", "-i", path, "-o", "-").stdout
        head, data = found.split(b"\n\n", 1)
        self.assertIn(b"sizes: " + b" ".join(b"%d" % n for n in array.shape[::-1]), head)
        order = "<" if b"endian: little" in head else ">"
        self.assertEqual(data, array.astype(array.dtype.newbyteorder(order)).tobytes())

    def test_unu(self):
        self.need(self.UNU)
        self.each(".nhdr", self.check)

    def test_odd_names(self):
        self.need(self.UNU)
        self.odd(".nhdr", self.check)


class NibabelTest(ToolCase):
    def test_nifti(self):
        import nibabel

        def check(path, array):
            image = nibabel.load(path)
            self.assertIsInstance(image, nibabel.Nifti2Image)
            found = numpy.asarray(image.dataobj)
            self.assertEqual(found.shape, array.shape[::-1])
            self.assertTrue(found.dtype == array.dtype and found.T.tobytes() == array.tobytes())
        self.each(".nii", check, NUMBERS + ("<c8", ">c16"))

    def test_ranks(self):
        import nibabel
        m = self.mount()
        for ndim in range(1, 9):
            array = numpy.arange(2 ** ndim, dtype="<i2").reshape((2,) * ndim)
            self.array(m, f"a{ndim}", array, (2,) * ndim)
            path = m.file(*VIEWS, f"a{ndim}.nii")
            self.assertEqual(os.path.exists(path), ndim <= 7)
            if ndim <= 7:
                self.assertTrue((numpy.asarray(nibabel.load(path).dataobj).T == array).all())


class ZarrTest(ToolCase):
    def open(self, path):
        import zarr
        return zarr.open(zarr.DirectoryStore(path), "r") # a path with "::" would mean fsspec's chains

    def check(self, path, array):
        found = self.open(path)
        self.assertEqual((found.shape, found.dtype), (array.shape, array.dtype))
        self.assertTrue((found[:] == array).all())

    def test_types(self):
        self.each(".zarr", self.check)

    def test_odd_names(self):
        self.odd(".zarr", self.check)

    def test_fill_values(self):
        import zarr
        m = self.mount(backend="ram")
        cases = {"<f4": ("nan", "inf", "-inf", "1.5", "1e-20"), "<i8": ("-5",), "|b1": ("True", "False"),
                 "<c8": ("(1+2j)", "nan"), "|S3": ("b'ab'",), "|V3": ("b'abc'",), "<U3": ("0",), "<M8[ns]": ("5", "NaT"),
                 ">u2": ("258",)}
        for dtype, values in cases.items():
            for i, value in enumerate(values):
                name = f"{dtype[1:]}-{i}"
                m.create(name, shape="3", dtype=dtype, chunk_size="2", fillvalue=value)
                with self.subTest(dtype=dtype, value=value):
                    found = zarr.open(m.file(*VIEWS, name + ".zarr"), "r")
                    self.assertEqual(found[:].tobytes(), m.read(name))
                    self.assertEqual(sorted(os.listdir(m.file(*VIEWS, name + ".zarr"))), [".zarray", ".zattrs"])

    def test_group(self):
        """The views directory is a group. Dask reads the array."""
        import dask.array
        import zarr
        m = self.mount(views="v")
        array = random_array("<u2")
        self.array(m, "a", array, CHUNK)
        self.assertEqual(list(zarr.open(m.file("v"), "r").array_keys()), ["a.zarr"])
        lazy = dask.array.from_zarr(m.file("v", "a.zarr"))
        self.assertEqual(lazy.chunksize, CHUNK)
        self.assertEqual(int(lazy.astype("u8").sum().compute()), int(array.astype("u8").sum()))
        self.assertTrue((lazy[1:, ::2].compute() == array[1:, ::2]).all())

    def test_web_server(self):
        """Any web server can serve the directory: what is not stored is its 404."""
        import zarr
        m = self.mount(views="v")
        array = random_array("<u2")
        array[:2] = 0
        self.array(m, "a", array, CHUNK)
        m.create("sparse", shape="5, 33, 47", dtype=">f4", chunk_size="2, 16, 20", fillvalue="nan")
        write_at(m.file("sparse", "data"), b"\x3f\x80\0\0", 4 * 47)
        want = numpy.full(SHAPE, numpy.nan, ">f4")
        want[0, 1, 0] = 1
        with subprocess.Popen(["/usr/bin/python3", "-u", "-m", "http.server", "--bind", "127.0.0.1", "0"],
                              cwd=m.file("v"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as server:
            try:
                # "Serving HTTP on 127.0.0.1 port 4711 ..."
                address = "http://127.0.0.1:" + server.stdout.readline().decode().split(" port ")[1].split()[0]
                self.assertTrue((zarr.open(address + "/a.zarr", "r")[:] == array).all())
                self.assertEqual(zarr.open(address + "/sparse.zarr", "r")[:].tobytes(), want.tobytes())
                self.assertEqual(zarr.open_group(address, "r")["a.zarr"].shape, SHAPE)
            finally:
                server.terminate()

    def test_stored_chunks(self):
        """One request a chunk, the stored object's own bytes, and what is not stored is not there."""
        m = self.mount(backend="ram")
        m.create("a", shape="5, 7", dtype="|u1", chunk_size="4, 4", fillvalue="9")
        with open(m.file("a", "data"), "r+b") as file:
            file.write(bytes(4))
        path = m.file(*VIEWS, "a.zarr")
        self.assertEqual(sorted(os.listdir(path)), [".zarray", ".zattrs", "0.0"])
        before = m.stat("dosnafs_chunk_gets_total")
        with open(os.path.join(path, "0.0"), "rb", buffering=0) as file:
            self.assertEqual(file.read(7) + file.read(100), bytes(4) + bytes([9]) * 12)
        self.assertEqual(m.stat("dosnafs_chunk_gets_total"), before + 1)
        self.assertFalse(os.path.exists(os.path.join(path, "0.1")))
        with open(m.file("a", "data"), "r+b") as file:
            file.seek(4 * 7 + 6)
            file.write(b"\x05")
        self.assertEqual(read(os.path.join(path, "1.1")), b"\x09\x09\x05" + bytes([9]) * 13)


class PngTest(ToolCase):
    def test_preview(self):
        import PIL.Image
        m = self.mount()
        array = numpy.zeros((3, 600, 300), "<i4")
        array[1] = numpy.arange(600)[:, None] - 300
        self.array(m, "a", array, (2, 100, 100))
        path = m.file(*VIEWS, "a.png")
        size = os.path.getsize(path)
        self.assertEqual(len(read(path)), size)
        with PIL.Image.open(path) as image:
            pixels = numpy.asarray(image)
        self.assertEqual(pixels.shape, (200, 100))
        self.assertTrue((pixels[0] == 0).all() and (pixels[-1] == 255).all())
        self.assertTrue((numpy.diff(pixels[:, 5].astype(int)) >= 0).all())

    def test_attributes_fetch_nothing(self):
        """A file manager asks for the size of everything; what is shown in small is computed once."""
        m = self.mount()
        self.array(m, "a", random_array("<u2"), CHUNK)
        m.umount()
        m = self.mount()
        with os.scandir(m.file(*VIEWS)) as entries:
            sizes = {entry.name: entry.stat().st_size for entry in entries}
        self.assertEqual(m.stat("dosnafs_chunk_gets_total"), 0)
        path = m.file(*VIEWS, "a.png")
        first = read(path)
        self.assertEqual(len(first), sizes["a.png"])
        fetched = m.stat("dosnafs_chunk_get_bytes_total"), m.stat("dosnafs_user_read_bytes_total")
        self.assertLess(fetched[0], 2 * 3 * 3 * 2 * 16 * 20 * 2)
        self.assertEqual(read(path), first)
        self.assertEqual((m.stat("dosnafs_chunk_get_bytes_total"), m.stat("dosnafs_user_read_bytes_total")), fetched)

    def test_floats(self):
        import PIL.Image
        m = self.mount()
        array = numpy.array([[numpy.nan, -numpy.inf, -2], [numpy.inf, 0, 2]], ">f8")
        self.array(m, "a", array, (2, 2))
        with PIL.Image.open(m.file(*VIEWS, "a.png")) as image:
            self.assertEqual(numpy.asarray(image).tolist(), [[0, 0, 0], [255, 127, 255]])


if __name__ == "__main__":
    unittest.main()
