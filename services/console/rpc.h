/* collector.CollectorConsole over gRPC. */
#ifndef SERVICES_CONSOLE_RPC_H
#define SERVICES_CONSOLE_RPC_H

struct console_rpc;
struct daemon;

/* Adds the service to the daemon's server; NOT_SERVING until console_rpc_start(). */
struct console_rpc *console_rpc_new(struct daemon *d);

/* Watch for the dispatcher: SERVING while it answers. */
void console_rpc_start(struct console_rpc *c);
void console_rpc_free(struct console_rpc *c);

#endif
