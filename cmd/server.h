/*
 * `hyla server` and those who look into one: what their files share.
 */
#ifndef CMD_SERVER_H
#define CMD_SERVER_H

/* The path of the socket: `given`, $HYLA_SOCKET, or $XDG_RUNTIME_DIR/hyla.sock. NULL after a complaint. Static memory. */
const char *server_socket_path(const char *given);
/* A listening socket there, mode 0600; a stale one is replaced. Or the exit code, negated, after a complaint. */
int server_listen(const char *path);
/* A socket that a service manager has opened already (LISTEN_FDS), or -1. */
int server_inherited_socket(void);

#endif
