#pragma once
/// server/imap/fetch_cache: what FETCH answered of messages and will always answer: envelopes, structures, chosen
/// header fields, previews. Clients ask for the same list of a mailbox again and again; said from memory it costs
/// neither a read nor a parse.
///
/// One column holds one item of one mailbox by UID. A message in a mailbox never changes and a UID is never given twice
/// (RFC 3501 2.3.1.1), so nothing here is ever wrong; what is no more asked for goes with the space it is needed for.
/// Authorisation is not decided here: a session asks only for UIDs that the store has told it of, and only in mailboxes
/// of its own account. What others share is read anew each time, since a right can be taken away.
/// Invariants  1. What a column has it keeps as long as somebody holds the column.
///             2. Columns that can be found hold `octets_max` in all at most.
/// Threads: any.
#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>

#include "protocols/base/metrics.h"
#include "storage/types.h"

namespace posthouse::server::imap {

inline constexpr std::uint64_t kFetchCacheOctets = 32ULL * 1024 * 1024;
inline constexpr std::size_t kFetchTextOctetsMax = 8 * 1024;  ///< of one item of one message; longer ones are not kept

class FetchCache {
 public:
    class Column;
    using ColumnPtr = std::shared_ptr<Column>;

    /// `metrics` may be null.
    explicit FetchCache(std::uint64_t octets_max, Metrics* metrics = nullptr);
    ~FetchCache();
    FetchCache(const FetchCache&) = delete;
    FetchCache& operator=(const FetchCache&) = delete;

    /// The column of an item, which counts as used now. `item` as the answer spells it: "BODY[HEADER.FIELDS (DATE)]".
    ColumnPtr column(storage::AccountId account, storage::MailboxId mailbox, std::string_view item);
    bool has(const Column& column, storage::Uid uid) const;
    /// False, and nothing appended, where it is not there.
    bool append(const Column& column, storage::Uid uid, std::string& out) const;
    /// Where there is no room even without all other columns, nothing.
    void keep(Column& column, storage::Uid uid, std::string_view text);

    /// Octets of what can be found.
    std::uint64_t octets() const;

 private:
    struct Key {
        storage::AccountId account{};
        storage::MailboxId mailbox{};
        std::string item;
        auto operator<=>(const Key&) const = default;
    };
    void drop_oldest_but(const Column& kept, std::uint64_t wanted);
    void count();

    const std::uint64_t octets_max_;
    Metrics::Value* gauge_ = nullptr;
    mutable std::mutex mutex_;
    std::map<Key, ColumnPtr> columns_;  // guarded by mutex_, as all below
    std::list<ColumnPtr> used_;         // the longest unused first
    std::uint64_t octets_ = 0;
};

}  // namespace posthouse::server::imap
