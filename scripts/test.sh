#!/usr/bin/env bash
# Install what the tests need, then run them: `test.sh [--coverage] [PYTEST-ARGUMENT...]`.
#
# A process for each processor: those of one file stay together, since they share what it takes long
# to make, and in order, since the longest come first. `make test ARGS="-n 0"` runs all in one.
#
# Exits with pytest's status. make turns every failure into its own status 2, so whoever wants
# pytest's through make names a file for it in EXEUNT_STATUS_FILE.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

runner=(.venv/bin/python -m pytest -n auto --dist loadfile --no-loadscope-reorder)
report=
if [ "${1-}" = --coverage ]; then
    shift
    runner=(.venv/bin/python -m coverage run -m pytest)
    report=yes
fi

EXEUNT_MISSING=$(scripts/parts.sh)
export EXEUNT_MISSING
scripts/venv.sh dev || exit

"${runner[@]}" "$@"
status=$?
[ -z "$report" ] || .venv/bin/python -m coverage report
[ -z "${EXEUNT_STATUS_FILE-}" ] || echo "$status" >"$EXEUNT_STATUS_FILE"
exit "$status"
