/*
 * The boundary with user mode: what a thread enters the kernel with, and user memory.
 *
 * User memory is read once: what was checked is what is used. All copies may suspend (a page may have to
 * be waited for) unless said otherwise, so no spinlock may be held.
 */
#ifndef KERNEL_USER_H
#define KERNEL_USER_H

#include "kernel/types.h"

struct aspace;
struct thread;

enum user_entry_kind {
    USER_CALL,      /* a system call */
    USER_FAULT,     /* a memory fault or an exception */
    USER_INTERRUPT, /* body_user_kick reached it in user mode */
    USER_LOST,      /* its user side is gone (killed from outside): the thread must exit */
};

struct user_entry {
    enum user_entry_kind kind;
    /* USER_CALL */
    uint64_t number;
    uint64_t arguments[6];
    int64_t result; /* out: what the call returns, unless body_user_set_regs was called */
    /* USER_FAULT: as a Linux siginfo would say it */
    int32_t signal; /* the ABI-neutral fault class in Linux's numbers: SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP */
    int32_t code;
    uint64_t address;
    uint64_t trap_number; /* architecture's */
    uint64_t error_code;
};

/* An ABI's entry, registered once at start. Runs in the user thread, on a kernel stack. */
struct abi {
    const char *name;
    void (*entry)(struct thread *thread, struct user_entry *entry);
    /*
     * A hint for bodies: the call reads user memory at argument *pointer (0 to 5); how much is in argument *length, or
     * unknown (a string, a struct): *length = *pointer. False: nothing worth handing over with the call. May be NULL.
     */
    bool (*call_reads)(uint64_t number, uint32_t *pointer, uint32_t *length);
};
/* A body that hands over memory with a call hands over at most this much; reads of that size may then be free. */
#define USER_WINDOW_BYTES 240u
bool user_call_reads(uint64_t number, uint32_t *pointer, uint32_t *length);
void abi_register(const struct abi *abi);
/* For bodies: hands an entry to the ABI. On return the body resumes user mode. */
void user_enter(struct thread *thread, struct user_entry *entry);

/* The calling thread's own address space. 0 or -EFAULT; a failed copy may have moved a part. */
int user_read(void *to, uaddr_t from, size_t size);
int user_write(uaddr_t to, const void *from, size_t size);
/* How many bytes could be moved. */
size_t user_read_some(void *to, uaddr_t from, size_t size);
size_t user_write_some(uaddr_t to, const void *from, size_t size);
/* Length without the terminator, -EFAULT, or -ENAMETOOLONG when `size` bytes hold no terminator. */
int64_t user_read_string(char *to, uaddr_t from, size_t size);
int user_zero(uaddr_t to, size_t size);

#endif
