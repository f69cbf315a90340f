#!/bin/sh
# build.sh FOLDER VERSION SUITE MIRROR NAME: Asterisk's packages for this distribution from the source package of another one.
# Leaves FOLDER/NAME.tar, and nothing else.
set -eu
folder=$1 version=$2 suite=$3 mirror=$4 name=$5
source_list=/etc/apt/sources.list.d/appliance-asterisk-source.sources
export DEBIAN_FRONTEND=noninteractive
trap 'rm -rf "$folder/build" "$source_list"' EXIT
rm -rf "$folder/build"
mkdir -p "$folder/build"
cat >"$source_list" <<END
Types: deb-src
URIs: $mirror
Suites: $suite
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
apt-get -q -o Acquire::Check-Valid-Until=false update
cd "$folder/build"
apt-get -q source --only-source "asterisk=$version"
cd asterisk-*/
# A debhelper that is one level older does the same here.
sed -i 's/debhelper-compat (= 14)/debhelper-compat (= 13)/' debian/control
mk-build-deps -i -r -t 'apt-get -q -y --no-install-recommends' debian/control
DEB_BUILD_OPTIONS="nocheck nodoc parallel=$(nproc)" dpkg-buildpackage -b -uc -us
apt-get -q -y purge asterisk-build-deps
apt-get -q -y autoremove --purge
cd ..
tar -cf "../$name.part" asterisk_*.deb asterisk-modules_*.deb asterisk-config_*.deb asterisk-dev_*.deb
mv "../$name.part" "../$name.tar"
