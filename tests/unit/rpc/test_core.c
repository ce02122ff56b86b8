#include "common/rpc/core.h"

#include "common/rpc/loop.h"
#include "tests/support/suite.h"

static void setup(void)
{
	rpc_core_init();
}

static void teardown(void)
{
	grpc_shutdown();
}

static void take_both(gpr_mu *first, gpr_mu *second)
{
	gpr_mu_lock(first);
	gpr_mu_lock(second);
	gpr_mu_unlock(second);
	gpr_mu_unlock(first);
}

/* A mutex that notes in which order others are taken aborts the process here. */
START_TEST(the_order_of_locks_is_not_noted)
{
	gpr_mu a, b;

	gpr_mu_init(&a);
	gpr_mu_init(&b);
	take_both(&a, &b);
	take_both(&b, &a);
	gpr_mu_destroy(&a);
	gpr_mu_destroy(&b);
}
END_TEST

int main(void)
{
	return suite_run("core", setup, teardown,
			 (const TTest *const[]){the_order_of_locks_is_not_noted, NULL});
}
