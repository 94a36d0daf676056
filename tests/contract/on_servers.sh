#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The contract suite on the test cluster: on_servers.sh PROGRAM [fault_]ceph|[fault_]s3
set -eu

if [ ! -s "${DOSNA_TEST_S3-}" ]; then
    cat "${DOSNA_TEST_CEPH-}/missing" 2>/dev/null || echo 'no test cluster'
    exit 77
fi
set -a
# shellcheck disable=SC1090
. "$DOSNA_TEST_S3"
set +a
store=${2#fault_}
case $store in
ceph) options=conffile=$DOSNA_TEST_CEPH/ceph.conf ;;
s3) options=endpoint_url=$S3_ENDPOINT ;;
esac
case $2 in
fault_*) set -- "$1" --backend fault --connection-options "inner=$store" "inner_options=$options" ;;
*) set -- "$1" --backend "$store" --connection-options "$options" ;;
esac
exec "$@" --connection dosna --shared
