#!/bin/bash
#
# Every C file as .clang-format has it; `make format` makes it so.
set -euo pipefail
cd "$(dirname "$0")/../.."

mapfile -t files < <(git ls-files '*.c' '*.h')
clang-format --dry-run -Werror "${files[@]}"
echo "format: ${#files[@]} files are formatted"
