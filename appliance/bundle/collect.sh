#!/bin/sh
# collect.sh ROOT OUT LOCK PACKAGE...: fetches what a fresh machine with ROOT on its disk would install, into OUT/debs and OUT/wheels.
#
# Called by `unshare --mount`. What is installed on the way lies in memory, over ROOT, and is gone when this ends.
set -eu
root=$1 out=$2 lock=$3
shift 3
scratch=$out/scratch
mkdir -p "$scratch" "$out/debs" "$out/wheels"
mount -t tmpfs -o size=4g tmpfs "$scratch"
mkdir "$scratch/written" "$scratch/work" "$scratch/root"
mount -t overlay overlay -o "lowerdir=$root,upperdir=$scratch/written,workdir=$scratch/work" "$scratch/root"
root=$scratch/root
for path in /dev /proc; do mount --rbind "$path" "$root$path"; done
cp /etc/resolv.conf "$root/etc/resolv.conf"
cp "$lock" "$root/tmp/requirements.lock"
mkdir -p "$root/out/debs/partial" "$root/out/wheels"
mount --bind "$out/debs" "$root/out/debs"
mount --bind "$out/wheels" "$root/out/wheels"
mkdir -p "$out/debs/partial"
enter() { chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive "$@"; }
enter apt-get -q update
enter apt-get -q -y --no-install-recommends --download-only -o Dir::Cache::archives=/out/debs install "$@"
# A compiler wants exactly these versions of what every machine has, and the node's may be older.
# shellcheck disable=SC2016 # expanded inside
enter sh -c 'apt-get -q -y --no-install-recommends --download-only --reinstall -o Dir::Cache::archives=/out/debs install \
    libc6 libc-bin libgcc-s1 libstdc++6 $(dpkg-query -W -f "\${Package} " "gcc-*-base")'
enter apt-get -q -y --no-install-recommends -o Dir::Cache::archives=/out/debs install ca-certificates python3-venv
enter update-ca-certificates
enter python3 -m venv /tmp/venv
enter /tmp/venv/bin/pip download --quiet --disable-pip-version-check --only-binary=:all: --require-hashes --no-deps \
    --requirement /tmp/requirements.lock --dest /out/wheels
enter python3 -c 'import platform; print(platform.machine())' >"$out/machine"
rm -rf "$out/debs/partial" "$out/debs/lock"
