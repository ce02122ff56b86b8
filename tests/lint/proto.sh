#!/bin/bash
#
# buf: names and comments of our protos, and that nothing of the published
# interface (contract.binpb) changed or vanished. Usage: proto.sh BUILD-DIRECTORY
set -euo pipefail
cd "$(dirname "$0")/../.."

version=1.75.0
npm_dir=${1:?usage: proto.sh BUILD-DIRECTORY}/npm
buf=$npm_dir/node_modules/.bin/buf

if [[ $("$buf" --version 2>/dev/null) != "$version" ]]; then
	npm install --prefix "$npm_dir" --no-save --no-audit --no-fund --loglevel=error \
		"@bufbuild/buf@$version"
fi
# No look at the user's own configuration and credentials.
export BUF_CACHE_DIR=$npm_dir/buf-cache
"$buf" lint
"$buf" breaking --against tests/lint/contract.binpb
echo "proto: lint clean, compatible with the contract"
