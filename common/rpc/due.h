/*
 * Calls that end at a time of the server's choosing unless something happens
 * before. Private to common/rpc.
 *
 * All calls of a list are given the same while, so that who was put in first is
 * due first. The loop that a call lives on has the lists, and their mutex.
 */
#ifndef COMMON_RPC_DUE_H
#define COMMON_RPC_DUE_H

#include <stdbool.h>
#include <stdint.h>

struct rpc_call;
struct rpc_server_loop;

struct rpc_due_list {
	struct rpc_call *first, *last;
};

/* A call's place in a list of its loop. */
struct rpc_due {
	struct rpc_due_list *list; /* that it is in; NULL: in none */
	struct rpc_call *next, *previous;
	uint64_t at_ns;
	bool was_in; /* ever, so that calls that never were need no lock at their end */
};

/* Put @c at the end of @list of its loop; it is moved there if it is in already. */
void rpc_due_put(struct rpc_call *c, struct rpc_due_list *list, uint64_t at_ns);
void rpc_due_remove(struct rpc_call *c);

/* End those of @home whose time is up. */
void rpc_due_end(struct rpc_server_loop *home);

#endif
