/*
 * Calls of words where the kernel takes none in registers: by `msg`.
 */
#include <hyla/calls.h>
#include <string.h>

static void words_in(struct hyla_msg *msg, const struct hyla_words *message) { memcpy(msg->words, message->word, sizeof msg->words); }

static int64_t words_out(const struct hyla_msg *msg, struct hyla_words *message, int64_t result)
{
    memcpy(message->word, msg->words, sizeof msg->words);
    message->badge = msg->badge;
    return result;
}

int64_t hyla_word_call(hyla_handle_t to, struct hyla_words *message)
{
    struct hyla_msg msg = {.flags = HYLA_MSG_SEND | HYLA_MSG_CALL, .to = to};
    words_in(&msg, message);
    int64_t error = hyla_msg(&msg);
    return error ? error : words_out(&msg, message, 0);
}

int64_t hyla_word_reply_wait(hyla_handle_t from, hyla_handle_t reply, struct hyla_words *message)
{
    struct hyla_msg msg = {.flags = HYLA_MSG_RECEIVE | (reply ? HYLA_MSG_SEND : 0), .to = reply, .from = from};
    words_in(&msg, message);
    int64_t error = hyla_msg(&msg);
    return error ? error : words_out(&msg, message, msg.reply);
}
