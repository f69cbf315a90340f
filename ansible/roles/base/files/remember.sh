#!/bin/sh
# remember.sh FOLDER: what uninstall.yml needs to know of the machine as it was before the first installation.
set -eu
umask 077
mkdir -p "$1"
cd "$1"
getent passwd | cut -d: -f1 >users
getent group | cut -d: -f1 >groups
readlink -f /etc/localtime >localtime || true
ls /usr/local/share/ca-certificates >certificates 2>/dev/null || true
for file in /etc/nftables.conf /etc/timezone /etc/systemd/timesyncd.conf; do
    if [ -e "$file" ]; then cp -a "$file" "$(basename "$file")"; fi
done
# Last: it is the mark that everything is here.
dpkg-query -W -f '${Package}\n' >packages.part
mv packages.part packages
