#include "common/rpc/core.h"

#include <absl/base/options.h>
#include <dlfcn.h>
#include <grpc/grpc.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define TEXT_(word) #word
#define TEXT(word)  TEXT_(word)

enum { ON_DEADLOCK_CYCLE_IGNORE = 0 }; /* of absl::OnDeadlockCycle */

/*
 * absl::SetMutexDeadlockDetectionMode() as the linker names it: C++, in a namespace that
 * tells the distribution's build. Looked for at run time, since what it does may well not
 * be there: then locks cost what they cost.
 */
static void ignore_lock_order(void)
{
	static const char inside[] = TEXT(ABSL_OPTION_INLINE_NAMESPACE_NAME);
	void *program = dlopen(NULL, RTLD_LAZY);
	void (*set_mode)(int mode);
	char name[128];

	if (!program)
		return;
	(void)snprintf(name, sizeof(name),
		       "_ZN4absl%zu%s29SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE",
		       strlen(inside), inside);
	*(void **)&set_mode = dlsym(program, name);
	if (set_mode)
		set_mode(ON_DEADLOCK_CYCLE_IGNORE);
	(void)dlclose(program); /* a count: the program stays */
}

void rpc_core_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, ignore_lock_order);
	grpc_init();
}
