#!/bin/sh
# forget.sh ETC PREFIX STATE PACKAGES USERS CERTIFICATES: the reverse of site.yml, by what remember.sh wrote down.
set -eu
etc=$1 prefix=$2 state=$3 packages=$4 users=$5 certificates=$6
before=$etc/before
export DEBIAN_FRONTEND=noninteractive
[ -f "$before/packages" ] || { echo "no $before/packages: this machine was not installed by site.yml" >&2 && exit 1; }

nft delete table inet appliance 2>/dev/null || true
# Before the packages, whose folder it lies in.
rm -f /usr/lib/*/asterisk/modules/func_unnumbered.so /usr/lib/asterisk/modules/func_unnumbered.so
remove=
for package in $packages; do
    if dpkg-query -W "$package" >/dev/null 2>&1 && ! grep -qxF "$package" "$before/packages"; then remove="$remove $package"; fi
done
# shellcheck disable=SC2086 # a list of words
if [ -n "$remove" ]; then apt-get -q -y purge $remove; fi
# What came along with them. Packages that were there before stay, and so does whatever is needed by something installed by hand since.
would_go() { apt-get -s "$@" 2>/dev/null | sed -n 's/^\(Remv\|Purg\) \([^ ]*\).*/\2/p' | sort -u; }
along=$(apt-mark showauto | grep -vxF -f "$before/packages" | sort -u || true)
# shellcheck disable=SC2086
if [ -n "$along" ] && [ "$(would_go purge $along)" != "$along" ]; then
    along=$(would_go autoremove | grep -vxF -f "$before/packages" || true)
fi
# shellcheck disable=SC2086
if [ -n "$along" ]; then apt-get -q -y purge $along; fi

for user in $users; do
    if id "$user" >/dev/null 2>&1 && ! grep -qxF "$user" "$before/users"; then userdel "$user" 2>/dev/null || true; fi
    if getent group "$user" >/dev/null && ! grep -qxF "$user" "$before/groups"; then groupdel "$user" 2>/dev/null || true; fi
done
for certificate in $certificates; do
    if ! grep -qxF "$certificate" "$before/certificates"; then rm -f "/usr/local/share/ca-certificates/$certificate"; fi
done
update-ca-certificates --fresh >/dev/null 2>&1 || true

rm -rf /etc/asterisk /var/lib/asterisk /var/log/asterisk /var/spool/asterisk /var/cache/asterisk /var/cache/appliance* \
    /etc/redis /var/lib/redis /var/log/redis /etc/fail2ban /var/lib/fail2ban /var/log/fail2ban.log* \
    /etc/prometheus /var/lib/prometheus /var/log/prometheus /etc/default/prometheus* /etc/grafana /var/lib/grafana /var/log/grafana \
    /etc/apt/sources.list.d/grafana.list /etc/apt/keyrings/grafana.asc /etc/apt/apt.conf.d/60appliance-upgrades \
    /etc/apt/sources.list.d/appliance-* /etc/apt/apt.conf.d/95appliance-bundle /etc/apt/appliance-bundle.list /etc/systemd/journald.conf.d/appliance.conf \
    /etc/logrotate.d/appliance-asterisk /usr/local/bin/appliance
rmdir /etc/systemd/journald.conf.d 2>/dev/null || true
rm -f /etc/nftables.conf /etc/timezone
for file in nftables.conf timezone; do
    if [ -e "$before/$file" ]; then cp -a "$before/$file" "/etc/$file"; fi
done
if [ -e "$before/timesyncd.conf" ]; then cp -a "$before/timesyncd.conf" /etc/systemd/timesyncd.conf; fi
if [ -s "$before/localtime" ] && [ -e "$(cat "$before/localtime")" ]; then ln -sfn "$(cat "$before/localtime")" /etc/localtime; else rm -f /etc/localtime; fi
rm -rf "$prefix" "$state" "$etc" /run/appliance
systemctl daemon-reload
systemctl restart systemd-journald
