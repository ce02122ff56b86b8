#!/bin/bash
#
# Runs the five daemons under supervisord, in the foreground, until Ctrl-C or
# SIGTERM; `make run` calls it. Environment:
#
#   BIN         the directory of the programs (default: build/bin)
#   DATA        the data directory (default: ./data)
#   PORT_BASE   dispatcher +1, registry +2, repo +3, worker +4, console +5
#               (default: 50050)
#
# Exit code 0 after being told to stop, 1 when it could not start or supervisord
# ended by itself.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
readonly here
readonly daemons=(dispatcher registry repo worker console)
readonly serving_timeout=30s
# A socket's path has 108 bytes, supervisord appends its process id.
readonly socket_path_max=90

BIN=${BIN:-$here/../build/bin}
DATA=${DATA:-./data}
PORT_BASE=${PORT_BASE:-50050}
supervisor=
waiter=

die()
{
	printf 'run: %s\n' "$*" >&2
	exit 1
}

check_environment()
{
	local program daemon

	if [[ ! $PORT_BASE =~ ^[0-9]{1,5}$ ]] || ((10#$PORT_BASE < 1 || 10#$PORT_BASE > 65530)); then
		die "PORT_BASE is '$PORT_BASE', must be 1 to 65530"
	fi
	command -v supervisord >/dev/null || die "supervisord is missing: ./deploy/install-deps.sh"
	for daemon in "${daemons[@]}"; do
		program=$BIN/collector-$daemon
		[[ -x $program ]] || die "no $program: run make"
	done
}

is_port_taken()
{
	(exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

set_addresses()
{
	local daemon port=$((10#$PORT_BASE))

	for daemon in "${daemons[@]}"; do
		port=$((port + 1))
		! is_port_taken "$port" || die "port $port ($daemon) is taken:" \
			"is another collector running? Choose other ports with PORT_BASE"
		export "COLLECTOR_${daemon^^}_ADDRESS=127.0.0.1:$port"
	done
}

make_data_directory()
{
	(umask 077 && mkdir -p "$DATA/log") || die "cannot make the data directory $DATA"
	COLLECTOR_DATA=$(cd "$DATA" && pwd)
	# Held by this process alone: its children are started without the descriptor.
	exec {lock}>"$COLLECTOR_DATA/run.lock"
	flock -n "$lock" || die "$COLLECTOR_DATA is in use by another collector; choose another DATA"
	COLLECTOR_SUPERVISOR_SOCKET=$COLLECTOR_DATA/supervisor.sock
	if ((${#COLLECTOR_SUPERVISOR_SOCKET} > socket_path_max)); then
		COLLECTOR_SUPERVISOR_SOCKET=$(mktemp -u "${TMPDIR:-/tmp}/collector-XXXXXXXX.sock")
	fi
	export COLLECTOR_DATA COLLECTOR_SUPERVISOR_SOCKET
}

show_logs()
{
	local daemon

	for daemon in "${daemons[@]}"; do
		if [[ -s $COLLECTOR_DATA/log/$daemon.log ]]; then
			echo "--- $COLLECTOR_DATA/log/$daemon.log" >&2
			tail -n 8 "$COLLECTOR_DATA/log/$daemon.log" >&2
		fi
	done
}

# Ends supervisord, which ends the daemons first, and waits for it.
stop()
{
	[[ -z $waiter ]] || kill "$waiter" 2>/dev/null || :
	if [[ -n $supervisor ]] && kill -TERM "$supervisor" 2>/dev/null; then
		wait "$supervisor" || :
	fi
}

# shellcheck disable=SC2317 # called by trap
on_signal()
{
	trap '' INT TERM HUP
	echo "run: stopping" >&2
	stop
	exit 0
}

check_environment
set_addresses
make_data_directory
export BIN

trap on_signal INT TERM HUP
# In a session of its own: a terminal's Ctrl-C must reach it through stop() alone.
# Should this script be killed, supervisord is told to stop.
setpriv --pdeathsig TERM setsid supervisord -c "$here/supervisord.conf" </dev/null {lock}>&- &
supervisor=$!

"$BIN/collectorctl" --address "$COLLECTOR_DISPATCHER_ADDRESS" --timeout "$serving_timeout" \
	status --wait >/dev/null {lock}>&- &
waiter=$!
serving=0
wait -n "$supervisor" "$waiter" || serving=$?
if ! kill -0 "$supervisor" 2>/dev/null; then
	waiter_pid=$waiter waiter=
	kill "$waiter_pid" 2>/dev/null || :
	tail -n 5 "$COLLECTOR_DATA/log/supervisord.log" >&2 || :
	die "supervisord ended"
fi
waiter=
if ((serving != 0)); then
	show_logs
	stop
	die "not every daemon is serving after $serving_timeout; logs are in $COLLECTOR_DATA/log"
fi

echo "front door: $COLLECTOR_DISPATCHER_ADDRESS"
echo "data and logs: $COLLECTOR_DATA, $COLLECTOR_DATA/log (Ctrl-C stops)"
wait "$supervisor" || :
show_logs
die "supervisord ended by itself"
