#!/bin/bash
#
# Fuzzes each target for $TIME seconds: fuzz.sh BUILD-DIRECTORY TARGET... New
# inputs are kept in BUILD-DIRECTORY/corpus, the committed corpus is read too. What breaks
# a target is left in BUILD-DIRECTORY/found; it goes to tests/fuzz/corpus with the repair.
set -uo pipefail
cd "$(dirname "$0")/../.."

build=${1:?usage: fuzz.sh BUILD-DIRECTORY TARGET...}
shift
# libprotobuf's containers are not instrumented.
export ASAN_OPTIONS=detect_container_overflow=0
passed=0 failed=0
for target in "$@"; do
	mkdir -p "$build/corpus/$target" "$build/found"
	dictionary=()
	[[ -e tests/fuzz/$target.dict ]] && dictionary=("-dict=tests/fuzz/$target.dict")
	echo "=== $target, ${TIME:-60} s"
	if "$build/bin/tests/fuzz/$target" -max_total_time="${TIME:-60}" -max_len=4096 -timeout=10 \
		-rss_limit_mb=2048 -print_final_stats=1 -verbosity=0 "${dictionary[@]}" \
		-artifact_prefix="$build/found/$target-" \
		"$build/corpus/$target" "tests/fuzz/corpus/$target"; then
		passed=$((passed + 1))
	else
		echo "FAIL fuzz/$target: see $build/found"
		failed=$((failed + 1))
	fi
done
echo "fuzz: $passed passed, $failed failed"
((failed == 0 && passed > 0))
