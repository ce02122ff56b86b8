#!/bin/bash
#
# Installs what Collector is built from and runs on.
#
#   install-deps.sh            to build and run
#   install-deps.sh --dev      and to test
#   install-deps.sh --check    installs nothing: names what is missing or too old
#
# For Debian 13, Ubuntu 24.04 and later. Debian 12's SQLite is too old; with
# COLLECTOR_ALLOW_TRIXIE=1 it is taken from Debian 13's suite "trixie", which
# brings Debian 13's C library along, and nothing else is. What to do is decided
# by what apt offers, not by /etc/os-release: a Debian 12 with that C library
# calls itself 13.
set -euo pipefail

readonly trixie_list=/etc/apt/sources.list.d/collector-trixie.list
readonly trixie_pin=/etc/apt/preferences.d/collector-trixie
readonly sqlite_minimum=3.45

runtime_packages=(
	ca-certificates gcc libc6-dev make pkg-config
	libevent-dev libgrpc-dev libjansson-dev libprotobuf-c-dev libprotobuf-dev libsqlite3-dev
	protobuf-c-compiler protobuf-compiler supervisor
)
# check links with libsubunit and its tests are run by Python; networks of tests are made
# with iproute2 and iptables; npm fetches buf and
# the conformance tests' runner; g++ compiles what is held against libprotobuf's C++.
dev_packages=(
	check clang clang-format clang-tidy cppcheck g++ git grpc-proto libprotoc-dev
	iproute2 iptables libsubunit-dev protobuf-compiler-grpc python3 python3-grpcio python3-protobuf
)

# name for a person | pkg-config module | least version | apt package. gRPC's
# module carries the version of its C core: 1.51 is 29.
runtime_modules=(
	'gRPC C core (29 is gRPC 1.51)|grpc|29.0.0|libgrpc-dev'
	'protobuf-c|libprotobuf-c|1.4|libprotobuf-c-dev'
	"SQLite|sqlite3|$sqlite_minimum|libsqlite3-dev"
	'libevent|libevent|2.1|libevent-dev'
	'libevent_pthreads|libevent_pthreads|2.1|libevent-dev'
	'jansson|jansson|2.13|libjansson-dev'
)
dev_modules=('Check|check|0.15|check' 'subunit|libsubunit|1.4|libsubunit-dev')

# program | apt package
runtime_programs=('cc|gcc' 'make|make' 'protoc|protobuf-compiler'
	'protoc-c|protobuf-c-compiler' 'supervisord|supervisor')
dev_programs=('c++|g++' 'clang|clang' 'clang-format|clang-format' 'clang-tidy|clang-tidy'
	'cppcheck|cppcheck' 'git|git' 'grpc_python_plugin|protobuf-compiler-grpc' 'ip|iproute2'
	'npm|npm' 'nsenter|util-linux' '/usr/bin/python3|python3' '/usr/sbin/iptables|iptables')

runtime_files=('/usr/include/google/protobuf/descriptor.proto|libprotobuf-dev')
dev_files=('/usr/share/grpc-proto/grpc/testing/test.proto|grpc-proto'
	'/usr/include/google/protobuf/compiler/parser.h|libprotoc-dev')

dev=0 check_only=0

die()
{
	printf 'install-deps: %s\n' "$*" >&2
	exit 1
}

usage()
{
	sed -n '3,13s/^# \{0,1\}//p' "$0"
}

# Prints one line for each thing that is missing or too old.
problems()
{
	local name module least package program path
	local -a modules=("${runtime_modules[@]}") programs=("${runtime_programs[@]}")
	local -a files=("${runtime_files[@]}")

	if ((dev)); then
		modules+=("${dev_modules[@]}")
		programs+=("${dev_programs[@]}")
		files+=("${dev_files[@]}")
	fi
	for program in "${programs[@]}"; do
		command -v "${program%|*}" >/dev/null ||
			echo "missing program: ${program%|*} (package ${program#*|})"
	done
	for path in "${files[@]}"; do
		[[ -e ${path%|*} ]] || echo "missing file: ${path%|*} (package ${path#*|})"
	done
	if ! command -v pkg-config >/dev/null; then
		echo "missing program: pkg-config (package pkg-config)"
		return
	fi
	for module in "${modules[@]}"; do
		IFS='|' read -r name module least package <<<"$module"
		if ! pkg-config --exists "$module"; then
			echo "missing library: $name >= $least (package $package)"
		elif ! pkg-config --atleast-version="$least" "$module"; then
			echo "too old: $name is $(pkg-config --modversion "$module")," \
				"needs >= $least (package $package)"
		fi
	done
	if ((dev)) && [[ -x /usr/bin/python3 ]] &&
		! /usr/bin/python3 -c 'import grpc, google.protobuf' 2>/dev/null; then
		echo "missing Python modules: grpc, google.protobuf" \
			"(packages python3-grpcio, python3-protobuf)"
	fi
	if ((dev)) && command -v clang >/dev/null &&
		! clang -fsanitize=address -x c -o /dev/null - <<<'int main(void) { return 0; }' 2>/dev/null; then
		echo "missing library: clang's sanitizer runtime (package libclang-rt-N-dev, N its version)"
	fi
}

# Fails, having named everything, unless all is there.
verify()
{
	local found

	found=$(problems)
	[[ -z $found ]] && return
	{
		echo "install-deps: Collector cannot be built here:"
		printf '  %s\n' "${found//$'\n'/$'\n  '}"
		((check_only)) && echo "Run ./deploy/install-deps.sh$( ((dev)) && echo ' --dev')"
	} >&2
	exit 1
}

as_root()
{
	if ((EUID == 0)); then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo "$@"
	else
		die "'$1' needs root, and there is no sudo"
	fi
}

apt_get()
{
	as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y \
		-o DPkg::Lock::Timeout=120 -o Dpkg::Use-Pty=0 "$@"
}

is_installed()
{
	[[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null) == installed ]]
}

# The version of a package that apt would install; empty: none.
candidate()
{
	LC_ALL=C apt-cache policy "$1" | sed -n 's/^  Candidate: \([^(].*\)/\1/p'
}

offers_suite()
{
	LC_ALL=C apt-cache policy | grep -q "o=Debian.*n=$1,"
}

sqlite_is_new_enough()
{
	local version

	version=$(candidate libsqlite3-dev)
	[[ -n $version ]] && dpkg --compare-versions "$version" ge "$sqlite_minimum"
}

# Nothing comes from trixie unasked, but its C library, once there, must come from
# it whole: packages of one glibc fit no other's.
write_trixie_pin()
{
	as_root tee "$trixie_pin" >/dev/null <<-EOF
		Package: *
		Pin: release n=trixie
		Pin-Priority: 100

		Package: src:glibc
		Pin: release n=trixie
		Pin-Priority: 500
	EOF
}

install_sqlite_from_trixie()
{
	local keyring=/usr/share/keyrings/debian-archive-keyring.gpg

	echo "install-deps: taking SQLite from Debian 13's suite trixie, pinned at 100"
	write_trixie_pin
	if ! offers_suite trixie; then
		echo "deb [signed-by=$keyring] http://deb.debian.org/debian trixie main" |
			as_root tee "$trixie_list" >/dev/null
		apt_get update
	fi
	apt_get install --no-install-recommends -t trixie libsqlite3-dev
}

packages_to_install()
{
	local package compiler

	for package in "${runtime_packages[@]}"; do
		echo "$package"
	done
	((dev)) || return 0
	for package in "${dev_packages[@]}"; do
		echo "$package"
	done
	# The sanitizers' runtime of whatever clang is the default.
	compiler=$(LC_ALL=C apt-cache depends clang | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p')
	[[ -z $compiler ]] || echo "libclang-rt-$compiler-dev"
	# An npm that is there, from whatever source, is left alone.
	command -v npm >/dev/null || echo npm
}

install()
{
	local package from_trixie=0
	local -a missing=() wanted

	[[ -n $(problems) ]] || return 0
	command -v apt-get >/dev/null ||
		die "needs apt: Debian 13, Ubuntu 24.04 or later; elsewhere see --check for what to install"
	if [[ -e $trixie_pin ]]; then
		write_trixie_pin
	fi
	# Without lists nothing can be decided.
	[[ -n $(candidate libgrpc-dev) ]] || apt_get update

	if ! sqlite_is_new_enough; then
		apt_get update
	fi
	if ! sqlite_is_new_enough; then
		offers_suite bookworm || die "SQLite >= $sqlite_minimum is needed, and apt offers" \
			"'$(candidate libsqlite3-dev)': Debian 13 and Ubuntu 24.04 are the oldest that have it"
		[[ ${COLLECTOR_ALLOW_TRIXIE:-} == 1 ]] || die \
			"Debian 12's SQLite ($(candidate libsqlite3-dev)) is too old, >= $sqlite_minimum is" \
			"needed. With COLLECTOR_ALLOW_TRIXIE=1 this script takes it from Debian 13's suite" \
			"trixie, pinned at 100; it brings Debian 13's C library along."
		from_trixie=1
	fi

	mapfile -t wanted < <(packages_to_install)
	for package in "${wanted[@]}"; do
		[[ $package == libsqlite3-dev ]] && ((from_trixie)) && continue
		is_installed "$package" || missing+=("$package")
	done
	if ((${#missing[@]})); then
		echo "install-deps: installing ${missing[*]}"
		# The lists may be older than the archive, which drops what it replaces.
		apt_get install --no-install-recommends "${missing[@]}" || {
			apt_get update
			apt_get install --no-install-recommends "${missing[@]}"
		}
	fi
	# Last, so that the other packages are chosen as if there were no trixie.
	if ((from_trixie)); then
		install_sqlite_from_trixie
	fi
}

while (($#)); do
	case $1 in
	--dev) dev=1 ;;
	--check) check_only=1 ;;
	-h | --help)
		usage
		exit 0
		;;
	*) die "unknown option '$1'; see --help" ;;
	esac
	shift
done

((check_only)) || install
verify
((check_only)) || echo "install-deps: everything is there"
