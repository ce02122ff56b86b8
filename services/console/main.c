/* collector-console: what the whole system looks like, from the other daemons' numbers. */
#include "common/daemon/daemon.h"
#include "services/console/rpc.h"

static enum status open_console(struct daemon *d, const void *config, void **ret_state,
				struct error *err)
{
	(void)config;
	(void)err;
	*ret_state = console_rpc_new(d);
	return STATUS_OK;
}

static void start_console(void *state)
{
	console_rpc_start(state);
}

static void close_console(void *state)
{
	console_rpc_free(state);
}

static const struct daemon_spec spec = {
	.name = DAEMON_CONSOLE,
	.summary = "Shows the whole system: daemons, types, collections, workflows, mesh.",
	.open = open_console,
	.start = start_console,
	.close = close_console,
};

int main(int argc, char **argv)
{
	return daemon_run(&spec, argc, argv);
}
