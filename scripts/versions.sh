#!/usr/bin/env bash
# Run the tests, but for those in a browser, on every Python that exeunt supports and that is here.
#
# Each version has a virtual environment of its own in .venv-VERSION. Ends with a line a version, and
# fails if one of them did.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

summary=
status=0
for version in 3.11 3.12 3.13 3.14; do
    python=python$version
    if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
        summary+="python$version: not on this machine"$'\n'
        continue
    fi
    venv=.venv-$version
    echo "== Python $version"
    if { [ -x "$venv/bin/python" ] || "$python" -m venv "$venv"; } &&
        "$venv/bin/python" -m pip install -q --disable-pip-version-check -e '.[dev]' &&
        "$venv/bin/python" -m pytest -q --ignore=tests/e2e "$@"; then
        summary+="python$version: passed"$'\n'
    else
        summary+="python$version: FAILED"$'\n'
        status=1
    fi
done
printf '\n%s' "$summary"
exit "$status"
