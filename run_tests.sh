#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds, and runs every test. --help says the rest.
set -eu
cd "$(dirname "$0")"

usage() {
    cat <<'END'
usage: sh run_tests.sh [--quick]
       sh run_tests.sh [--backend B] [--engine E] [--connection C] [--connection-options k=v...]

Without options: installs the Debian packages that are missing (as root, or with sudo), builds three
times (release, AddressSanitizer with UBSan, ThreadSanitizer) and runs every test in each build.

  --quick                     the release build alone
  --backend B                 the store to test: ram, hdf5, ... (default hdf5)
  --engine E                  cpu or threads (default threads)
  --connection C              what to connect to; it must exist (default test-dosna)
  --connection-options k=v... any of the settings, as in `dosnafs -o k=v`, up to the next --option

With one of the last four, the release build runs, on that connection, the suite that every backend has
to pass and random operations on files of a mounted tree. They add datasets to it and remove them again.

The last line counts: "N passed, N failed, N skipped". What was skipped, and why, stands above it.
The exit status is 0 if nothing failed.
END
}

die() {
    echo "run_tests.sh: $*" >&2
    exit 2
}

value() { # OPTION COUNT VALUE
    [ "$2" -ge 2 ] || die "$1 wants a value"
    printf '%s' "$3"
}

presets='release asan tsan'
chosen=
backend=hdf5
engine=threads
connection=test-dosna
options=
while [ $# -gt 0 ]; do
    case $1 in
    -h | --help)
        usage
        exit 0
        ;;
    --quick)
        presets=release
        shift
        ;;
    --backend | --engine | --connection)
        given=$(value "$1" $# "${2-}")
        case $1 in
        --backend) backend=$given ;;
        --engine) engine=$given ;;
        --connection) connection=$given ;;
        esac
        chosen=yes
        shift 2
        ;;
    --connection-options)
        chosen=yes
        shift
        while [ $# -gt 0 ]; do
            case $1 in
            --*) break ;;
            *=*) options="$options${options:+,}$1" ;;
            *) die "--connection-options: '$1' is not key=value" ;;
            esac
            shift
        done
        ;;
    *) die "unknown argument '$1'; --help tells what there is" ;;
    esac
done

only='-LE given'
if [ -n "$chosen" ]; then
    presets=release
    only='-R ^(contract_given|system_model)$'
    export DOSNA_TEST_BACKEND="$backend" DOSNA_TEST_ENGINE="$engine"
    export DOSNA_TEST_CONNECTION="$connection" DOSNA_TEST_OPTIONS="$options"
fi

sh packaging/install-deps.sh test

jobs=$(nproc)
# Most tests wait for servers and limits, not for a processor.
tests_at_once=$((2 * jobs))
# ThreadSanitizer's shadow memory does not fit around every randomised layout.
fixed=
if setarch -R true 2>/dev/null; then
    fixed='setarch -R'
fi

for preset in $presets; do
    printf '\n== %s\n' "$preset"
    results=build/$preset/tests.xml
    rm -f "$results"
    if cmake --preset "$preset" && cmake --build --preset "$preset" -j "$jobs"; then
        # shellcheck disable=SC2086  # lists of words
        $fixed ctest --preset "$preset" $only -j "$tests_at_once" --output-junit "$PWD/$results" \
            --test-output-size-passed 1000000 --test-output-size-failed 1000000 || true
    fi
done

echo
# shellcheck disable=SC2086
exec /usr/bin/python3 tests/summary.py $presets
