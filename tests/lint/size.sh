#!/bin/bash
#
# STYLE, for the programs: files of at most 600 lines, functions of at most 60, and no comment that
# says TODO.
set -euo pipefail
cd "$(dirname "$0")/../.."

mapfile -t files < <(git ls-files 'common/*.[ch]' 'services/*.[ch]')
awk '
FNR == 1 {
	start = 0
}
# With Linux braces a function body is between a "{" and a "}" in the first column.
/^\{/ {
	start = FNR
}
/^\}/ && start {
	length_of = FNR - start + 1
	if (length_of > 62) {
		printf "%s:%d: a function of %d lines, 60 at most\n", FILENAME, start, length_of - 2
		bad = 1
	}
	start = 0
}
/(^|[^A-Za-z])(TODO|FIXME)([^A-Za-z]|$)/ {
	printf "%s:%d: %s\n", FILENAME, FNR, $0
	bad = 1
}
{
	lines[FILENAME]++
}
END {
	for (name in lines) {
		limit = name ~ /^tests\// ? 800 : 600
		if (lines[name] > limit) {
			printf "%s: %d lines, %d at most\n", name, lines[name], limit
			bad = 1
		}
	}
	exit bad
}' "${files[@]}"
echo "size: ${#files[@]} files are short"
