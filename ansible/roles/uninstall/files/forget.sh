#!/bin/sh
# forget.sh ETC PREFIX STATE PACKAGES USERS CERTIFICATES: the reverse of site.yml, by what remember.sh wrote down.
#
# What a package brought goes with it. Where it was there before, its data and settings are its owner's: only what the roles wrote goes, and
# what they wrote over comes back. The environment may name another root than / in `root`.
set -eu
etc=$1 prefix=$2 state=$3 packages=$4 users=$5 certificates=$6
root=${root:-}
before=$etc/before
export DEBIAN_FRONTEND=noninteractive
[ -f "$before/packages" ] || { echo "no $before/packages: this machine was not installed by site.yml" >&2 && exit 1; }

was_there() { grep -qxF "$1" "$before/packages"; }

remove() {
    for path; do
        # shellcheck disable=SC2086 # it may have a *
        rm -rf "$root"$path
    done
}

# unless_there PACKAGES PATH...
unless_there() {
    for package in $1; do
        if was_there "$package"; then return; fi
    done
    shift
    remove "$@"
}

# give_back FILE...
give_back() {
    for file; do
        rm -f "$root$file"
        # Earlier releases remembered three files, without their folders.
        for was in "$before/files$file" "$before/$(basename "$file")"; do
            if [ ! -e "$was" ]; then continue; fi
            cp -a "$was" "$root$file"
            break
        done
    done
}

# give_back_of PACKAGE FILE...: earlier releases remembered no settings of packages, which then stay as they are: without them it would not run.
give_back_of() {
    if was_there "$1" && [ ! -d "$before/files" ]; then return; fi
    shift
    give_back "$@"
}

nft delete table inet appliance 2>/dev/null || true
# Before the packages, whose folder it lies in.
rm -f "$root"/usr/lib/*/asterisk/modules/func_unnumbered.so "$root"/usr/lib/asterisk/modules/func_unnumbered.so
gone=
for package in $packages; do
    if dpkg-query -W "$package" >/dev/null 2>&1 && ! was_there "$package"; then gone="$gone $package"; fi
done
# shellcheck disable=SC2086 # a list of words
if [ -n "$gone" ]; then apt-get -q -y purge $gone; fi
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
    if ! grep -qxF "$certificate" "$before/certificates"; then remove "/usr/local/share/ca-certificates/$certificate"; fi
done
update-ca-certificates --fresh >/dev/null 2>&1 || true

if was_there asterisk; then
    # Also where nothing is remembered: they have passwords.
    for template in "$prefix"/current/asterisk/*.conf.j2; do
        if [ -e "$template" ]; then give_back "/etc/asterisk/$(basename "$template" .j2)"; fi
    done
    for file in "$root"/etc/asterisk/*.conf; do
        if grep -sqx '; Everything as Asterisk has it.' "$file"; then give_back "${file#"$root"}"; fi
    done
    remove /etc/asterisk/tls /var/lib/asterisk/announcements /var/lib/asterisk/hold-music
fi
unless_there asterisk /etc/asterisk /var/lib/asterisk /var/log/asterisk /var/spool/asterisk /var/cache/asterisk
# The contents: the folders are redis-tools', which may have been there alone.
unless_there 'redis-server redis-sentinel' '/etc/redis/*' '/var/lib/redis/*' '/var/log/redis/*'
remove /etc/redis/appliance.conf
if [ -e "$root/etc/redis/redis.conf" ]; then sed -i '/^include \/etc\/redis\/appliance\.conf$/d' "$root/etc/redis/redis.conf"; fi
unless_there fail2ban /etc/fail2ban /var/lib/fail2ban '/var/log/fail2ban.log*'
remove /etc/fail2ban/jail.d/appliance.conf
exporters='prometheus-node-exporter prometheus-redis-exporter prometheus-process-exporter'
unless_there "prometheus $exporters" /etc/prometheus /var/lib/prometheus /var/log/prometheus
for package in prometheus $exporters; do give_back_of "$package" "/etc/default/$package"; done
give_back_of prometheus /etc/prometheus/prometheus.yml
unless_there grafana /etc/grafana /var/lib/grafana /var/log/grafana
give_back_of grafana /etc/default/grafana-server /etc/apt/sources.list.d/grafana.list /etc/apt/keyrings/grafana.asc
remove '/var/cache/appliance*' /etc/apt/apt.conf.d/60appliance-upgrades '/etc/apt/sources.list.d/appliance-*' \
    /etc/apt/apt.conf.d/95appliance-bundle /etc/apt/appliance-bundle.list /etc/systemd/journald.conf.d/appliance.conf \
    /etc/needrestart/conf.d/appliance.conf /etc/logrotate.d/appliance-asterisk /usr/local/bin/appliance
give_back /etc/nftables.conf /etc/timezone /etc/systemd/timesyncd.conf
for folder in systemd/journald.conf.d needrestart/conf.d needrestart systemd/system/asterisk.service.d systemd/system/redis-server.service.d; do
    rmdir "$root/etc/$folder" 2>/dev/null || true
done
remove /etc/localtime
if [ -s "$before/localtime" ] && [ -e "$root$(cat "$before/localtime")" ]; then ln -sfn "$(cat "$before/localtime")" "$root/etc/localtime"; fi

systemctl daemon-reload
# Services that were there run, or do not, as they did; earlier releases did not remember which were enabled.
for unit in asterisk redis-server fail2ban prometheus $exporters grafana-server systemd-timesyncd; do
    package=$unit
    if [ "$unit" = grafana-server ]; then package=grafana; fi
    was_there "$package" || continue
    if [ ! -e "$before/enabled" ] || grep -qxF "$unit.service" "$before/enabled"; then
        systemctl restart "$unit" || echo "$unit was here before and does not start again: systemctl status $unit" >&2
    else
        systemctl disable --now "$unit" || true
    fi
done
# Not stopped: that would empty the tables of other programs.
if was_there nftables && [ -e "$before/enabled" ]; then
    if grep -qxF nftables.service "$before/enabled"; then systemctl reload nftables; else systemctl disable nftables; fi
fi
systemctl restart systemd-journald
remove /run/appliance
rm -rf "$prefix" "$state" "$etc"
