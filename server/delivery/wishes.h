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
#include "storage/submissions.h"

namespace posthouse::server {

/// "q12", or "m12" for what is in mailboxes here only.
std::string public_id(storage::MessageId message, std::optional<storage::QueueId> queue);
/// Whose idempotency keys these are; "": strangers have none.
std::string key_owner(const storage::Delivery& delivery, std::optional<storage::RelayClientId> client);
/// What the first one with this key was told, where there is one.
Result<std::optional<smtp::AcceptedMessage>> find_first(storage::Tx& tx, std::string_view owner,
                                                        const smtp::Wishes& wishes);

/// Tokens of unsubscribe addresses that were written to, and whence.
struct Farewell {
    std::vector<std::string> tokens;
    std::string how;
    Farewell() = default;
};
Farewell farewell_of(const smtp::Envelope& envelope);
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

/// The stream of a message: whose it is, its class, and who wants none of it. `usual` is of the relay client, or "".
/// Errc::refused with a sentence for the client.
net::Task<Result<>> apply_stream(storage::Store& store, net::ThreadPool& pool, net::Loop& loop, std::string usual,
                                 storage::Delivery& delivery, smtp::Envelope& envelope, Time now);

}  // namespace posthouse::server
