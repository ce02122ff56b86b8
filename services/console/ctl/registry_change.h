/* The commands that change what is registered: register, check, import, unregister. */
#ifndef SERVICES_CONSOLE_CTL_REGISTRY_CHANGE_H
#define SERVICES_CONSOLE_CTL_REGISTRY_CHANGE_H

struct arguments;
struct session;

/* As struct command's run. */
int registry_change_register(struct session *s, const struct arguments *args);
int registry_change_check(struct session *s, const struct arguments *args);
int registry_change_import(struct session *s, const struct arguments *args);
int registry_change_unregister(struct session *s, const struct arguments *args);

#endif
