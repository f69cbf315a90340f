#!/bin/sh
# environment.sh run|dev: makes .venv hold exactly what the lock says, with this package in it; instant when it does already.
set -eu
kind=$1
cd "$(dirname "$0")/.."
case $kind in
run) lock=requirements.lock ;;
dev) lock=requirements-dev.lock ;;
*) echo "usage: $0 run|dev" >&2 && exit 2 ;;
esac
log=build/environment.log
wanted=$(cat "$lock" pyproject.toml | sha256sum | cut -c 1-16)

is_current() {
    [ -x .venv/bin/python ] && [ "$(cat ".venv/.has-$1" 2>/dev/null)" = "$2" ]
}
fail() {
    echo "error: $*" >&2
    exit 1
}
# Debian's interpreter before any other of the path: its packages are the ones this script can install.
find_python() {
    for name in "${SETU_PYTHON:-}" python3 /usr/bin/python3 python3.11 python3.12 python3.13 python3.14; do
        if [ -n "$name" ] && "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    return 1
}
install_python() {
    command -v apt-get >/dev/null || fail "no Python 3.11 or newer with venv: install one, or name it in SETU_PYTHON"
    [ "$(id -u)" = 0 ] || fail "no Python 3.11 or newer with venv; to install it, run: sudo apt-get install python3 python3-venv"
    echo "installing python3, python3-venv"
    apt-get -q -y --no-install-recommends install python3 python3-venv >>"$log" 2>&1 ||
        { apt-get -q update && apt-get -q -y --no-install-recommends install python3 python3-venv; } >>"$log" 2>&1 ||
        fail "apt-get could not install python3-venv, see $PWD/$log"
}

if is_current "$kind" "$wanted"; then exit 0; fi
mkdir -p build
: >"$log"
exec 9>build/environment.lock
flock 9
if is_current "$kind" "$wanted"; then exit 0; fi

export DEBIAN_FRONTEND=noninteractive
if ! [ -x .venv/bin/python ] || ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$(find_python) || { install_python && python=$(find_python); } || fail "no Python 3.11 or newer with venv"
    rm -rf .venv
    "$python" -m venv .venv >>"$log" 2>&1 || fail "$python cannot make .venv, see $PWD/$log"
fi
.venv/bin/python -c 'import pip' 2>/dev/null || .venv/bin/python -m ensurepip >>"$log" 2>&1 || fail "no pip in .venv, see $PWD/$log"
echo "installing Python packages into .venv"
pip() {
    .venv/bin/python -m pip --disable-pip-version-check --no-input "$@" >>"$log" 2>&1 ||
        { tail -n 5 "$log" >&2 && fail "pip $1 failed, see $PWD/$log"; }
}
pip install --require-hashes --requirement "$lock"
pip install --no-deps --editable .
echo "$wanted" >".venv/.has-$kind"
if [ "$kind" = dev ]; then cat requirements.lock pyproject.toml | sha256sum | cut -c 1-16 >.venv/.has-run; fi
