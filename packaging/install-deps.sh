#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that are missing, and does nothing when none is:
#   sh packaging/install-deps.sh build|test
set -eu

build='build-essential cmake ninja-build pkg-config file libfuse3-dev fuse3 libhdf5-dev libinih-dev
       libcmocka-dev uthash-dev libpng-dev libtiff-dev libopenmpi-dev python3-numpy
       librados-dev libcurl4-openssl-dev libexpat1-dev libssl-dev'
test="$build python3-h5py python3-zarr attr rsync openmpi-bin zsh
      ceph-mon ceph-osd ceph-mgr radosgw ceph-common openssl python3-rados python3-boto3
      python3-aiohttp python3-dask python3-fsspec python3-nibabel python3-pil python3-scipy python3-tifffile libtiff-tools teem-apps
      imagej xauth xvfb libinsighttoolkit5-dev
      debootstrap lintian man-db rpm"

case ${1-} in
build) wanted=$build ;;
test) wanted=$test ;;
*)
    echo "usage: $0 build|test" >&2
    exit 2
    ;;
esac

if ! command -v dpkg-query >/dev/null; then
    echo "$0: this is no Debian; what is needed is called there: $wanted" >&2
    exit 0
fi

missing=
for package in $wanted; do
    case $(dpkg-query -W -f='${Status}' "$package" 2>/dev/null) in
    *' installed') ;;
    *) missing="$missing $package" ;;
    esac
done
[ -n "$missing" ] || exit 0

sudo=
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "$0: run this as root: apt-get install$missing" >&2
        exit 1
    fi
    sudo=sudo
fi
echo "Installing$missing"
$sudo apt-get update -q
# shellcheck disable=SC2086  # a list of words
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $missing
