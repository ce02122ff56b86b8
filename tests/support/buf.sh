#!/bin/bash
#
# buf.sh BUILD-DIRECTORY: prints the path of buf, which is installed from npm
# below that directory unless it is there.
set -euo pipefail

version=1.75.0
npm_dir=${1:?usage: buf.sh BUILD-DIRECTORY}/npm
buf=$npm_dir/node_modules/.bin/buf

if [[ $("$buf" --version 2>/dev/null) != "$version" ]]; then
	npm install --prefix "$npm_dir" --no-save --no-audit --no-fund --loglevel=error \
		"@bufbuild/buf@$version" >&2
fi
echo "$buf"
