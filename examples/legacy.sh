#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Programs that know nothing of arrays, on a dataset of a mounted connection:
#
#   legacy.sh MOUNTPOINT/NAME
#
# dd takes a plane out, od prints elements, split cuts planes into files, cmp compares. What is changed is a copy of the
# dataset, NAME-legacy, which is removed again.
set -eu
if [ $# -ne 1 ] || [ ! -f "$1/data" ]; then
    echo 'usage: legacy.sh MOUNTPOINT/NAME' >&2
    exit 2
fi
dataset=${1%/}
data=$dataset/data
copy=$dataset-legacy
if [ -e "$copy" ]; then
    echo "legacy.sh: $copy is there already" >&2
    exit 1
fi
work=$(mktemp -d)
trap 'rm -rf "$work" "$copy"' EXIT
trap 'exit 1' INT TERM

meta() { sed -n "s/^$1 = //p" "$dataset/.meta"; }
say() { printf '\n# %s\n' "$*"; }

itemsize=$(meta itemsize)
nbytes=$(meta nbytes)
planes=$(meta shape | cut -d, -f1)
plane=$((nbytes / planes))
middle=$((planes / 2))

say "dd: plane $middle of $planes, $plane bytes"
dd if="$data" of="$work/plane" bs="$plane" skip="$middle" count=1 status=none
ls -l "$work/plane"

say 'od: its first bytes, by element'
od -A d -t x1 -w"$itemsize" -N $((4 * itemsize)) "$work/plane"

say 'split: each plane is a file; together they are the array'
split -b "$plane" -a 6 -d "$data" "$work/part."
find "$work" -name 'part.*' | wc -l
cat "$work"/part.* | cmp - "$data"
cmp "$work/plane" "$(printf '%s/part.%06d' "$work" "$middle")"

say 'cp: another dataset with the same elements'
cp -r "$dataset" "$copy"
cmp "$data" "$copy/data"

say "dd: one plane of the copy gets plane $middle's bytes, the others stay"
dd if="$work/plane" of="$copy/data" bs="$plane" conv=notrunc status=none
dd if="$copy/data" bs="$plane" count=1 status=none | cmp - "$work/plane"
tail -c +$((plane + 1)) "$data" >"$work/rest"
tail -c +$((plane + 1)) "$copy/data" | cmp - "$work/rest"

say 'cmp: bytes in which they differ now'
cmp -l "$data" "$copy/data" | wc -l
