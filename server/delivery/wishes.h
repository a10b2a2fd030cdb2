#pragma once
/// server/delivery/wishes: what programs say beside the envelope (smtp::Wishes), on its way into the store: idempotency
/// keys, notes, streams; and mail to unsubscribe addresses, which says the opposite.
/// Threads: the coroutine on the loop; what takes a Tx on the commit thread.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/metrics.h"
#include "protocols/net/loop.h"
#include "protocols/net/offload.h"
#include "protocols/net/task.h"
#include "server/smtp/backend.h"
#include "storage/store.h"
#include "storage/streams.h"
#include "storage/submissions.h"

namespace posthouse::server {

/// "q12", or "m12" for what is in mailboxes here only.
std::string public_id(storage::MessageId message, std::optional<storage::QueueId> queue);
/// Whose idempotency keys these are; "": strangers have none.
std::string key_owner(const smtp::Envelope& envelope, std::optional<storage::RelayClientId> client);
/// SMTP: what tells messages of one key apart is whom they go to, for clients split one that has many recipients.
void name_recipients(smtp::Envelope& envelope);
/// What the first one with this key was told, where there is one. What comes by SMTP for somebody new is not known;
/// Errc::unavailable where some of them became known just now, by another session.
Result<std::optional<smtp::AcceptedMessage>> find_first(const storage::SubmissionView& view, std::string_view owner,
                                                        const smtp::Wishes& wishes, Time now);
/// SMTP: whoever got the message of this key before gets it no second time: only those who are new are left in the
/// envelope and in its digest. Where nobody is new it stays as it is, and find_first() answers.
net::Task<Result<>> leave_out_known(storage::Store& store, net::ThreadPool& pool, net::Loop& loop, std::string owner,
                                    smtp::Envelope& envelope, Time now);
/// Whether there is one, before anything is written.
net::Task<Result<bool>> is_known(storage::Store& store, net::ThreadPool& pool, net::Loop& loop, std::string owner,
                                 const smtp::Wishes& wishes, Time now);
/// What a program says of its message counts; else it is mail of a program all the same.
void choose_class(storage::NewQueueItem& item, const smtp::Wishes& wishes);

/// Tokens of unsubscribe addresses that somebody wrote to, and whence; none where a machine did.
struct Farewell {
    std::vector<std::string> tokens;
    std::string how;
    Farewell() = default;
};
Farewell farewell_of(const smtp::Envelope& envelope, std::string_view octets);
/// Nobody else is to get the message.
bool is_farewell(const smtp::Envelope& envelope);
Result<> take_leave(storage::Tx& tx, const std::string& sealing_key, const Farewell& farewell);
/// The same for a message that is nothing else; `count` counts whoever left.
net::Task<Result<smtp::AcceptedMessage>> take_farewell(storage::Store& store, net::Loop& loop, Metrics::Value& count,
                                                       Farewell farewell);
/// Errc::not_found where nobody here made the token.
net::Task<Result<smtp::RecipientKind>> look_up_farewell(storage::Store& store, net::ThreadPool& pool, net::Loop& loop,
                                                        std::string token);

/// After the delivery, in its write: numbers for the recipients of a list, events of those left out, key and notes.
/// Gives back what the client is told.
Result<smtp::AcceptedMessage> carry_out(storage::Tx& tx, const storage::Delivery& delivery,
                                        const storage::Accepted& taken, std::string_view owner,
                                        const smtp::Wishes& wishes);

/// The stream, where this author and this login may use it; Errc::denied with one sentence where they may not or there
/// is none: whose it is is nobody else's business.
net::Task<Result<storage::Stream>> find_stream(storage::Store& store, net::ThreadPool& pool, net::Loop& loop,
                                               std::string name, std::string author, std::string login);
/// The stream of a message: whose it is, its class, and who wants none of it. `usual` is of the relay client, or "".
/// With a sentence for the client: Errc::denied, about the stream; Errc::refused, none of them wants it.
net::Task<Result<std::optional<storage::Stream>>> apply_stream(storage::Store& store, net::ThreadPool& pool,
                                                               net::Loop& loop, std::string usual,
                                                               storage::Delivery& delivery, smtp::Envelope& envelope,
                                                               Time now);

}  // namespace posthouse::server
