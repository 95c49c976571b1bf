#!/bin/sh
# A Home Assistant for its test, once, into build/home-assistant: where Python 3.13 and a package index are there. Without
# them the test is skipped. Bytecode is made of what is imported alone: the whole would take longer than the rest.
set -eu
wanted=tests/support/home_assistant.txt
folder=build/home-assistant
cmp -s "$wanted" "$folder/complete" && exit 0
for python in python3.13 "$HOME"/.pyenv/versions/3.13.*/bin/python; do
    "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 13))' 2>/dev/null || continue
    rm -rf "$folder"
    if "$python" -m venv "$folder" && timeout 600 "$folder/bin/pip" install -q --disable-pip-version-check --no-deps \
        --no-compile -r "$wanted" >/dev/null 2>&1; then
        cp "$wanted" "$folder/complete"
    else
        rm -rf "$folder"
    fi
    exit 0
done
