#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# A Ceph cluster of one node with its S3 gateway, for tests, from Debian's packages; root is not needed.
#
#   cluster.sh up DIR                         start a new cluster in DIR; what an earlier one left there goes
#   cluster.sh down DIR                       stop it; its files stay
#   cluster.sh start|stop|cont|kill DIR NAME  one daemon (mon, osd, mgr, rgw): start it again and wait until
#                                             it answers, SIGSTOP, SIGCONT, SIGKILL
#
# Each cluster listens on a loopback address of its own, so that any number of them live side by side. Where a
# package is missing, `up` says which in DIR/missing and exits with 77.
#
# What `up` leaves in DIR:
#   ceph.conf              for clients; the pool `dosna` is there. With cephx client.admin is the default, and
#                          client_id=dosna may use that pool alone
#   s3.env                 S3_ENDPOINT, S3_TLS_ENDPOINT, S3_CA, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY
#   cluster.env            ADDRESS and PORTS of the daemons, as FIRST-LAST
#   NAME.pid, log/
#
# Environment of `up`, with defaults:
#   STORE=memstore   or bluestore, which outlives `kill osd`
#   AUTH=cephx       or none
#   DAEMONS='mon osd rgw'   `mgr` too, where the cluster's free space has to be known
#   SPACE=8G         of the store
set -eu

say() { echo "cluster.sh: $*" >&2; }

die() {
    say "$*"
    tail -n 8 "$DIR"/log/* >&2 2>/dev/null || :
    exit 1
}

settings() {
    conf=$DIR/ceph.conf
    [ -s "$DIR/cluster.env" ] || return 0
    # shellcheck disable=SC1091
    . "$DIR/cluster.env"
    mon=${PORTS%-*} rgw=$((mon + 1)) tls=$((mon + 2))
}

# ---- daemons

running() { # NAME: that daemon of this cluster, not another process that got its number
    [ -s "$DIR/$1.pid" ] && tr '\0' '\n' <"/proc/$(cat "$DIR/$1.pid")/cmdline" 2>/dev/null | grep -qxF "$conf"
}

until_true() { # NAME WHAT COMMAND...: while that daemon lives, a minute at most
    name=$1 what=$2 end=$(($(date +%s) + 60))
    shift 2
    until "$@"; do
        running "$name" || die "$name ended"
        [ "$(date +%s)" -lt $end ] || die "$name: not $what within a minute"
        sleep 0.05
    done
}

listens() { # PORT, in the kernel's own writing
    IFS=. read -r a b c d <<END
$ADDRESS
END
    grep -q "$(printf ' %02X%02X%02X%02X:%04X 00000000:0000 0A ' "$d" "$c" "$b" "$a" "$1")" /proc/net/tcp
}

answers() { # the pool, through the OSD
    timeout 30 rados -c "$conf" -p dosna --objecter_tick_interval=0.2 ls >"$DIR/log/answers" 2>&1
}

start() { # NAME
    case $1 in
    mon) set -- mon ceph-mon -i a ;;
    osd) set -- osd ceph-osd -i 0 ;;
    mgr) set -- mgr ceph-mgr -i x ;;
    rgw) set -- rgw radosgw -n client.rgw ;;
    *) die "there is no daemon '$1'" ;;
    esac
    name=$1
    shift
    setsid "$@" -f -c "$conf" </dev/null >>"$DIR/log/$name.out" 2>&1 &
    pid=$!
    echo $pid >"$DIR/$name.pid"
    until running "$name"; do # not before exec
        kill -0 $pid 2>/dev/null || die "$name ended"
    done
    case $name in
    mon) until_true mon listening listens "$mon" ;;
    osd) until_true osd answering answers ;;
    rgw) until_true rgw listening listens "$rgw" ;;
    esac
}

signal() { # NAME SIGNAL
    running "$1" || die "$1 does not run"
    kill "-$2" "$(cat "$DIR/$1.pid")"
}

down() {
    failed=0
    for name in rgw mgr osd mon; do # the mon last: others tell it when they go
        running "$name" || continue
        signal "$name" CONT
        signal "$name" TERM
        tries=0
        while running "$name"; do
            tries=$((tries + 1))
            [ $tries -ne 300 ] || { say "$name ignores SIGTERM" && failed=1 && signal "$name" KILL; }
            sleep 0.05
        done
        rm -f "$DIR/$name.pid"
    done
    return $failed
}

# ---- a new cluster

choose_place() { # an address of 2^22, and ten ports at which nobody listens on all addresses
    # shellcheck disable=SC2046  # four numbers
    set -- $(od -An -N4 -tu1 /dev/urandom)
    ADDRESS=127.$(($1 / 4 + 64)).$2.$(($3 / 2 + 1))
    mon=$((20000 + $4 * 40))
    PORTS=$mon-$((mon + 19))
    for port in $(seq "$mon" $((mon + 19))); do
        if grep -q "$(printf ':%04X 00000000:0000 0A ' "$port")" /proc/net/tcp /proc/net/tcp6 2>/dev/null; then
            choose_place
            return
        fi
    done
}

key() { # FILE NAME CAPS...
    file=$DIR/$1 name=$2
    shift 2
    if [ -e "$file" ]; then set -- "$@" --gen-key; else set -- "$@" --create-keyring --gen-key; fi
    ceph-authtool "$file" -n "$name" "$@" >/dev/null
}

write_keys() {
    key keyring client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
    key keyring mon. --cap mon 'allow *'
    key keyring osd.0 --cap mon 'allow profile osd' --cap mgr 'allow profile osd' --cap osd 'allow *'
    key keyring mgr.x --cap mon 'allow profile mgr' --cap osd 'allow *'
    key keyring client.rgw --cap mon 'allow rw' --cap osd 'allow rwx'
    key client.dosna.keyring client.dosna --cap mon 'allow r' --cap osd 'allow rwx pool=dosna'
    cp "$DIR/keyring" "$DIR/mon.keyring" # all that the mon knows from the beginning
    ceph-authtool "$DIR/mon.keyring" --import-keyring "$DIR/client.dosna.keyring" >/dev/null
}

write_certificate() {
    openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -subj /CN=dosna-test \
        -addext "subjectAltName=IP:$ADDRESS" -keyout "$DIR/tls.key" -out "$DIR/tls.crt" 2>"$DIR/log/openssl"
}

write_conf() {
    cat >"$conf" <<END
[global]
fsid = $fsid
mon_host = [v2:$ADDRESS:$mon/0]
public_addr = $ADDRESS
cluster_addr = $ADDRESS
ms_bind_msgr1 = false
ms_bind_port_min = $((mon + 3))
ms_bind_port_max = ${PORTS#*-}
auth_cluster_required = ${AUTH:-cephx}
auth_service_required = ${AUTH:-cephx}
auth_client_required = ${AUTH:-cephx}
auth_allow_insecure_global_id_reclaim = false
keyring = $DIR/keyring
run_dir = $DIR
crash_dir = $DIR
admin_socket =
log_file = $DIR/log/\$name.log
mon_cluster_log_file = $DIR/log/cluster.log
# after a peer was killed
ms_max_backoff = 1
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 4
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_allow_pool_delete = true
mon_max_pg_per_osd = 2000
# else a PG of one copy hangs for good once its OSD was stopped for 16 s
osd_pool_default_read_lease_ratio = 100
[mon]
mon_data = $DIR/mon
# each creation of a pool waits for this
paxos_propose_interval = 0.05
paxos_min_wait = 0.01
mon_data_avail_warn = 1
mon_data_avail_crit = 1
[osd]
osd_data = $DIR/osd
osd_objectstore = ${STORE:-memstore}
osd_class_update_on_start = false
osd_op_num_shards = 2
osd_op_num_threads_per_shard = 2
osd_memory_target = 939524096
osd_op_queue = wpq
# the memstore stores itself in a slow shutdown only
osd_fast_shutdown = $([ "${STORE:-memstore}" = memstore ] && echo false || echo true)
bluestore_block_size = ${SPACE:-8G}
bluestore_rocksdb_cf = false
memstore_device_bytes = ${SPACE:-8G}
[mgr]
mgr_data = $DIR/mgr
mgr_initial_modules =
mgr_stats_period = 1
[client]
log_file =
[client.dosna]
keyring = $DIR/client.dosna.keyring
[client.rgw]
rgw_data = $DIR/rgw
log_file = $DIR/log/rgw.log
# without tcp_nodelay a small answer takes 40 ms
rgw_frontends = beast tcp_nodelay=1 endpoint=$ADDRESS:$rgw ssl_endpoint=$ADDRESS:$tls ssl_certificate=$DIR/tls.crt ssl_private_key=$DIR/tls.key
rgw_thread_pool_size = 64
rgw_run_sync_thread = false
rgw_rados_pool_pg_num_min = 1
# its default, secure alone, does not exist without authentication
ms_mon_client_mode = secure crc
END
    [ "${AUTH:-cephx}" = cephx ] || sed -i '/^keyring =/d' "$conf"
}

ceph_command() { timeout 60 ceph -c "$conf" "$@" >"$DIR/log/ceph" 2>&1 || die "ceph $*: $(cat "$DIR/log/ceph")"; }

make_mon() {
    monmaptool --create --fsid "$fsid" --enable-all-features --set-min-mon-release pacific \
        --addv a "[v2:$ADDRESS:$mon/0]" "$DIR/monmap" >"$DIR/log/monmaptool" 2>&1 || die 'no monmap'
    ceph-mon -c "$conf" --mkfs -i a --monmap "$DIR/monmap" --keyring "$DIR/mon.keyring" \
        >"$DIR/log/mon.mkfs" 2>&1 || die 'no mon'
    start mon
    # Without authentication clusters cannot tell their clients apart.
    ceph_command fsid
    grep -qx "$fsid" "$DIR/log/ceph" || die "another cluster is at $ADDRESS:$mon"
}

make_osd() {
    ceph_command osd new "$osd" 0
    ceph-osd -c "$conf" -i 0 --mkfs --no-mon-config --osd-uuid "$osd" >"$DIR/log/osd.mkfs" 2>&1 || die 'no osd'
    ceph_command osd pool create dosna 8 8 replicated --size 1
    ceph_command osd pool application enable dosna dosna
    start osd
}

make_rgw() {
    start rgw
    timeout 30 radosgw-admin -c "$conf" -n client.rgw user create --uid=dosna --display-name=dosna \
        --access-key=dosnaaccess --secret-key=dosnasecret >"$DIR/log/user" 2>&1 || die 'no S3 user'
    cat >"$DIR/s3.env" <<END
S3_ENDPOINT=http://$ADDRESS:$rgw
S3_TLS_ENDPOINT=https://$ADDRESS:$tls
S3_CA=$DIR/tls.crt
AWS_ACCESS_KEY_ID=dosnaaccess
AWS_SECRET_ACCESS_KEY=dosnasecret
END
}

empty_dir() {
    mkdir -p "$DIR"
    settings
    if [ -e "$conf" ]; then
        down || :
    elif [ ! -e "$DIR/missing" ] && [ -n "$(ls -A "$DIR")" ]; then
        say "$DIR is neither empty nor a cluster's"
        exit 1
    fi
    rm -rf "$DIR"
    mkdir -p "$DIR/log" "$DIR/mon" "$DIR/osd" "$DIR/mgr" "$DIR/rgw"
}

look_for_programs() {
    for program in ceph-mon ceph-osd ceph rados radosgw radosgw-admin openssl \
        $(case $daemons in *mgr*) echo ceph-mgr ;; esac); do
        command -v "$program" >/dev/null || {
            echo "$program is not installed" | tee "$DIR/missing"
            exit 77
        }
    done
}

up() {
    daemons=${DAEMONS:-mon osd rgw}
    empty_dir
    look_for_programs
    choose_place
    printf 'ADDRESS=%s\nPORTS=%s\n' "$ADDRESS" "$PORTS" >"$DIR/cluster.env"
    settings
    fsid=$(cat /proc/sys/kernel/random/uuid)
    osd=$(cat /proc/sys/kernel/random/uuid)
    write_keys || die 'no keys'
    write_certificate || die 'no certificate'
    write_conf
    make_mon
    make_osd
    case $daemons in *mgr*) start mgr ;; esac
    case $daemons in *rgw*) make_rgw ;; esac
}

usage() {
    sed -n '5,8s/^# *//p' "$0" >&2
    exit 2
}

case $#$1 in
2up | 2down | 3start | 3stop | 3cont | 3kill) ;;
*) usage ;;
esac
unset CEPH_ARGS CEPH_CONF CEPH_KEYRING
# Debian keeps the daemons' helpers where a user's PATH does not look.
PATH=$PATH:/usr/sbin:/sbin
[ "$1" != up ] || mkdir -p "$2"
DIR=$(cd "$2" 2>/dev/null && pwd) || exit 0
settings
case $1 in
up) up ;;
down) down ;;
start) running "$3" || start "$3" ;;
stop) signal "$3" STOP ;;
cont) signal "$3" CONT ;;
kill)
    signal "$3" KILL
    while running "$3"; do sleep 0.01; done
    ;;
esac
