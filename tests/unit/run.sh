#!/bin/bash
# Runs Check binaries: run.sh DIR NAME... ; prints one line each, the output of
# those that failed, and a closing sum. Exit 1 if anything failed.
set -u
dir=$1
shift
passed=0 failed=0
for name in "$@"; do
    name=${name#tests/unit/}
    name=${name%.c}
    out=$(mktemp)
    if CK_VERBOSITY=normal timeout 300 "$dir/$name" >"$out" 2>&1; then
        checks=$(sed -n 's/.*Checks: \([0-9]*\).*/\1/p' "$out" | awk '{s+=$1} END{print s+0}')
        if [ "$checks" -eq 0 ]; then
            echo "FAIL $name: ran no check"
            failed=$((failed + 1))
        else
            echo "ok   $name ($checks)"
            passed=$((passed + checks))
        fi
    else
        echo "FAIL $name"
        sed 's/^/     /' "$out"
        failed=$((failed + 1))
    fi
    rm -f "$out"
done
echo "$passed passed, $failed failed"
[ "$failed" -eq 0 ]
