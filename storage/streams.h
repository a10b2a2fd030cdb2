#pragma once
/// storage/streams: kinds of mail that a domain or an account sends: receipts, a newsletter. A stream gives its mail a
/// class; one that is a list lets each recipient unsubscribe in one step (RFC 8058).
///
///   a message of a list is taken -> each recipient gets a number -> his copy leaves with a token (number, signature)
///   -> he sends it back by POST or mail -> suppression 'unsubscribed' in the stream's scope
/// Invariants  1. A token is good for one recipient of one stream, until kTokenDays after mail of it was taken for him
///                last: also when the stream is gone or came back.
///             2. Nobody can make one: it is signed with a key from the store's secret.
///             3. The name of a stream has no dot: as a scope of suppressions it is never taken for a domain.
/// Threads: as Tx and Snapshot, which these are made from and must outlive them.   Limits: below.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "storage/queue.h"
#include "storage/types.h"

namespace posthouse::storage {

class CatalogView;
class Connection;
class Snapshot;
class Store;
class Tx;

inline constexpr std::size_t kStreamsMax = 1000;
inline constexpr std::size_t kStreamNameMax = 40;
inline constexpr std::int64_t kTokenDays = 730;

struct Stream {
    std::string name;
    std::string owner;  ///< a domain: whoever writes as it; an account's address: that one; lower case
    QueueClass mail_class = QueueClass::bulk;
    bool is_list = false;
    Time created{};
};

/// Lower-case letters, digits, '-' and '_', beginning with a letter: it is a scope of suppressions too, and those are
/// lower case.
bool is_stream_name(std::string_view name);
/// Whether mail of this author, handed in by this login (address of an account, name of a relay client), may be of it.
bool may_use(const Stream& stream, std::string_view author, std::string_view login);

/// Who a token is about.
struct Subscription {
    std::string stream;
    std::string address;  ///< lower case
};

/// Where those who want no more of a list go, without a slash at the end: the setting unsubscribe.url, or this host.
Result<std::string> unsubscribe_url(const CatalogView& catalog, std::string_view hostname);

class StreamView {
 public:
    explicit StreamView(const Snapshot& snapshot);
    explicit StreamView(Tx& tx);
    Result<std::vector<Stream>> list() const;  ///< by name
    Result<std::optional<Stream>> find(std::string_view name) const;
    /// To whom mail of it was ever taken, unsubscribed or not.
    Result<std::uint64_t> recipient_count(std::string_view stream) const;
    /// The token of a recipient of a list; "" where no mail of the list was ever taken for him.
    Result<std::string> token(std::string_view stream, std::string_view address, std::string_view sealing_key) const;
    /// Whom it is about; nothing for a token that nobody here made.
    Result<std::optional<Subscription>> open(std::string_view token, std::string_view sealing_key) const;

 protected:
    Connection& db_;
};

class StreamTx final : public StreamView {
 public:
    explicit StreamTx(Tx& tx);
    /// Errc::invalid, already_exists, limit.
    Result<> add(const Stream& stream);
    /// Owner, class and whether it is a list; Errc::not_found.
    Result<> set(const Stream& stream);
    /// Tokens and suppressions stay. Errc::not_found.
    Result<> remove(std::string_view name);
    /// Mail of the list goes to him from now on.
    Result<> subscribe(std::string_view stream, std::string_view address);
    /// Suppresses him in the stream's scope; again and again is the same. `how` is kept: "by POST from 192.0.2.1".
    /// Nothing for a token that nobody here made.
    Result<std::optional<Subscription>> unsubscribe(std::string_view token, std::string_view sealing_key,
                                                    std::string_view how);

 private:
    Tx& tx_;
};

}  // namespace posthouse::storage
