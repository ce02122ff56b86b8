#!/bin/bash
#
# Runs fuzz targets over their corpora, once: replay.sh PROGRAMS TARGET...
set -uo pipefail
cd "$(dirname "$0")/../.."

programs=${1:?usage: replay.sh PROGRAMS TARGET...}
shift
passed=0 failed=0
for target in "$@"; do
	if "$programs/$target" "tests/fuzz/corpus/$target"; then
		passed=$((passed + 1))
	else
		echo "FAIL fuzz/$target"
		failed=$((failed + 1))
	fi
done
echo "fuzz: $passed passed, $failed failed"
((failed == 0 && passed > 0))
