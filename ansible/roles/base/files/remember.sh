#!/bin/sh
# remember.sh FOLDER: what uninstall.yml needs to know of the machine as it was before the first installation.
# The environment may name another root than / in `root`.
set -eu
umask 077
root=${root:-}
mkdir -p "$1/files"
cd "$1"
getent passwd | cut -d: -f1 >users
getent group | cut -d: -f1 >groups
readlink -f "$root/etc/localtime" >localtime || true
ls "$root/usr/local/share/ca-certificates" >certificates 2>/dev/null || true
systemctl list-unit-files --type=service --state=enabled --no-legend --plain | sed 's/ .*//' >enabled
# What the roles write over, where a package that they install is there already.
cd "$root/etc"
for file in nftables.conf timezone systemd/timesyncd.conf asterisk/*.conf prometheus/prometheus.yml default/prometheus* default/grafana-server \
    apt/sources.list.d/grafana.list apt/keyrings/grafana.asc; do
    if [ ! -e "$file" ]; then continue; fi
    mkdir -p "$1/files/etc/$(dirname "$file")"
    cp -a "$file" "$1/files/etc/$file"
done
cd "$1"
# Last: it is the mark that everything is here.
dpkg-query -W -f '${Package}\n' >packages.part
mv packages.part packages
