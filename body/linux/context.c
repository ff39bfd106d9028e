/*
 * Contexts and stacks of microthreads. Each stack has a guard page below it.
 *
 * AddressSanitizer and ThreadSanitizer are told of every switch, so that both understand the stacks.
 */
#include "kernel/body.h"
#include "kernel/assert.h"

#include "body/linux/context.h"

#include <pthread.h>
#include <sys/mman.h>

#if defined(__SANITIZE_ADDRESS__)
#define ADDRESS_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ADDRESS_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)
#define THREAD_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define THREAD_SANITIZER 1
#endif
#endif

#ifdef ADDRESS_SANITIZER
void __sanitizer_start_switch_fiber(void **fake_stack, const void *bottom, size_t size);
void __sanitizer_finish_switch_fiber(void *fake_stack, const void **old_bottom, size_t *old_size);
void __asan_unpoison_memory_region(void const volatile *address, size_t size);
#endif
#ifdef THREAD_SANITIZER
void *__tsan_get_current_fiber(void);
void *__tsan_create_fiber(unsigned flags);
void __tsan_destroy_fiber(void *fiber);
void __tsan_switch_to_fiber(void *fiber, unsigned flags);
#endif

void context_swap(void **save, void *load);
extern char context_begin[];

void *body_stack_alloc(void)
{
    char *block = mmap(NULL, BODY_STACK_SIZE + PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (block == MAP_FAILED)
        return NULL;
    if (mprotect(block, PAGE_SIZE, PROT_NONE) != 0) {
        munmap(block, BODY_STACK_SIZE + PAGE_SIZE);
        return NULL;
    }
    return block + PAGE_SIZE;
}

void body_stack_free(void *stack) { munmap((char *)stack - PAGE_SIZE, BODY_STACK_SIZE + PAGE_SIZE); }

#ifdef ADDRESS_SANITIZER
/* A new context has nobody's frame to return to: it finishes the switch itself, then starts. */
struct beginning {
    void (*function)(void *);
    void *argument;
};
static void begin(void *where)
{
    struct beginning beginning = *(struct beginning *)where;
    __sanitizer_finish_switch_fiber(NULL, NULL, NULL);
    beginning.function(beginning.argument);
}
#endif

void body_context_init(struct body_context *context, void *stack, void (*function)(void *), void *argument)
{
    char *top = (char *)stack + BODY_STACK_SIZE;
#ifdef ADDRESS_SANITIZER
    __asan_unpoison_memory_region(stack, BODY_STACK_SIZE);
    top -= sizeof(struct beginning);
    *(struct beginning *)(void *)top = (struct beginning){function, argument};
    argument = top;
    function = begin;
#endif
    void **frame = (void **)(void *)(top - 64 - 9 * 8); /* the stack is aligned at the call */
    frame[0] = frame[1] = frame[2] = NULL; /* r15 r14 r13 */
    frame[3] = argument;                   /* r12 */
    frame[4] = (void *)function;           /* rbx */
    frame[5] = NULL;                       /* rbp */
    frame[6] = context_begin;
    frame[7] = NULL;
    context->stack_pointer = frame;
    context->stack_low = stack;
    context->stack_size = BODY_STACK_SIZE;
    context->fake_stack = NULL;
#ifdef THREAD_SANITIZER
    context->fiber = __tsan_create_fiber(0);
#endif
}

#ifdef ADDRESS_SANITIZER
/* A worker's own stack, for switches to its scheduler context: nobody made that one with body_context_init. */
static _Thread_local const void *worker_stack;
static _Thread_local size_t worker_stack_size;

static NOINLINE void start_switch(void **fake_stack, const struct body_context *to)
{
    const void *low = to->stack_low ? to->stack_low : worker_stack;
    __sanitizer_start_switch_fiber(fake_stack, low, to->stack_low ? to->stack_size : worker_stack_size);
}

void context_note_worker(void)
{
    pthread_attr_t attributes;
    void *low;
    size_t size;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0 && pthread_attr_getstack(&attributes, &low, &size) == 0) {
        worker_stack = low;
        worker_stack_size = size;
        pthread_attr_destroy(&attributes);
    }
}
#else
void context_note_worker(void) {}
#endif

#ifdef THREAD_SANITIZER
/* A fiber cannot be destroyed while it runs: the one that was left goes at the next switch on this host thread. */
static _Thread_local void *dead_fiber;

static NOINLINE void bury(void *fiber)
{
    if (dead_fiber)
        __tsan_destroy_fiber(dead_fiber);
    dead_fiber = fiber;
}
#endif

void body_context_switch(struct body_context *from, struct body_context *to)
{
#ifdef THREAD_SANITIZER
    if (!from->fiber)
        from->fiber = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
#ifdef ADDRESS_SANITIZER
    start_switch(&from->fake_stack, to);
#endif
    context_swap(&from->stack_pointer, to->stack_pointer);
#ifdef ADDRESS_SANITIZER
    const void *old_low;
    size_t old_size;
    __sanitizer_finish_switch_fiber(from->fake_stack, &old_low, &old_size);
#endif
}

void body_context_leave(struct body_context *from, struct body_context *to)
{
    void *ignored;
#ifdef THREAD_SANITIZER
    bury(from->fiber);
    from->fiber = NULL;
    __tsan_switch_to_fiber(to->fiber, 0);
#endif
#ifdef ADDRESS_SANITIZER
    start_switch(NULL, to);
#endif
    (void)from;
    context_swap(&ignored, to->stack_pointer);
}
