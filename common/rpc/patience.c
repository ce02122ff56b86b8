#include "common/rpc/patience.h"

void patience_init(struct patience *p, uint64_t look_ns)
{
	*p = (struct patience){.look_ns = look_ns, .enough = PATIENCE_FEWEST};
}

bool patience_has(const struct patience *p)
{
	return p->look_ns && p->streak >= p->enough;
}

void patience_waited(struct patience *p, uint64_t waited_ns)
{
	if (waited_ns >= p->look_ns)
		p->streak = 0;
	else if (waited_ns >= PATIENCE_SLEEP_NS && p->streak < PATIENCE_MOST)
		p->streak++;
}

void patience_lose(struct patience *p)
{
	p->streak = 0;
}

void patience_looked(struct patience *p, bool found, uint64_t looked_ns)
{
	if (!found) {
		p->streak = 0;
		if (p->enough < PATIENCE_MOST)
			p->enough *= 2;
	} else if (looked_ns >= PATIENCE_SLEEP_NS && p->enough > PATIENCE_FEWEST) {
		p->enough--;
	}
}
