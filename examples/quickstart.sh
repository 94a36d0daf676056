#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# From nothing to a mounted array: installs what is missing, builds, mounts a connection, and reads it
# with numpy.memmap and with dd.
#
#   sh examples/quickstart.sh                 makes a connection of its own, and removes it again
#   sh examples/quickstart.sh [--keep] POOL   takes the folder POOL, a DosNa connection of the hdf5
#                                             backend, and only reads; --keep leaves it mounted
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)

keep=
pool=
for arg; do
    case $arg in
    -h | --help)
        sed -n 's/^# \{0,1\}//; 3,/^set/{/^set/d;p}' "$0"
        exit 0
        ;;
    --keep) keep=yes ;;
    -*)
        echo "quickstart.sh: unknown option $arg" >&2
        exit 2
        ;;
    *) pool=$arg ;;
    esac
done
if [ -n "$pool" ]; then
    pool=$(cd "$pool" && pwd)
fi

say() { printf '\n# %s\n' "$*"; }

# Show a command as it would be typed, then run it.
run() {
    printf '$ %s\n' "$*"
    sh -c "$*"
}

say 'Install what is missing, and build'
sh "$top/packaging/install-deps.sh" build
cd "$top"
cmake --preset release >/dev/null
cmake --build --preset release --target dosnafs
PATH=$top/build/release/src/fs:$PATH
if [ ! -e /dev/fuse ]; then
    echo 'quickstart.sh: no /dev/fuse here. A container needs --device /dev/fuse --cap-add SYS_ADMIN.' >&2
    exit 1
fi

work=$(mktemp -d)
mnt=$work/mnt
mkdir "$mnt"
cleanup() {
    if mountpoint -q "$mnt"; then
        fusermount3 -u "$mnt"
    fi
    rm -rf "$work"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

made=
if [ -z "$pool" ]; then
    made=yes
    pool=$work/pool
    mkdir "$pool"
fi

say 'Mount it'
run "dosnafs -o 'directory=$(dirname "$pool")' '$(basename "$pool")' $mnt"

if [ -n "$made" ]; then
    say 'Make a dataset: a directory, its description, then any program that writes its data'
    run "mkdir $mnt/volume"
    run "printf 'shape = 100, 120, 140\ndtype = <u2\nchunk_size = 32, 32, 32\n' > $mnt/volume/.meta"
    run "/usr/bin/python3 -c '
import numpy
a = numpy.memmap(\"$mnt/volume/data\", \"<u2\", \"r+\", shape=(100, 120, 140))
a[:] = numpy.add.outer(numpy.arange(100) * 100, numpy.add.outer(numpy.arange(120), numpy.arange(140)))
a.flush()'"
fi

say 'What is there'
run "ls $mnt"
name=
for data in "$mnt"/*/data; do
    if [ -f "$data" ]; then
        name=$(basename "$(dirname "$data")")
        break
    fi
done
if [ -z "$name" ]; then
    echo 'quickstart.sh: the connection holds no dataset' >&2
    exit 1
fi
run "ls -lA $mnt/$name"
run "cat $mnt/$name/.meta"

say 'numpy.memmap reads it, through the middle of the first axis'
printf '$ python3, numpy.memmap("%s/data")\n' "$mnt/$name"
/usr/bin/python3 - "$mnt/$name" <<'PYTHON'
import sys
import numpy

folder = sys.argv[1]
meta = dict(line.rstrip("\n").split(" = ", 1) for line in open(folder + "/.meta") if " = " in line)
shape = tuple(int(extent) for extent in meta["shape"].split(","))
array = numpy.memmap(folder + "/data", dtype=meta["dtype"], mode="r", shape=shape)
print(array[shape[0] // 2])
PYTHON

say 'dd reads the same bytes'
run "dd if=$mnt/$name/data bs=1M | sha256sum"

if [ -n "$made" ]; then
    say 'In the store they are chunks, as DosNa keeps them'
    run "ls $pool/volume | head -n 4"
fi

if [ -n "$keep" ]; then
    trap - EXIT
    say "Left mounted at $mnt. Unmount it with"
    printf '$ fusermount3 -u %s\n' "$mnt"
else
    say 'Unmount it: this returns once all data are stored'
    run "fusermount3 -u $mnt"
fi
