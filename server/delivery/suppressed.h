#pragma once
/// server/delivery/suppressed: what a login is told at submission of recipients that get no mail for now
/// (storage/suppression): a relay client, or anybody where the setting suppression.apply is "all", at RCPT; an account
/// whose message calls itself mail to many, at its end, where nobody else gets it. What is taken all the same fails in
/// the relay, with the same words.
/// Threads: the loop's, but for the work on the pool.
#include <optional>
#include <string>
#include <vector>

#include "protocols/net/loop.h"
#include "protocols/net/offload.h"
#include "protocols/net/task.h"
#include "storage/store.h"
#include "storage/suppression.h"

namespace posthouse::server {

/// The first of `recipients` that stops mail of this class, where all of them do; nothing where one does not.
net::Task<Result<std::optional<storage::Suppression>>> find_suppressed(storage::Store& store, net::ThreadPool& pool,
                                                                       net::Loop& loop, std::string sender,
                                                                       std::vector<std::string> recipients,
                                                                       std::uint8_t mail_class, Time now);
/// Writes down that a message was turned away at RCPT. Nobody waits for it.
void note_suppressed(storage::Store& store, net::ThreadPool& pool, std::string sender, std::string recipient,
                     const storage::Suppression& suppression);

}  // namespace posthouse::server
