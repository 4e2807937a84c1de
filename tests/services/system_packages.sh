#!/usr/bin/env bash
# Installs the system packages that are missing, with apt-get, as root or through sudo; says what it does.
# usage: system_packages.sh PYTHON build|test|long...
#   build  what PYTHON needs to make an environment, to compile the C extension, and to mount by FUSE
#   test   the tools that the tests call
#   long   those that only tests of `make test-long` call
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
python=$1; shift
missing=()

need() { # package command...: missing if one of the commands is
    local package=$1 command; shift
    for command in "$@"; do
        command -v "$command" > /dev/null || { missing+=("$package"); return; }
    done
}

need_for_build() {
    local version
    version=$("$python" -c 'import sys; print("python%d.%d" % sys.version_info[:2])')
    "$python" -c 'import ensurepip, venv' 2> /dev/null || missing+=("$version-venv")
    "$python" -c 'import os, sysconfig; assert os.path.exists(sysconfig.get_path("include") + "/Python.h")' 2> /dev/null || missing+=("$version-dev")
    need gcc gcc
    [ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)
    # pyfuse3 is compiled where it is installed, and mounting as another user than root takes fusermount3.
    need pkg-config pkg-config
    compgen -G '/usr/lib/*/pkgconfig/fuse3.pc' > /dev/null || missing+=(libfuse3-dev)
    need fuse3 fusermount3
}

need_for_test() {
    need restic restic # the distribution's own, in Debian 12 version 0.14
    need openssh-client ssh ssh-keygen ssh-agent
    need openssh-server /usr/sbin/sshd
    need e2fsprogs mkfs.ext4 debugfs
    need attr setfattr getfattr
    need acl setfacl getfacl
    need libcap2-bin setcap getcap
    need strace strace
    need rsync rsync
    need util-linux unshare losetup
    need mount mount umount
    need procps ps
    need git git
    need zsh zsh
    need fish fish
    need mandoc mandoc
    need tar tar
    need findutils find xargs
    need busybox-static busybox
    need openssl openssl
    need unzip unzip
    need time /usr/bin/time
    need curl curl
    need davfs2 mount.davfs
    need faketime faketime
    need systemd systemctl systemd-analyze
    need cron crontab /usr/sbin/cron
    need postgresql-client psql pg_dump pg_dumpall pg_restore pg_basebackup
    compgen -G '/usr/lib/postgresql/*/bin/initdb' > /dev/null || missing+=(postgresql) # the server's own are not in PATH
    need mariadb-server /usr/sbin/mariadbd mariadb-install-db
    need mariadb-client mariadb mariadb-dump
    need mariadb-backup mariadb-backup mbstream
    need redis-server redis-server
    need redis-tools redis-cli
    need slapd slapd slapcat slapadd
    need ldap-utils ldapadd ldapmodify ldapsearch
    need etcd-server etcd
    need etcd-client etcdctl
    need prometheus-pushgateway prometheus-pushgateway
    need prometheus-node-exporter prometheus-node-exporter
    need dbus dbus-daemon
    need gnome-keyring gnome-keyring-daemon
    need libsecret-tools secret-tool
    need pass pass
    need gnupg gpg gpg-agent
    [ -e /etc/ssl/certs/ca-certificates.crt ] || missing+=(ca-certificates)
    need btrfs-progs mkfs.btrfs btrfs
    need xfsprogs mkfs.xfs xfs_repair
    need thin-provisioning-tools thin_delta era_invalidate
    need samba smbd
    need smbclient smbclient
}

need_for_long() {
    need lvm2 lvm
    need dmsetup dmsetup
    [ "$(uname -m)" = x86_64 ] || return 0 # the virtual machine is one
    need qemu-system-x86 qemu-system-x86_64
    need cpio cpio
}

for part in "$@"; do "need_for_$part"; done
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get > /dev/null; then
    # Another system than Debian: what works without them works, the rest says what it lacks.
    echo "== not found here, and there is no apt-get to install it: ${missing[*]} (named as in Debian)" >&2
    exit 0
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo > /dev/null || { echo "Missing: ${missing[*]}. Neither root nor sudo is here: install them by hand." >&2; exit 1; }
    as_root=(sudo)
fi

# A server that comes in for the tests does not run for that: not at once, and not after the next boot.
install() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive sh -c '
        policy=/usr/sbin/policy-rc.d
        if [ ! -e "$policy" ]; then
            trap "rm -f $policy" EXIT
            printf "#!/bin/sh\nexit 101\n" > "$policy" && chmod 755 "$policy"
        fi
        apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 install -y --no-install-recommends "$@" > /dev/null || exit
        command -v systemctl > /dev/null || exit 0
        for package in "$@"; do
            case $package in
                openssh-server | postgresql | mariadb-server | redis-server | slapd | etcd-server | cron | samba | prometheus-*)
                    for unit in $(dpkg -L "$package" | sed -n "s|.*/systemd/system/\([^@/]*[.]service\)\$|\1|p"); do
                        systemctl --quiet disable "$unit" || true
                    done ;;
            esac
        done
    ' install "${missing[@]}"
}

echo "== apt-get install ${missing[*]}"
for attempt in 1 2 3; do
    # Lists older than the mirror are the usual reason for a failure, on a fresh machine there are none at all.
    "${as_root[@]}" apt-get -qq -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 update || true
    if install; then exit 0; fi
    [ "$attempt" -eq 3 ] || sleep $((attempt * 5))
done
echo "apt-get could not install ${missing[*]}: its messages are above" >&2
exit 1
