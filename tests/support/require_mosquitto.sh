#!/bin/sh
# The tests run against a real Mosquitto: install it from Debian where it is missing and that is allowed.
set -eu
PATH="$PATH:/usr/sbin:/usr/local/sbin"
command -v mosquitto >/dev/null && exit 0
if ! command -v apt-get >/dev/null; then
    echo "The tests need the Mosquitto broker: install it with your package manager, then run make test again." >&2
    exit 1
fi
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if ! sudo -n true 2>/dev/null; then
        echo "The tests need the Mosquitto broker: sudo apt-get install mosquitto, then run make test again." >&2
        exit 1
    fi
    as_root="sudo -n"
fi
$as_root apt-get update -qq
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends mosquitto >/dev/null
