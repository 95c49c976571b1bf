#!/bin/sh
# Builds deploy/container by buildah on a root filesystem of Debian's packages, where no registry can be reached, and runs
# it with a read-only root, as its own user and without capabilities: a station before a Mosquitto inspects one picture.
#   sudo apt-get install buildah mmdebstrap mosquitto mosquitto-clients && sudo sh tests/container.sh
# Once with the station file in the volume, once in a read-only /etc/lineside. Takes three to six minutes.
set -eu
cd "$(dirname "$0")/.."
work=$PWD/build/container
rm -rf "$work/run" && mkdir -p "$work/run" && cd "$work/run"
export BUILDAH_ISOLATION=chroot
bah() { buildah --root "$work/storage" --runroot "$work/runroot" "$@"; }
pids=""
ended() { for pid in $pids; do kill "$pid" 2>/dev/null || true; done; bah rm --all >/dev/null 2>&1 || true; }
trap ended EXIT
fail() { echo "container: $*" >&2; sed 's/^/  /' log* >&2; exit 1; }
until_there() { # until_there SECONDS COMMAND...
    left=$1; shift
    while ! "$@" >/dev/null 2>&1; do left=$((left - 1)); [ $left -gt 0 ] || fail "gave up on: $*"; sleep 1; done
}
free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
of_image() { bah inspect --type image localhost/lineside | python3 -c "import json, shlex, sys
print(shlex.join(json.load(sys.stdin)['Docker']['config']$1))"; }

if ! bah inspect --type image localhost/lineside-base >/dev/null 2>&1; then
    mmdebstrap --quiet --variant=minbase --include=python3,python3-venv,ca-certificates bookworm root.tar
    base=$(bah from scratch) && bah add -q "$base" root.tar / && bah commit -q "$base" localhost/lineside-base
fi
certificates=/etc/ssl/certs/ca-certificates.crt # this machine's, so that pip trusts what it does
(cd ../../.. && bah bud -q --format docker --pull-never -v $certificates:$certificates:ro \
    --build-arg BASE=localhost/lineside-base --ignorefile deploy/container/Containerfile.dockerignore \
    -f deploy/container/Containerfile -t localhost/lineside .)

port=$(free_port) metrics=$(free_port)
PATH=$PATH:/usr/sbin mosquitto -p "$port" >log.broker 2>&1 &
pids=$!
container=$(bah from --pull-never localhost/lineside)
bah config --volume /var/lib/lineside- "$container" # else buildah mounts a volume of its own over ours
user=$(bah inspect --type image --format '{{.Docker.Config.User}}' localhost/lineside)
inside() { # inside COMMAND...: as the image's user, in a root that is made read-only first
    bah run --user root --cap-add CAP_SYS_ADMIN --network host -e LINESIDE_METRICS__PORT="$metrics" \
        -v "$PWD/data:/var/lib/lineside" -v "$PWD/etc:/etc/lineside:ro" -v "$PWD/tmp:/tmp" "$container" -- \
        sh -c 'mount -o remount,ro,bind / && exec setpriv --no-new-privs --bounding-set=-all --clear-groups "$@"' sh \
        --reuid "$user" --regid "$user" "$@"
}
for file in /var/lib/lineside/station.toml /etc/lineside/station.toml; do
    rm -rf data etc tmp && mkdir -p data etc/pictures && mkdir -m 1777 tmp
    cp "$(find ../../../deploy/stations/ballscrew/pictures -name '*.jpg' | sort | head -1)" etc/pictures
    cat >etc/station.toml <<END
[station]
name = "boxed"
[mqtt]
host = "127.0.0.1"
port = $port
[inspect]
part = "ball screw"
evidence_folder = "evidence"
[cameras.cam0]
kind = "folder"
source = "pictures"
END
    [ $file = /etc/lineside/station.toml ] || cp -r etc/. data
    chown -R "$user:$user" data
    find etc | sort >before
    inside sh -c '! touch /usr/x 2>/dev/null && grep -q "CapEff:.0*$" /proc/self/status' ||
        fail "the root is not read-only, or the user has capabilities"
    mosquitto_sub -p "$port" -t 'lineside/boxed/result/cam0' -C 1 -W 100 >log.result &
    result=$!
    eval "inside $(of_image '["Entrypoint"]') $(of_image '["Cmd"][:-1]') $file" >log.station 2>&1 &
    station=$!
    wait $result || fail "no result"
    grep -q '"verdict"' log.result || fail "no verdict"
    daemon=$(cat data/lineside.db.lock)
    pids="$pids $daemon"
    eval "until_there 30 inside $(of_image '["Healthcheck"]["Test"][1:]')"
    kill -TERM "$daemon"
    wait $station || fail "it did not end with 0"
    [ "$(mosquitto_sub -p "$port" -t lineside/boxed/status -C 1 -W 10)" = offline ] || fail "it did not say offline"
    find etc | sort | cmp - before || fail "something was written beside the station file"
    ls data/history/verdicts.db data/evidence/*.jpg >/dev/null || fail "history or evidence is not in the volume"
    [ -z "$(find data -not -user "$user")" ] || fail "another user wrote into the volume"
    echo "container: $file: $(cat log.result)"
done
