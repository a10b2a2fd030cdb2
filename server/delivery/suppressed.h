#pragma once
/// server/delivery/suppressed: what a login is told at submission of recipients that get no mail for now
/// (storage/suppression): a relay client, or anybody where the setting suppression.apply is "all", at RCPT; an account
/// whose message calls itself mail to many, at its end, where nobody else gets it. What is taken all the same fails in
/// the relay, with the same words.
/// Threads: the loop's, but for the work on the pool.
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "protocols/base/clock.h"
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
/// Writes down which recipients were turned away. Nobody waits for it, and no thread is held: what comes while one
/// write is under way goes with the next. Threads: the loop's.   Limits: kNotesMax that wait; more are counted in the
/// log.
class SuppressionNotes {
 public:
    static constexpr std::size_t kNotesMax = 10'000;
    static constexpr std::size_t kNotesAWrite = 500;

    SuppressionNotes(storage::Store& store, net::Loop& loop);
    void add(std::string sender, std::string recipient, const storage::Suppression& suppression, Time now);

 private:
    struct State;
    static void write_some(const std::shared_ptr<State>& state);
    std::shared_ptr<State> state_;  // what is under way may outlive us
};

}  // namespace posthouse::server
