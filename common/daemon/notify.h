/* Readiness for systemd: sd_notify(3)'s protocol, a datagram to NOTIFY_SOCKET. */
#ifndef COMMON_DAEMON_NOTIFY_H
#define COMMON_DAEMON_NOTIFY_H

/* @state is such as "READY=1". Nobody listening is fine. */
void notify_supervisor(const char *state);

#endif
