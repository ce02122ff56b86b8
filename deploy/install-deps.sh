#!/bin/bash
#
# Installs what Collector is built from and runs on.
#
#   install-deps.sh            to build and run
#   install-deps.sh --dev      and to test
#   install-deps.sh --check    installs nothing: names what is missing or too old
#
# For Debian 13, Ubuntu 24.04 and later. Debian 12's SQLite is too old, and its
# grpc-go, which tests call with and are called by; with COLLECTOR_ALLOW_TRIXIE=1
# these are taken from Debian 13's suite "trixie", which brings Debian 13's C
# library along, and nothing else is. Elsewhere an old grpc-go is done without: what
# needs it is skipped. What to do is decided by what apt offers, not by
# /etc/os-release: a Debian 12 with that C library calls itself 13.
set -euo pipefail

readonly trixie_list=/etc/apt/sources.list.d/collector-trixie.list
readonly trixie_pin=/etc/apt/preferences.d/collector-trixie
readonly sqlite_minimum=3.45
readonly grpc_go_minimum=1.34
readonly grpc_go=/usr/share/gocode/src/google.golang.org/grpc

runtime_packages=(
	ca-certificates gcc libc6-dev make pkg-config
	libevent-dev libgrpc-dev libjansson-dev libprotobuf-c-dev libprotobuf-dev libsqlite3-dev
	protobuf-c-compiler protobuf-compiler supervisor zlib1g-dev
)
# check links with libsubunit and its tests are run by Python; networks of tests are made
# with iproute2 and iptables; with h2 they speak HTTP/2 themselves; npm fetches buf and the
# conformance tests' runner; g++ compiles what is held against libprotobuf's C++.
dev_packages=(
	check clang clang-format clang-tidy cppcheck g++ git iproute2 iptables libprotoc-dev
	libsubunit-dev protobuf-compiler-grpc python3 python3-grpcio python3-h2 python3-protobuf
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
	'zlib|zlib|1.2|zlib1g-dev'
)
dev_modules=('Check|check|0.15|check' 'subunit|libsubunit|1.4|libsubunit-dev')

# program | apt package
runtime_programs=('cc|gcc' 'make|make' 'protoc|protobuf-compiler'
	'protoc-c|protobuf-c-compiler' 'supervisord|supervisor')
dev_programs=('c++|g++' 'clang|clang' 'clang-format|clang-format' 'clang-tidy|clang-tidy'
	'cppcheck|cppcheck' 'git|git' 'grpc_python_plugin|protobuf-compiler-grpc' 'ip|iproute2'
	'npm|npm' 'nsenter|util-linux' '/usr/bin/python3|python3' '/usr/sbin/iptables|iptables')

runtime_files=('/usr/include/google/protobuf/descriptor.proto|libprotobuf-dev')
dev_files=('/usr/include/google/protobuf/compiler/parser.h|libprotoc-dev')

# What is held against grpc-go, where apt offers one that is new enough: its classes
# since 1.34, and gRPC's .proto files, which one of two packages has (tests/support/protos.py
# looks there too).
readonly grpc_go_classes=$grpc_go/interop/grpc_testing/test_grpc.pb.go
grpc_protos=(/usr/share/grpc-proto/grpc/testing/test.proto
	$grpc_go/debian/missing-sources/grpc/grpc-proto/master/grpc/testing/test.proto)

dev=0 check_only=0

die()
{
	printf 'install-deps: %s\n' "$*" >&2
	exit 1
}

usage()
{
	sed -n '3,15s/^# \{0,1\}//p' "$0"
}

has_go()
{
	command -v go /usr/lib/go-*/bin/go >/dev/null
}

grpc_go_problems()
{
	has_go || echo "missing program: go (package golang-go)"
	[[ -e $grpc_go_classes ]] ||
		echo "missing file: $grpc_go_classes (package golang-google-grpc-dev >= $grpc_go_minimum)"
	[[ -e ${grpc_protos[0]} || -e ${grpc_protos[1]} ]] ||
		echo "missing file: grpc/testing/test.proto (package grpc-proto, else golang-google-grpc-dev)"
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
	if ((dev)) && offers_grpc_go; then
		grpc_go_problems
	fi
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
		! /usr/bin/python3 -c 'import grpc, google.protobuf, h2' 2>/dev/null; then
		echo "missing Python modules: grpc, google.protobuf, h2" \
			"(packages python3-grpcio, python3-protobuf, python3-h2)"
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
	# Read to its end: apt-cache fails when grep is content before.
	LC_ALL=C apt-cache policy | grep "o=Debian.*n=$1," >/dev/null
}

is_new_enough()
{
	local version

	version=$(candidate "$1")
	[[ -n $version ]] && dpkg --compare-versions "$version" ge "$2"
}

# Debian 12 may take Debian 13's; elsewhere an old one is done without.
offers_grpc_go()
{
	command -v apt-cache >/dev/null || return 1
	is_new_enough golang-google-grpc-dev "$grpc_go_minimum" || offers_suite bookworm
}

# What apt offers too old.
packages_from_trixie()
{
	is_new_enough libsqlite3-dev "$sqlite_minimum" || echo libsqlite3-dev
	((dev)) && offers_grpc_go || return 0
	is_new_enough golang-google-grpc-dev "$grpc_go_minimum" ||
		printf '%s\n' golang-google-grpc-dev golang-1.24-go
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

install_from_trixie()
{
	local keyring=/usr/share/keyrings/debian-archive-keyring.gpg

	echo "install-deps: taking $* from Debian 13's suite trixie, pinned at 100"
	write_trixie_pin
	if ! offers_suite trixie; then
		echo "deb [signed-by=$keyring] http://deb.debian.org/debian trixie main" |
			as_root tee "$trixie_list" >/dev/null
		apt_get update
	fi
	apt_get install --no-install-recommends -t trixie "$@"
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
	# A Go or an npm that is there, from whatever source, is left alone.
	command -v npm >/dev/null || echo npm
	# Debian 13 has no such package: its grpc-go has the same files.
	[[ -z $(candidate grpc-proto) ]] || echo grpc-proto
	offers_grpc_go || return 0
	echo golang-google-grpc-dev
	has_go || echo golang-go
}

install()
{
	local package
	local -a missing=() wanted from_trixie

	[[ -n $(problems) ]] || return 0
	command -v apt-get >/dev/null ||
		die "needs apt: Debian 13, Ubuntu 24.04 or later; elsewhere see --check for what to install"
	if [[ -e $trixie_pin ]]; then
		write_trixie_pin
	fi
	# Without lists nothing can be decided.
	[[ -n $(candidate libgrpc-dev) ]] || apt_get update

	mapfile -t from_trixie < <(packages_from_trixie)
	if ((${#from_trixie[@]})); then
		apt_get update
		mapfile -t from_trixie < <(packages_from_trixie)
	fi
	if ((${#from_trixie[@]})); then
		offers_suite bookworm || die "apt offers nothing new enough of ${from_trixie[*]}" \
			"(SQLite >= $sqlite_minimum is needed): Debian 13 and Ubuntu 24.04 have it"
		[[ ${COLLECTOR_ALLOW_TRIXIE:-} == 1 ]] || die \
			"Debian 12 has nothing new enough of ${from_trixie[*]} (SQLite >= $sqlite_minimum" \
			"is needed). With COLLECTOR_ALLOW_TRIXIE=1 this script takes it from Debian 13's" \
			"suite trixie, pinned at 100; SQLite brings Debian 13's C library along."
	fi

	mapfile -t wanted < <(packages_to_install)
	for package in "${wanted[@]}"; do
		[[ " ${from_trixie[*]} " == *" $package "* ]] && continue
		[[ $package == golang-go && " ${from_trixie[*]} " == *" golang-"*"-go "* ]] && continue
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
	if ((${#from_trixie[@]})); then
		install_from_trixie "${from_trixie[@]}"
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
if ((dev)) && [[ ! -e $grpc_go_classes ]]; then
	echo "install-deps: apt offers no grpc-go >= $grpc_go_minimum: make test will skip what is held against it"
fi
((check_only)) || echo "install-deps: everything is there"
