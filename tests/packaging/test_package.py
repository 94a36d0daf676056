# SPDX-License-Identifier: Apache-2.0
"""What is in the packages, as Debian and RPM look at it; the man pages; and libdosna as another program's library."""
import glob
import os
import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from packages import BUILD, CMAKE, PACKAGES, SOURCE, STAGE, deb, has_backend, run

LIBDIR = next(STAGE.glob("usr/lib/**/libdosna.so.0"), STAGE).parent
MODULES = [name for name in ("ceph", "s3") if has_backend(name)]
ENVIRONMENT = {**os.environ, "LD_LIBRARY_PATH": str(LIBDIR)}


def needs(tool):
    return unittest.skipUnless(shutil.which(tool), f"{tool} is not installed")


@unittest.skipUnless(STAGE.exists(), "no packages were built")
class PackageCase(unittest.TestCase):
    pass


class Debian(PackageCase):
    @needs("lintian")
    def test_lintian(self):
        root = ["--allow-root"] if os.geteuid() == 0 else []
        said = run("lintian", *root, "--fail-on", "error,warning", *sorted(BUILD.glob("*.deb")))
        self.assertNotIn("E: ", said)

    def test_every_package_is_there(self):
        wanted = set(PACKAGES) | {f"dosnafs-backend-{name}" for name in MODULES}
        self.assertEqual({path.name.split("_")[0] for path in BUILD.glob("*.deb")}, wanted)

    def test_no_heavy_library_without_its_backend(self):
        for name in PACKAGES:
            self.assertNotRegex(run("dpkg-deb", "-f", deb(name), "Depends"), "librados|libcurl|libexpat")

    def test_settings_are_a_conffile(self):
        self.assertIn("/etc/dosnafs.conf", run("dpkg-deb", "-I", deb("dosnafs"), "conffiles"))

    def test_no_fault_backend(self):
        shown = run(STAGE / "usr/bin/dosnafs", "-h", env=ENVIRONMENT)
        self.assertIn("[hdf5]", shown)
        self.assertNotIn("[fault]", shown)


class Rpm(PackageCase):
    def listed(self, name):
        found = [path for path in BUILD.glob(f"{name}-[0-9]*.rpm")]
        self.assertEqual(len(found), 1, name)
        return set(run("rpm", "-qlp", found[0]).split()), found[0]

    @needs("rpm")
    def test_contents(self):
        lib = "/" + str(LIBDIR.relative_to(STAGE))
        wanted = {
            "dosnafs": {"/usr/bin/dosnafs", "/sbin/mount.dosnafs", "/etc/dosnafs.conf",
                        "/usr/lib/systemd/system/dosnafs@.service", "/usr/share/man/man8/dosnafs.8.gz",
                        "/usr/share/man/man8/mount.dosnafs.8.gz", "/usr/share/man/man5/dosnafs.conf.5.gz"},
            "dosna": {"/usr/bin/dosna", "/usr/share/man/man1/dosna.1.gz",
                      "/usr/share/bash-completion/completions/dosna", "/usr/share/zsh/site-functions/_dosna"},
            "libdosna": {f"{lib}/libdosna.so.0"},
            "libdosna-devel": {"/usr/include/dosna/dosna.h", f"{lib}/libdosna.so", f"{lib}/pkgconfig/dosna.pc",
                               f"{lib}/cmake/dosna/dosna-config.cmake", "/usr/share/man/man3/libdosna.3.gz"},
            **{f"dosnafs-backend-{name}": {f"{lib}/dosna/dosna-backend-{name}.so"} for name in MODULES},
        }
        self.assertEqual({path.name.rsplit("-", 2)[0] for path in BUILD.glob("*.rpm")}, set(wanted))
        for name, files in wanted.items():
            is_there, _ = self.listed(name)
            self.assertLessEqual(files, is_there, name)
            self.assertFalse({path for path in is_there if "lintian" in path or "fault" in path})

    @needs("rpm")
    def test_settings(self):
        _, path = self.listed("dosnafs")
        self.assertEqual(run("rpm", "-qcp", path).strip(), "/etc/dosnafs.conf")


class ManPages(PackageCase):
    @needs("man")
    def test_warnings(self):
        for page in sorted((SOURCE / "man").iterdir()):
            with self.subTest(page=page.name):
                said = run("man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", page,
                           env={**os.environ, "LC_ALL": "C.UTF-8", "MANROFFSEQ": "", "MANWIDTH": "80"})
                self.assertTrue(said.startswith("x T"), said[:400])

    def test_every_setting(self):
        """dosnafs.conf(5) has every key of `dosnafs -h` in its section, with its default, and no other."""
        shown = run(STAGE / "usr/bin/dosnafs", "-h", env=ENVIRONMENT)
        page = (SOURCE / "man/dosnafs.conf.5").read_text(encoding="utf-8").replace("\\-", "-")

        def settings(text, heading, row):
            parts = re.split(heading, text, flags=re.M)[1:]
            return {(section, key, value) for section, body in zip(parts[::2], parts[1::2])
                    for key, value in re.findall(row, body, flags=re.M)}

        wanted = settings(shown, r"^\[(\w+)\]$", r"^  (\w+) .*\(default: (\S+)\)$")
        self.assertGreater(len(wanted), 20)
        self.assertEqual(settings(page, r"^\.Sh \[(\w+)\]$", r"Cm (\w+) Bq (\S+)"), wanted)

    def test_every_command(self):
        """dosna(1) has every command of `dosna --help`, and every option of each."""
        program = STAGE / "usr/bin/dosna"
        page = (SOURCE / "man/dosna.1").read_text(encoding="utf-8")
        self.longMessage = False
        commands = re.findall(r"^  (\w+) ", run(program, "--help", env=ENVIRONMENT).split("\n\n")[1], flags=re.M)
        self.assertGreater(len(commands), 10)
        for command in commands:
            self.assertRegex(page, rf"(?m)^\.It Cm {command}\b")
        for command in [[]] + [[command] for command in commands]:
            for option in re.findall(r"--[a-z][a-z-]*", run(program, *command, "--help", env=ENVIRONMENT)):
                self.assertRegex(page, rf"(Fl|\|) {option[1:]}\b", f"{command}: no {option}")


class Library(PackageCase):
    """examples/read_slab.c, built against what was installed, reads a dataset of the fixtures."""

    def setUp(self):
        self.folder = Path(tempfile.mkdtemp(prefix="dosna-package-"))
        self.addCleanup(shutil.rmtree, self.folder)
        shutil.copy(SOURCE / "examples/read_slab.c", self.folder)

    def check(self, program):
        import numpy
        wanted = numpy.load(SOURCE / "tests/data/u2_3d_even.npy")
        done = subprocess.run([program, "-o", f"directory={SOURCE}/tests/data", "pool", "u2_3d_even", ",,"],
                              stdout=subprocess.PIPE, check=True, env=ENVIRONMENT)
        self.assertEqual(done.stdout, wanted.tobytes())

    @needs("pkg-config")
    def test_pkg_config(self):
        flags = run("pkg-config", "--cflags", "--libs", "dosna", env={
            **os.environ, "PKG_CONFIG_SYSROOT_DIR": str(STAGE),
            "PKG_CONFIG_PATH": str(LIBDIR / "pkgconfig"), "PKG_CONFIG_ALLOW_SYSTEM_LIBS": "1",
            "PKG_CONFIG_ALLOW_SYSTEM_CFLAGS": "1"}).split()
        self.assertIn(f"-I{STAGE}/usr/include", flags)
        run("cc", "-o", "read_slab", "read_slab.c", *flags, cwd=self.folder)
        self.check(self.folder / "read_slab")

    def test_find_package(self):
        (self.folder / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.16)\nproject(user LANGUAGES C)\n"
            "find_package(dosna 0.1 REQUIRED)\nadd_executable(read_slab read_slab.c)\n"
            "target_link_libraries(read_slab PRIVATE dosna::dosna)\n", encoding="utf-8")
        run(CMAKE, "-S", self.folder, "-B", self.folder / "b", f"-DCMAKE_PREFIX_PATH={STAGE}/usr")
        run(CMAKE, "--build", self.folder / "b")
        self.check(self.folder / "b/read_slab")

    def test_headers_stand_alone(self):
        for header in glob.glob(f"{STAGE}/usr/include/dosna/*.h"):
            for language in ("c", "c++"):
                with self.subTest(header=header, language=language):
                    run("cc", "-fsyntax-only", "-Wall", "-Wextra", "-Werror", "-x", language,
                        f"-I{STAGE}/usr/include", header)


@unittest.skipUnless(MODULES, "built without modules")
class Modules(PackageCase):
    """The installed library finds its modules beside itself, wherever that is."""

    def mount(self, backend, options):
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run([STAGE / "usr/bin/dosnafs", "-o", f"backend={backend},{options}", "pool", folder],
                                  stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                                  env=ENVIRONMENT, timeout=60)
        self.assertEqual(done.returncode, 1, done.stdout)
        return done.stdout

    def test_present(self):
        for backend, options in (("ceph", "conffile=/nowhere.conf"), ("s3", "endpoint_url=nonsense://x")):
            if backend in MODULES:
                said = self.mount(backend, options)
                self.assertRegex(said, "nowhere.conf|endpoint_url|credentials")
                self.assertNotIn("not installed", said)

    def test_absent(self):
        for backend in MODULES:
            module = LIBDIR / f"dosna/dosna-backend-{backend}.so"
            module.rename(module.with_suffix(".away"))
            try:
                said = self.mount(backend, "njobs=2")
            finally:
                module.with_suffix(".away").rename(module)
            self.assertEqual(said, f"dosnafs: backend {backend} is not installed: install dosnafs-backend-{backend}\n")


class Unit(PackageCase):
    @needs("systemd-analyze")
    def test_systemd(self):
        """The template is one that systemd reads without a complaint."""
        with tempfile.TemporaryDirectory() as folder:
            unit = Path(folder) / "dosnafs@pool.service"
            text = (STAGE / "usr/lib/systemd/system/dosnafs@.service").read_text(encoding="utf-8")
            unit.write_text(text.replace("/usr/bin/dosnafs", str(STAGE / "usr/bin/dosnafs")), encoding="utf-8")
            said = run("systemd-analyze", "verify", "--man=no", unit)
        self.assertEqual([line for line in said.splitlines() if "dosnafs" in line], [])


if __name__ == "__main__":
    unittest.main()
