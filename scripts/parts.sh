#!/usr/bin/env bash
# Install the programs that the end-to-end tests drive, where they are missing, and print the names
# of the parts that could not be had, on one line: chromium, node, phoenix, netns.
#
# tests/conftest.py knows the same parts; a test that needs a missing one fails. System packages come
# from apt: as root, or through sudo (which asks for a password only on a terminal).
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

missing=()
details=()
apt_is_fresh=

say() { printf '%s\n' "$*" >&2; }
has() { command -v "$1" >/dev/null 2>&1; }

as_root() {
    if [ "$(id -u)" = 0 ]; then
        "$@"
    elif ! has sudo; then
        say "neither root nor sudo: cannot run $*"
        return 1
    elif [ -t 0 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

# apt_install PACKAGE...: quiet when it goes well, everything that apt said when it does not.
apt_install() {
    local log status=0
    if ! has apt-get; then
        say "there is no apt-get here to install $* with"
        return 1
    fi
    say "installing $* with apt ..."
    log=$(mktemp)
    {
        if [ -z "$apt_is_fresh" ]; then
            as_root apt-get update -q && apt_is_fresh=yes
        fi
        # An update that failed is no reason to stop: the lists on the machine may do.
        as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -q -y --no-install-recommends "$@"
    } >"$log" 2>&1 || status=$?
    [ "$status" = 0 ] || tail -n 20 "$log" >&2
    rm -f "$log"
    return "$status"
}

lacks() {
    missing+=("$1")
    details+=("$1: $2")
}

find_chromium() {
    local name
    for name in "${EXEUNT_CHROMIUM:-chromium}" chromium chromium-browser google-chrome google-chrome-stable; do
        has "$name" && return 0
    done
    return 1
}

has_node() { has node && node -e 'process.exit(parseInt(process.versions.node) < 18 ? 1 : 0)'; }

# Every package of tests/e2e/package.json in the very version that stands there.
has_npm_packages() {
    (cd tests/e2e && node -e '
        const wanted = require("./package.json").dependencies;
        for (const name in wanted)
            if (require(`./node_modules/${name}/package.json`).version !== wanted[name]) process.exit(1);
    ') >/dev/null 2>&1
}

npm_install() {
    local log status=0
    say 'installing the npm packages of tests/e2e ...'
    log=$(mktemp)
    (cd tests/e2e && npm install --no-package-lock --no-audit --no-fund --ignore-scripts) \
        >"$log" 2>&1 || status=$?
    [ "$status" = 0 ] || tail -n 20 "$log" >&2
    rm -f "$log"
    return "$status"
}

# A network namespace can be made: as root, or by a user who may make user namespaces.
has_netns() {
    local PATH=$PATH:/usr/sbin:/sbin
    has ip && has unshare || return 1
    if [ "$(id -u)" = 0 ]; then
        unshare --net ip link set lo up
    else
        unshare --user --map-root-user --net ip link set lo up
    fi >/dev/null 2>&1
}

# The venv module is no part for the tests, but Debian's python3 comes without it.
if "${PYTHON:-python3}" -c 'import venv' >/dev/null 2>&1 &&
    ! "${PYTHON:-python3}" -c 'import ensurepip' >/dev/null 2>&1; then
    apt_install python3-venv || true
fi

find_chromium || { apt_install chromium && find_chromium; } ||
    lacks chromium 'install a Chromium (Debian: apt-get install chromium), or set EXEUNT_CHROMIUM to its path'

has_node || { apt_install nodejs && has_node; } ||
    lacks node 'install Node 18 or newer (Debian: apt-get install nodejs npm)'

if has_node; then
    has npm || apt_install npm || true
    has_npm_packages || { has npm && npm_install && has_npm_packages; } ||
        lacks phoenix 'run npm install in tests/e2e (Debian: apt-get install npm)'
else
    lacks phoenix 'install Node and npm first, then run npm install in tests/e2e'
fi

has_netns || { ! has ip && apt_install iproute2 && has_netns; } ||
    lacks netns 'install iproute2, and run as root or where user namespaces are allowed'

if [ "${#missing[@]}" -gt 0 ]; then
    say
    say '######################################################################'
    say '#  NOT EVERYTHING THAT THE TESTS NEED COULD BE INSTALLED.'
    say '#  The tests that need these parts will fail:'
    for detail in "${details[@]}"; do
        say "#    $detail"
    done
    say '######################################################################'
    say
fi
echo "${missing[*]-}"
