#!/bin/sh
# Writes requirements.lock (what a node runs) and requirements-dev.lock (that and the tools) from pyproject.toml, and
# ansible/requirements.lock (what a controller runs), for every Python from 3.11 on. Needs uv. With arguments: passed on, e.g. `scripts/lock.sh --upgrade`.
set -eu
cd "$(dirname "$0")/.."
compile() {
    uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-emit-index-url \
        --no-emit-find-links --custom-compile-command scripts/lock.sh "$@"
}
compile "$@" pyproject.toml --output-file requirements.lock
compile "$@" --extra dev --constraint requirements.lock pyproject.toml --output-file requirements-dev.lock
compile "$@" ansible/requirements.in --output-file ansible/requirements.lock
