#!/usr/bin/env bash
# One file among nodes in network namespaces of their own, each with a capped uplink.
#
#   sudo bench/netns.sh POTLUCK SHARERS FETCHERS MIB [RATE]
#
# POTLUCK is the program, RATE the uplink of each node as tc writes it (100mbit). Every namespace has one
# end of a pair of virtual wires, the other is on a bridge in a namespace in the middle; `tc tbf` caps
# what leaves a node. Nothing outside these namespaces is touched, and all of it is removed at the end.
set -euo pipefail

potluck=$(readlink -f "$1")
sharers=$2
fetchers=$3
mib=$4
rate=${5:-100mbit}
tag="pl$$"
work=$(mktemp -d)
pids=()

clean() {
    for pid in "${pids[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do wait "$pid" 2>/dev/null || true; done
    for name in $(ip netns list | awk '{print $1}' | grep "^$tag-" || true); do ip netns del "$name"; done
    rm -rf "$work"
}
trap clean EXIT

ip netns add "$tag-mid"
ip -n "$tag-mid" link add bridge type bridge
ip -n "$tag-mid" link set bridge up

# node NUMBER: a namespace with the address 10.77.0.NUMBER
node() {
    local name="$tag-$1" wire="w$1"
    ip netns add "$name"
    ip -n "$name" link set lo up
    ip -n "$tag-mid" link add "$wire" type veth peer name eth0 netns "$name"
    ip -n "$tag-mid" link set "$wire" master bridge up
    ip -n "$name" addr add "10.77.0.$1/24" dev eth0
    ip -n "$name" link set eth0 up
    tc -n "$name" qdisc add dev eth0 root tbf rate "$rate" burst 64kb latency 20ms
}

# up NUMBER [CONTACT]: a node's process; waits until it is ready
up() {
    local number=$1
    shift
    local out="$work/out$number"
    # The files of the test lie outside of home folders.
    POTLUCK_FILES_PATHS="$work" ip netns exec "$tag-$number" "$potluck" up "$@" --data "$work/data$number" \
        --listen "10.77.0.$number:12345" --http 127.0.0.1:8080 --network bench --admission lab \
        >"$out" 2>"$work/err$number" &
    pids+=($!)
    for _ in $(seq 1 200); do
        grep -q '^ready' "$out" && return
        sleep 0.05
    done
    echo "node $number did not start" >&2
    cat "$work/err$number" >&2
    exit 1
}

cli() {
    local number=$1
    shift
    ip netns exec "$tag-$number" "$potluck" --node http://127.0.0.1:8080 "$@"
}

head -c "${mib}M" /dev/urandom >"$work/dish"
total=$((sharers + fetchers))
for number in $(seq 1 "$total"); do node "$number"; done
up 1
contact=$(sed -n 's/^contact //p' "$work/out1")
for number in $(seq 2 "$total"); do up "$number" "$contact"; done
for number in $(seq 1 "$sharers"); do link=$(cli "$number" share "$work/dish"); done
sleep 2

began=$(date +%s.%N)
waits=()
for number in $(seq $((sharers + 1)) "$total"); do
    (
        cli "$number" --json fetch "$link" -o "$work/to$number" >"$work/fetched$number"
        cmp "$work/dish" "$work/to$number/dish"
        echo "node $number: $(cat "$work/fetched$number")"
    ) &
    waits+=($!)
done
for wait in "${waits[@]}"; do wait "$wait"; done
ended=$(date +%s.%N)
echo "$sharers sharer(s) at $rate to $fetchers fetcher(s), $mib MiB: $(awk "BEGIN {printf \"%.2f\", $ended - $began}") s until the last had it (with the start of the command and a comparison of the bytes)"
