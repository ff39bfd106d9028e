/*
 * The host's signals as far as the standard streams care. A file of its own because <signal.h> and the guest's signal
 * types have a name in common.
 */
#include "body/linux/stdio_console.h"

#include <signal.h>

void stdio_ignore_pipe_signal(void) { signal(SIGPIPE, SIG_IGN); }
