#!/usr/bin/env bash
# The servers of the backend tests that no package of this system has, each from its own package registry into a folder of its
# own. One that is there already is left as it is.
# usage: fetch_services.sh DIR PYTHON
set -euo pipefail
mkdir -p "$1"
folder=$(realpath "$1")
python=$2
here=$(dirname "$(realpath "${BASH_SOURCE[0]}")")

# fetch NAME FUNCTION: runs the function with the new folder, which is put in its place only if all went well.
fetch() {
    local name=$1 stamp
    stamp=$folder/$name/.fetched
    [ "$stamp" -nt "$here/fetch_services.sh" ] && return 0
    echo "== $name into $folder/$name"
    rm -rf "${folder:?}/$name"
    mkdir -p "$folder/$name"
    for attempt in 1 2 3; do
        if "fetch_$name" "$folder/$name"; then touch "$stamp"; return 0; fi
        [ "$attempt" -eq 3 ] || sleep $((attempt * 5))
    done
    echo "$name could not be fetched: the messages are above" >&2
    return 1
}

# OpenStack Swift with its S3 interface, and what it needs to take Keystone's tokens.
fetch_swift() {
    "$python" -m venv "$1" && "$1/bin/python" -m pip install --quiet swift==2.38.3 keystonemiddleware==13.0.1
}

failed=0
fetch swift || failed=1
[ "$failed" -eq 0 ]
