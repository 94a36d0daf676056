#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The contract suite on the connection that run_tests.sh was given: given.sh PROGRAM
set -eu

if [ -z "${DOSNA_TEST_BACKEND-}" ]; then
    echo 'no connection was given: see run_tests.sh --help'
    exit 77
fi
program=$1
set --
[ "$DOSNA_TEST_BACKEND" = ram ] || set -- --shared # another connection sees the same data
if [ -n "${DOSNA_TEST_OPTIONS-}" ]; then
    IFS=,
    # shellcheck disable=SC2086  # commas separate them
    set -- "$@" --connection-options $DOSNA_TEST_OPTIONS
fi
exec "$program" --backend "$DOSNA_TEST_BACKEND" --connection "$DOSNA_TEST_CONNECTION" "$@"
