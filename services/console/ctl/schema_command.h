/* registry schema: what the JSON of a message looks like. */
#ifndef SERVICES_CONSOLE_CTL_SCHEMA_COMMAND_H
#define SERVICES_CONSOLE_CTL_SCHEMA_COMMAND_H

struct arguments;
struct session;

/* As struct command's run. */
int schema_command(struct session *s, const struct arguments *args);

#endif
