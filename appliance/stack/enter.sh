#!/bin/sh
# enter.sh ROOT [PATH ...] -- PROGRAM [ARGUMENT ...]
#
# Runs a program inside ROOT with every PATH of the host visible under its own name. Called by `unshare --mount`, so the
# mounts belong to this process and its children alone and vanish with them. Every step is an exec: the process id, its
# group and its signals are those of whoever was started.
set -eu
root=$1
shift
show() {
    if [ -d "$1" ]; then
        mkdir -p "$root$1"
    elif ! [ -e "$1" ]; then
        echo "enter.sh: $1: there is no such file or folder" >&2
        exit 66
    else
        mkdir -p "$root$(dirname "$1")"
        [ -e "$root$1" ] || : >"$root$1"
    fi
    mount --rbind "$1" "$root$1"
}
for path in /dev /proc /sys; do
    mount --rbind "$path" "$root$path"
done
# Its own /tmp, so that folders shown from the host's leave no empty ones behind.
mount -t tmpfs -o mode=1777,size=64m tmpfs "$root/tmp"
for path in /etc/hosts /etc/resolv.conf; do
    if [ -e "$path" ] && [ -f "$root$path" ]; then mount --bind "$path" "$root$path"; fi
done
while [ "$1" != -- ]; do
    show "$1"
    shift
done
shift
exec chroot "$root" /usr/bin/env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin "$@"
