#ifndef ABI_LINUX_TRACE_NAMES_H
#define ABI_LINUX_TRACE_NAMES_H

/* "ENOENT" for ENOENT (positive), or NULL. */
const char *error_name(int error);
/* "SIGINT"; buffer holds what has no constant name. */
const char *signal_name(int signal, char buffer[16]);

#endif
