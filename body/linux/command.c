/*
 * S2C calls: commands that the server has a client's stub carry out for it, because nobody else can.
 *
 * They travel in the calling thread's own slot while it waits for its answer: the microthread writes
 * them, hands the slot over (mode COMMAND), suspends, and is woken by the post that says they are done.
 * A client may answer anything: results are read once and treated as a program's input.
 */
#include "body/linux/attach.h"

struct stub_command *command_at(struct user_thread *user, uint32_t index, uint32_t operation)
{
    KASSERT(index < STUB_COMMANDS_MAX);
    struct stub_command *command = &user->slot->commands[index];
    command->operation = operation;
    command->result = -ECANCELED;
    return command;
}

int commands_run(struct user_thread *user, uint32_t count)
{
    KASSERT(user->thread == thread_current());
    KASSERT(mode_of(atomic32_load_relaxed(&user->mode)) == MODE_KERNEL);
    if (atomic32_load(&user->lost))
        return -ESRCH;
    STATISTIC(s2c_rounds, 1);
    user->slot->command_count = count;
    atomic32_store(&user->done, 0);
    mode_begin_answer(user);
    hot_add(user);
    post_answer(user, SLOT_COMMAND, MODE_COMMAND);
    if (UNLIKELY(user->client->attached != NULL))
        return attach_command_wait(user);
    if (UNLIKELY(thread_killed(user->thread))) /* its kick came while it was in the kernel */
        client_expect_end(user);
    while (!atomic32_load(&user->done))
        thread_suspend();
    return atomic32_load(&user->lost) ? -ESRCH : 0;
}

int64_t command_result(struct user_thread *user, uint32_t index)
{
    return __atomic_load_n(&user->slot->commands[index].result, __ATOMIC_RELAXED);
}

int64_t command_one(struct user_thread *user, uint32_t operation, const uint64_t *arguments, uint32_t count)
{
    struct stub_command *command = command_at(user, 0, operation);
    for (uint32_t i = 0; i < count; i++)
        command->arguments[i] = arguments[i];
    int error = commands_run(user, 1);
    return error ? error : command_result(user, 0);
}

uint32_t command_trap(struct user_thread *user)
{
    if (user->trapped)
        return 0;
    command_at(user, 0, STUB_TRAP);
    return 1;
}

int user_make_trapped(struct user_thread *user)
{
    if (command_trap(user) == 0)
        return 0;
    int error = commands_run(user, 1);
    if (error)
        return error;
    user->trapped = true;
    return 0;
}
