#pragma once
/// relay/receipts: makes and sends the receipts that are owed (storage/receipts): "delivered" of what lies in a mailbox
/// here, "expanded" of an alias with several targets (RFC 3461 5.2.3 (a), 5.2.7.3 (c)). One report a message.
/// Threads: the loop's.   Limits: kReceiptsAStep recipients at a time.
#include "protocols/net/task.h"

namespace posthouse::relay {

struct Core;

inline constexpr std::size_t kReceiptsAStep = 200;

/// True where some have been sent: mail may be due by it.
net::Task<bool> send_receipts(Core& core);

}  // namespace posthouse::relay
