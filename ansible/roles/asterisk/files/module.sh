#!/bin/sh
# module.sh SOURCE STAMP [HEADERS]: compiles SOURCE for the Asterisk that is installed, and puts it among Asterisk's modules.
#
# HEADERS is the package asterisk-dev of a build of our own; without it the distribution's is fetched. STAMP, the module's checksum, is
# written last. No compiler stays that was not there before.
set -eu
source=$1 stamp=$2 headers=${3:-}
folder=$(dirname "$stamp") name=$(basename "$source" .c)
tools=$folder/tools
# A newer libc6 may come with libc6-dev: needrestart, where it is, must not end calls over it.
export DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 LC_ALL=C
umask 022
apt() { apt-get -q -y -o DPkg::Lock::Timeout=300 "$@"; }

for modules in /usr/lib/*-linux-gnu*/asterisk/modules /usr/lib/asterisk/modules; do
    if [ -e "$modules/chan_websocket.so" ]; then break; fi
done
[ -e "$modules/chan_websocket.so" ] || { echo "no folder with Asterisk's modules" >&2 && exit 1; }

work=$(mktemp -d)
leave() {
    # shellcheck disable=SC2046 # a list of words
    if [ -s "$tools" ]; then apt purge $(cat "$tools"); fi
    rm -rf "$tools" "$work" "$modules/$name.so.part"
}
trap leave EXIT
trap 'exit 1' HUP INT TERM

if [ -z "$headers" ]; then
    # Of exactly this version; a package rebuilt without a change of source has the headers of the one before. They are kept: Asterisk does
    # not change by itself, but the mirror does, and the source may.
    version=$(dpkg-query -W -f '${Version}' asterisk | sed 's/+b[0-9]*$//')
    headers=$folder/asterisk-dev-$version.deb
    if [ ! -e "$headers" ]; then
        (cd "$work" && apt-get -q download "asterisk-dev=$version") || {
            echo "asterisk-dev $version cannot be had any more: first bring Asterisk up to date, which ends all calls:" \
                "apt-get install asterisk asterisk-modules asterisk-config" >&2
            exit 1
        }
        rm -f "$folder"/asterisk-dev-*.deb
        mv "$work"/asterisk-dev_*.deb "$headers"
    fi
fi
# Not installed: it would bring debhelper and all that needs.
dpkg-deb -x "$headers" "$work/headers"

# Written down first: a run that was cut short is cleared up by the next one. Upgraded packages, which have a version in [], stay.
if [ ! -e "$tools" ]; then
    apt -s --no-install-recommends --no-remove --no-upgrade install gcc libc6-dev | sed -n 's/^Inst \([^ ]*\) (.*/\1/p' >"$tools.part"
    mv "$tools.part" "$tools"
fi
apt --no-install-recommends --no-remove --no-upgrade install gcc libc6-dev

cp "$source" "$work/$name.c"
cd "$work"
gcc -O2 -Wall -Wextra -Wno-unused-parameter -fPIC -shared -D_GNU_SOURCE -Iheaders/usr/include -DAST_MODULE="\"$name\"" \
    -DAST_MODULE_SELF_SYM="__internal_${name}_self" -o "$name.so" "$name.c"
# A running Asterisk keeps the file that it has loaded: the new one takes its name, not its place.
install -m 0644 -o root -g root "$name.so" "$modules/$name.so.part"
mv -f "$modules/$name.so.part" "$modules/$name.so"
rm -f "$folder"/module-*
sha256sum "$modules/$name.so" >"$stamp.part"
mv "$stamp.part" "$stamp"
