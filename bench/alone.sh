#!/usr/bin/env bash
# Runs a command in a network namespace of its own, where nothing but loopback exists, so that what the
# kernel counts is this command's and nobody else's.
#
#   bench/alone.sh cargo xtask bench members --nodes 64
set -euo pipefail
rights=()
[ "$(id -u)" = 0 ] || rights=(--map-root-user)
exec unshare "${rights[@]}" --net bash -c 'ip link set lo up && exec "$@"' alone "$@"
