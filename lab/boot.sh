#!/bin/sh
# boot.sh MACHINE IMAGE DISK ROOT BRIDGE [BIND ...]
#
# Boots one node in the foreground: its root is IMAGE with the layer in DISK over it, its cable ends at BRIDGE of the network
# namespace this runs in. Called by `unshare --mount`, so every mount below belongs to this process alone. A reboot of the node
# is a new round of the loop, as it would be under a service manager.
set -eu
machine=$1 image=$2 disk=$3 root=$4 bridge=$5
shift 5
mount -t overlay overlay -o "lowerdir=$image,upperdir=$disk/written,workdir=$disk/work" "$root"
# systemd in the node needs the unified hierarchy, which a host may have mounted elsewhere or not at all.
if [ "$(stat -f -c %T /sys/fs/cgroup)" != cgroup2fs ]; then
    umount --recursive --lazy /sys/fs/cgroup 2>/dev/null || true
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
fi
group=/sys/fs/cgroup/$machine
mkdir -p "$group"
echo $$ >"$group/cgroup.procs"
child=
trap '[ -z "$child" ] || kill -TERM "$child"' TERM INT
status=133
while [ "$status" -eq 133 ]; do
    systemd-nspawn --quiet --directory="$root" --machine="$machine" --register=no --keep-unit --boot --resolv-conf=off \
        --timezone=off --network-bridge="$bridge" --console=pipe --kill-signal=SIGRTMIN+3 "$@" </dev/null &
    child=$!
    # A signal ends the first wait early; the second one is for the end of the node.
    status=0
    wait "$child" || status=$?
    while kill -0 "$child" 2>/dev/null; do
        status=0
        wait "$child" || status=$?
    done
done
exit "$status"
