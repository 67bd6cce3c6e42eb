#!/usr/bin/env bash
# Make or mend .venv: `venv.sh run` with what exeunt needs to run, `venv.sh dev` with the tools too.
#
# Silent and quick when nothing is to be done. What was installed is noted in .venv/.exeunt as this
# directory and a checksum of pyproject.toml, so a changed pyproject.toml and a moved clone (whose
# .venv points to the old place) are both noticed. PYTHON names the Python to use.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

wanted=${1:?usage: venv.sh run|dev}
case $wanted in
run) extra='' what='exeunt and what it runs on' ;;
dev) extra='[dev]' what='exeunt and its development tools (a minute or so)' ;;
*)
    echo "venv.sh: expected run or dev, got '$wanted'" >&2
    exit 2
    ;;
esac

stamp=.venv/.exeunt
fingerprint="$PWD $(cksum <pyproject.toml)"

is_ready() {
    [ -x .venv/bin/python ] || return 1
    grep -qxF "dev $fingerprint" "$stamp" 2>/dev/null && return 0
    [ "$wanted" = run ] && grep -qxF "run $fingerprint" "$stamp" 2>/dev/null
}

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

# The Python that PYTHON names; where that is the plain default and too old, a newer one by its name.
choose_python() {
    local asked=${PYTHON:-python3} candidate
    if is_new_enough "$asked"; then
        echo "$asked"
        return
    fi
    if [ "$asked" = python3 ]; then
        for candidate in python3.14 python3.13 python3.12 python3.11; do
            if is_new_enough "$candidate"; then
                echo "$candidate"
                return
            fi
        done
    fi
    {
        if command -v "$asked" >/dev/null; then
            echo "exeunt needs Python 3.11 or newer; '$asked' is $("$asked" --version 2>&1 | head -n 1)"
        else
            echo "exeunt needs Python 3.11 or newer; there is no '$asked' here"
        fi
        [ "$asked" != python3 ] || echo 'No python3.11 to python3.14 was found either.'
        echo 'Install one and name it: make PYTHON=/path/to/python3.12'
    } >&2
    return 1
}

# True where .venv holds a Python that starts, is new enough and has pip: not so after an interrupted
# `python -m venv`, or once the Python below it was removed, or in a clone that was moved.
is_sound() {
    is_new_enough .venv/bin/python && .venv/bin/python -m pip --version >/dev/null 2>&1 &&
        [ "$(.venv/bin/python -c 'import sys; print(sys.prefix)')" = "$PWD/.venv" ] &&
        grep -qF "$PWD/.venv" .venv/bin/activate
}

# Who names a Python other than the default gets .venv made anew where it stands on another.
is_as_asked() {
    local whence='import sys; print(sys.version, sys.base_prefix)'
    [ "${PYTHON:-python3}" = python3 ] ||
        [ "$("$PYTHON" -c "$whence" 2>&1)" = "$(.venv/bin/python -c "$whence" 2>/dev/null)" ]
}

is_ready && is_as_asked && exit 0

# Two targets started at once must not install into one .venv together.
if command -v flock >/dev/null; then
    exec 9>.venv.lock
    flock 9
    is_ready && is_as_asked && exit 0
fi

if ! is_sound || ! is_as_asked; then
    python=$(choose_python)
    if ! "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        {
            echo "$python has no venv module. Debian and Ubuntu keep it in a package of its own:"
            echo '    apt-get install python3-venv'
        } >&2
        exit 1
    fi
    echo "making .venv with $("$python" --version) ..." >&2
    "$python" -m venv --clear .venv
fi

echo "installing $what ..." >&2
started=$SECONDS
rm -f "$stamp"
.venv/bin/python -m pip install -qq --disable-pip-version-check \
    --root-user-action=ignore --editable ".$extra" || {
    echo 'The installation failed; what pip said stands above.' >&2
    exit 1
}
echo "$wanted $fingerprint" >"$stamp"
echo "installed in $((SECONDS - started)) s" >&2
