#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Takes docs/imagej.png: a plane of a mounted dataset in ImageJ, on a screen that exists in memory alone.
#   sh docs/screenshot.sh [DOSNAFS [PNG]]
# Needs Debian's imagej, xvfb, imagemagick and python3-numpy.
set -eu

dosnafs=${1:-dosnafs}
png=${2:-$(dirname "$0")/imagej.png}
work=$(mktemp -d)
mkdir "$work/pool" "$work/mnt"
trap 'fusermount3 -u "$work/mnt" 2>/dev/null || :; rm -r "$work"' EXIT

"$dosnafs" -o "directory=$work,views=views" pool "$work/mnt"
mkdir "$work/mnt/volume"
printf 'shape = 160, 360, 480\ndtype = <u2\nchunk_size = 32, 64, 64\n' >"$work/mnt/volume/.meta"
/usr/bin/python3 - "$work/mnt/volume/data" <<'END'
import sys
import numpy

# A can of grains: cylinders in a cylinder.
z, y, x = numpy.ogrid[:160, :360, :480]
random = numpy.random.default_rng(4)
volume = numpy.memmap(sys.argv[1], "<u2", "r+", shape=(160, 360, 480))
image = numpy.where(numpy.hypot((y - 180) / 170, (x - 240) / 230) < 1, 9000, 1000) + 0 * z
for _ in range(90):
    centre, radius = random.uniform((0, 40, 50), (160, 320, 430)), random.uniform(8, 30)
    inside = (z - centre[0]) ** 2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2 < radius ** 2
    image[inside] = random.integers(14000, 50000)
volume[:] = image + random.integers(-300, 300, (160, 360, 480))
END

cat >"$work/show.ijm" <<END
views = "$work/mnt/views/";
run("TIFF Virtual Stack...", "open=[" + views + "volume.tif]");
setLocation(10, 85);
setSlice(81);
setMinAndMax(0, 52000);
open(views + "volume[:,180].tif");
setLocation(505, 85);
setMinAndMax(0, 52000);
print("\\\\Clear");
print("$ ls -m views\\n" + exec("ls", "-m", views));
print("$ cat volume/.meta\\n" + File.openAsString("$work/mnt/volume/.meta"));
Table.setLocationAndSize(505, 285, 490, 205, "Log");
wait(1500);
exec("import", "-window", "root", "-colors", "256", "+dither", "$work/screen.png");
run("Quit");
END
xvfb-run -a -s "-screen 0 1005x500x24" java "-Duser.home=$work" -cp /usr/share/java/ij.jar ij.ImageJ -macro "$work/show.ijm"
mv "$work/screen.png" "$png"
