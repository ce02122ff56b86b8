/*
 * The gRPC core of this process, started for the first who needs it.
 */
#ifndef COMMON_RPC_CORE_H
#define COMMON_RPC_CORE_H

/*
 * As grpc_init(), with which grpc_shutdown() pairs. Any thread.
 *
 * Debian builds Abseil, whose mutexes the core uses, without NDEBUG: then each lock is
 * noted in a graph of the whole process, under one spinlock, and the process is aborted
 * when two locks are ever taken in two orders. That is for who develops the core: it costs
 * a daemon that forwards calls a fifteenth of its processor time, and is turned off.
 */
void rpc_core_init(void);

#endif
