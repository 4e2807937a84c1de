#!/usr/bin/env bash
# Runs a script as root in a Debian kernel of its own, in qemu, over this machine's own files: what is written goes into memory and
# is gone afterwards. For what containers and small kernels lack: device mapper, LVM, its snapshots.
# The script finds empty disks at /dev/vda, /dev/vdb, ..., and /out, which is WORK/out. What it prints is in WORK/console.log.
# usage: virtual_machine.sh KERNEL WORK SCRIPT DISK_MIB...   (KERNEL as `fetch_services.sh` makes it; all paths absolute)
set -euo pipefail
PATH=$PATH:/usr/sbin:/sbin
kernel=$1 work=$2 script=$3
shift 3
version=$(ls "$kernel/lib/modules")
modules=$kernel/lib/modules/$version
root=$work/initrd
mkdir -p "$work/out" "$root"/{bin,proc,sys,dev,root,upper} "$root/lib/modules/$version"

# A first root that mounts the real one: qemu's disks and this machine's / by 9p, below a layer of memory.
cp "$(command -v busybox)" "$root/bin/busybox"
cp "$modules"/modules.* "$root/lib/modules/$version/"
with_dependencies() {
    awk -F: -v file="/$1.ko" 'substr($1, length($1) - length(file) + 1) == file { print $1, $2 }' "$modules/modules.dep"
}
for module in virtio_pci virtio_blk 9p 9pnet_virtio overlay; do
    for file in $(with_dependencies "$module"); do
        mkdir -p "$root/lib/modules/$version/$(dirname "$file")"
        cp "$modules/$file" "$root/lib/modules/$version/$file"
    done
done
cat > "$root/init" << 'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc; $b mount -t sysfs sys /sys; $b mount -t devtmpfs dev /dev
for word in $($b cat /proc/cmdline); do case $word in limpet.*=*) eval "${word#limpet.}";; esac; done
for module in virtio_pci virtio_blk 9pnet_virtio 9p overlay; do $b modprobe $module; done
$b mount -t tmpfs tmpfs /upper; $b mkdir /upper/lower /upper/upper /upper/work
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288,cache=loose,ro host /upper/lower
$b mount -t overlay -o lowerdir=/upper/lower,upperdir=/upper/upper,workdir=/upper/work overlay /root
for folder in proc sys dev; do $b mount -o bind /$folder /root/$folder; done
$b mount -t tmpfs tmpfs /root/run; $b mkdir -p /root/out /root/run/lock /root/dev/pts /root/dev/shm /root/usr/lib/modules /root/run/modules
$b mount -t tmpfs tmpfs /root/dev/shm
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=524288 out /root/out
$b cp /upper/lower$script /root/run/script
$b mount -o bind /upper/lower$kernel/lib/modules /root/usr/lib/modules
$b chroot /root /bin/bash -c '
    export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root
    modprobe() { /bin/busybox modprobe "$@"; }
    export -f modprobe
    ip link set lo up 2> /dev/null
    modprobe crc32c_generic # nothing that others depend on by name, and they fail without it
    bash /run/script
    echo "LIMPET-EXIT-CODE=$?"'
$b poweroff -f
INIT
chmod +x "$root/init"
(cd "$root" && find . | cpio --quiet -o -H newc | gzip -1) > "$work/initrd.gz"
rm -rf "$root"

disks=()
for size in "$@"; do
    disk=$work/disk${#disks[@]}
    rm -f "$disk"
    truncate -s "${size}M" "$disk"
    disks+=(-drive "file=$disk,if=virtio,format=raw")
done
# Without KVM: a machine that is virtual itself may offer one that then fails.
timeout 1150 qemu-system-x86_64 -machine accel=tcg -cpu max -m 2048 -smp 2 -nographic -no-reboot -nic none \
    -kernel "$kernel/boot/vmlinuz-$version" -initrd "$work/initrd.gz" \
    -append "console=ttyS0 quiet loglevel=3 panic=-1 limpet.kernel=$kernel limpet.script=$script" "${disks[@]}" \
    -fsdev "local,id=host,path=/,security_model=none,readonly=on,multidevs=remap" -device virtio-9p-pci,fsdev=host,mount_tag=host \
    -fsdev "local,id=out,path=$work/out,security_model=none,multidevs=remap" -device virtio-9p-pci,fsdev=out,mount_tag=out \
    < /dev/null > "$work/console.log" 2>&1
rm -f "$work/initrd.gz" "$work"/disk*
grep -q 'LIMPET-EXIT-CODE=0' "$work/console.log"
