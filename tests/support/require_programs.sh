#!/bin/sh
# The tests run against a real Mosquitto, and watch system calls with strace: both are installed from Debian where they
# are missing and that is allowed.
set -eu
PATH="$PATH:/usr/sbin:/usr/local/sbin"
missing=""
for program in mosquitto strace; do
    command -v "$program" >/dev/null || missing="$missing $program"
done
[ -z "$missing" ] && exit 0
if ! command -v apt-get >/dev/null; then
    echo "The tests need$missing: install with your package manager, then run make test again." >&2
    exit 1
fi
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        echo "The tests need$missing: sudo apt-get install$missing, then run make test again." >&2
        exit 1
    fi
    as_root="sudo -n"
fi
$as_root apt-get update -qq
# shellcheck disable=SC2086
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing >/dev/null
