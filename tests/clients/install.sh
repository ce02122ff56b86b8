#!/bin/bash
#
# install.sh BUILD-DIRECTORY: prints the directory of the npm packages that tests
# run against, which are installed below the build directory unless they are there.
set -euo pipefail

packages=(
	@grpc/grpc-js@1.14.7 @grpc/proto-loader@0.8.1 @grpc/reflection@1.0.4
	google-proto-files@6.0.1 grpc-js-reflection-client@1.4.2
)
directory=${1:?usage: install.sh BUILD-DIRECTORY}/npm-clients
mkdir -p "$directory"

# Test files run beside each other.
exec 9>"$directory/lock"
flock 9
if [[ $(cat "$directory/installed" 2>/dev/null) != "${packages[*]}" ]]; then
	npm install --prefix "$directory" --no-save --no-audit --no-fund --loglevel=error \
		"${packages[@]}" >&2
	echo "${packages[*]}" >"$directory/installed"
fi
echo "$directory/node_modules"
