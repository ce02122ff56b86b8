/* record import: JSON lines into a collection, many under way at once. */
#ifndef SERVICES_CONSOLE_CTL_IMPORT_H
#define SERVICES_CONSOLE_CTL_IMPORT_H

struct arguments;
struct session;

/* The exit code: 0 when every line was stored (or skipped, where asked). */
int import_run(struct session *s, const struct arguments *args);

#endif
