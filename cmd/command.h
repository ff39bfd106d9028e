/*
 * The command's parts: what main.c chooses from, and the few helpers that all use.
 */
#ifndef CMD_COMMAND_H
#define CMD_COMMAND_H

/* Exit codes of our own; all others are the program's. As shells and env(1) use them. */
enum exit_code { EXIT_HYLA = 125, EXIT_NOT_EXECUTABLE = 126, EXIT_NOT_FOUND = 127 };

struct command {
    const char *name;
    const char *summary;
    void (*help)(void);                    /* to standard output */
    int (*main)(int argc, char **argv);    /* argv[0] is the command's name; returns the exit code */
};

extern const struct command command_run, command_server, command_ps, command_ports, command_boot, command_mounts, command_df;

/* "hyla: TEXT" and a newline to standard error, in one write. */
void complain(const char *text, ...) __attribute__((format(printf, 1, 2)));
/* Ends this process as a wait status says: returns the exit code, or kills it by the same signal. */
int finish_as(int wait_status);
/* For -EXXX: the text that people know. */
const char *error_text(int error);

#endif
