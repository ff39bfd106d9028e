/*
 * FIFOs: a pipe behind a node of the file system, for as long as somebody has it open.
 *
 * Opening for reading waits for a writer and the other way round, as fifo(7) says: what counts is that one
 * *came*, so both sides compare the number of opens there ever were; a writer that opens and goes at once
 * still lets the reader through. node->mutex guards node->fifo; the pipe's mutex is taken inside it.
 */
#include "abi/linux/pipe_internal.h"

#include "abi/linux/process.h"

/* The node's pipe with one opening more counted in, not yet as reader or writer. NULL: no memory. */
static struct pipe *fifo_attach(struct node *node)
{
    struct pipe *pipe;

    mutex_lock(&node->mutex);
    pipe = node->fifo;
    if (!pipe)
        pipe = node->fifo = pipe_create(node);
    if (pipe) {
        pipe_lock(pipe);
        pipe->files++;
        mutex_unlock(&pipe->mutex);
    }
    mutex_unlock(&node->mutex);
    return pipe;
}

static void fifo_detach(struct node *node, struct pipe *pipe)
{
    bool last;

    mutex_lock(&node->mutex);
    pipe_lock(pipe);
    last = --pipe->files == 0;
    if (last)
        node->fifo = NULL;
    mutex_unlock(&pipe->mutex);
    mutex_unlock(&node->mutex);
    if (last)
        pipe_destroy(pipe);
}

/* Until *opens has moved on from what it was. */
static int partner_wait(struct pipe *pipe, const uint32_t *opens)
{
    uint32_t seen = *opens;

    while (*opens == seen)
        if (waitq_sleep(&pipe->open_waiters, &pipe->mutex, DEADLINE_NEVER, WAIT_INTERRUPTIBLE))
            return -ERESTARTSYS;
    return 0;
}

/* The file is counted in already; waits for the other side where fifo(7) wants it. */
static int fifo_meet_locked(struct pipe *pipe, struct file *file, uint32_t flags)
{
    uint32_t access = flags & LINUX_O_ACCMODE;

    if (access == LINUX_O_RDONLY && !pipe->writers) {
        if (!(flags & LINUX_O_NONBLOCK))
            return partner_wait(pipe, &pipe->writer_opens);
        file->position = pipe->writer_opens; /* no hang-up yet: see pipe_poll */
    }
    if (access == LINUX_O_WRONLY && !pipe->readers)
        return partner_wait(pipe, &pipe->reader_opens);
    return 0;
}

int fifo_open(struct node *node, uint32_t flags, struct file **result)
{
    uint32_t access = flags & LINUX_O_ACCMODE;
    struct pipe *pipe;
    struct file *file = NULL;
    int error = 0;

    if (access == LINUX_O_ACCMODE)
        return -EINVAL;
    pipe = fifo_attach(node);
    if (!pipe)
        return -ENOMEM;
    pipe_lock(pipe);
    if (access == LINUX_O_WRONLY && (flags & LINUX_O_NONBLOCK) && !pipe->readers)
        error = -ENXIO;
    else if (!(file = pipe_file_create(pipe, flags)))
        error = -ENOMEM;
    else
        error = fifo_meet_locked(pipe, file, flags);
    mutex_unlock(&pipe->mutex);
    if (error && file)
        file_unref(file);
    fifo_detach(node, pipe);
    if (!error)
        *result = file;
    return error;
}
