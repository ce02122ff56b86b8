#!/bin/bash
#
# clang-tidy over every C file, with the checks of .clang-tidy. Needs
# compile_commands.json. A file that passed is not looked at again until it, a
# header or the checks change. Usage: tidy.sh BUILD-DIRECTORY
set -euo pipefail
cd "$(dirname "$0")/../.."

stamps=${1:?usage: tidy.sh BUILD-DIRECTORY}/tidy
database=${TIDY_DATABASE:-.}
mkdir -p "$stamps"
mapfile -t files < <(sed -n 's/^ *"file": "\(.*\)",\{0,1\}$/\1/p' "$database/compile_commands.json")
((${#files[@]})) || {
	echo "tidy: compile_commands.json names no file" >&2
	exit 1
}
mapfile -t headers < <(git ls-files -co --exclude-standard '*.h')
shared=$(cat .clang-tidy "$database/compile_commands.json" "${headers[@]}" | sha256sum)

check_one()
{
	local file=$1 stamp output

	stamp=$stamps/$(echo "$shared" | cat - "$file" | sha256sum | cut -c1-40)
	[[ -e $stamp ]] && return 0
	if output=$(clang-tidy -p "$database" --quiet "$file" 2>/dev/null); then
		touch "$stamp"
	else
		printf '%s\n' "$output"
		return 1
	fi
}
export -f check_one
export stamps database shared

# shellcheck disable=SC2016 # expanded by the inner shell
# xargs stops for nothing but names them all; 123 when any failed.
printf '%s\0' "${files[@]}" | xargs -0 -n 1 -P "$(nproc)" bash -c 'check_one "$1"' _ || {
	echo "tidy: see above" >&2
	exit 1
}
echo "tidy: ${#files[@]} files are clean"
