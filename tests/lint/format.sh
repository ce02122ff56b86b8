#!/bin/bash
#
# Every C file as .clang-format has it, every Go file as gofmt; `make format` makes it so.
set -euo pipefail
cd "$(dirname "$0")/../.."

mapfile -t files < <(git ls-files '*.c' '*.h')
clang-format --dry-run -Werror "${files[@]}"

export PATH=$PATH:$(echo /usr/lib/go-*/bin | tr ' ' :)
mapfile -t go < <(git ls-files '*.go')
unformatted=$(gofmt -l "${go[@]}")
[[ -z $unformatted ]] || {
	echo "format: not as gofmt has it: $unformatted"
	exit 1
}
echo "format: $((${#files[@]} + ${#go[@]})) files are formatted"
