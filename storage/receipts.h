#pragma once
/// storage/receipts: receipts that senders asked for (NOTIFY=SUCCESS) of what was delivered here, or spread by an alias
/// (RFC 3461 5.2.3, 5.2.7.3): written with the message, made and sent by the relay, which then removes them.
/// Invariants  1. A receipt is owed exactly when the message was taken: both are one commit.
///             2. It is sent and removed in one commit: once.
/// Threads: as Tx and Snapshot, which these are made from and must outlive them.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "storage/queue.h"
#include "storage/types.h"

namespace posthouse::storage {

class Snapshot;
class Tx;
struct Context;

struct Receipt {
    std::int64_t id = 0;
    MessageId message{};
    std::string message_id;  ///< the Message-ID field
    std::string sender;      ///< reverse-path
    std::string envid;
    TlsWish tls = TlsWish::policy;
    Time accepted{};
    std::string recipient;  ///< as the sender wrote to it
    std::string orcpt;
    bool expanded = false;  ///< an alias with several targets; else it lies in a mailbox here
};

class ReceiptView {
 public:
    explicit ReceiptView(const Snapshot& snapshot);
    explicit ReceiptView(Tx& tx);
    /// The oldest first; those of one message stand together.
    Result<std::vector<Receipt>> owed(std::size_t count_max) const;
    /// The header of the message; "" where it is gone by now.
    Result<std::string> header(MessageId message) const;

 protected:
    const Context& context_;
};

class ReceiptTx final : public ReceiptView {
 public:
    explicit ReceiptTx(Tx& tx);
    /// `message` and what it is known by come from the row; its id is given here.
    Result<> add(const Receipt& receipt);
    Result<> remove(std::span<const std::int64_t> ids);

 private:
    Context& write_;
};

}  // namespace posthouse::storage
