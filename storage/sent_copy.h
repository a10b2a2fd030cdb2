#pragma once
/// storage/sent_copy: the copy of a submitted message in its sender's Sent mailbox, for accounts that want one
/// (Account::file_sent). A client may file its own: whoever comes second, within kSentWindow, finds the first by its
/// Message-ID, so that there is one.
/// Invariant: an APPEND is taken for the copy that is there only where the server filed that one, it is not marked
/// \Deleted, and all below the header is the same; else it is kept beside it.
/// Threads: the commit thread, within a write.
#include <chrono>
#include <optional>
#include <string_view>

#include "protocols/base/result.h"
#include "protocols/mime/facts.h"
#include "storage/body.h"
#include "storage/mail.h"

namespace posthouse::storage {

class Tx;

inline constexpr std::chrono::minutes kSentWindow{60};
inline constexpr Uid kSentLookBackMax = 200;  ///< entries of the mailbox that are compared, the newest

/// The mailbox of that special use (RFC 6154), or where none is marked the one with the usual name, made where missing.
Result<Mailbox> mailbox_of_use(MailTx& mail, SpecialUse use, const char* usual_name);
/// Files `message`, which came in through this write, \Seen. Nothing where the account wants none, where one is there
/// already, or where there is no room for it: the message itself is sent all the same.
Result<std::optional<Entry>> file_sent(Tx& tx, AccountId account, MessageId message, std::string_view message_id,
                                       std::uint64_t size_octets);
/// The copy that stands in `mailbox` for a message which its owner is about to append there; it takes these flags on.
/// Nothing where the mailbox is not the one for sent mail of an account that wants copies.
Result<std::optional<Entry>> find_filed(Tx& tx, AccountId account, const Mailbox& mailbox,
                                        const mime::MessageFacts& facts, const StagedBody& body,
                                        const AppendOptions& options);

}  // namespace posthouse::storage
