#!/bin/bash
#
# What breaks between two versions of files, with buf as the oracle:
# run.sh BUILD-DIRECTORY [NAME...]
set -euo pipefail
cd "$(dirname "$0")/../.."

build=${1:?usage: run.sh BUILD-DIRECTORY [NAME...]}
shift
buf=$(tests/support/buf.sh "$build")
# No look at the user's own configuration and credentials.
export BUF_CACHE_DIR=$build/npm/buf-cache
exec "${PYTHON:-/usr/bin/python3}" tests/compat/run.py "$buf" \
	"$build/bin/tests/compat/findings" "$@"
