#!/bin/sh
# The tests run against a real Mosquitto with certificates by openssl, and watch system calls with strace: these are
# installed from Debian where they are missing and that is allowed. AsyncAPI's own parser and Node-RED come from npm, once,
# where npm is there; without it, or without a network, their tests are skipped. So are those against Home Assistant's core,
# and against a host application of Sparkplug B, each of which has an environment of its own. GStreamer's are skipped without
# gst-launch-1.0, and the test of the car without mosquitto_rr: both are installed beside what is missing, not by themselves.
set -eu
PATH="$PATH:/usr/sbin:/usr/local/sbin"
from_npm() { # a folder below build/, a package, its version, seconds
    if command -v npm >/dev/null && [ ! -d "build/$1/node_modules/$2" ]; then
        timeout "$4" npm install --silent --no-audit --no-fund --no-package-lock --prefix "build/$1" "$2@$3" \
            >/dev/null 2>&1 || rm -rf "build/$1"
    fi
}
from_npm asyncapi-parser @asyncapi/parser 3.6.3 120
from_npm node-red node-red 4.1.15 300
if [ ! -d build/sparkplug ]; then
    { "${PYTHON:-python3}" -m venv build/sparkplug && timeout 120 build/sparkplug/bin/python -m pip install -q \
        pysparkplug==0.6.1; } >/dev/null 2>&1 || rm -rf build/sparkplug
fi
sh tests/support/home_assistant.sh
missing=""
for program in mosquitto strace openssl; do
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
DEBIAN_FRONTEND=noninteractive $as_root apt-get install -y -qq --no-install-recommends $missing \
    mosquitto-clients gstreamer1.0-tools gstreamer1.0-plugins-base >/dev/null
