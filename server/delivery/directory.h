#pragma once
/// server/delivery: where does mail for an address go, and taking it there.
///   directory.h: the addresses of this host as an immutable picture in memory; resolve() and owns() touch no disk
///   backend.h:   the door through which SMTP sessions reach the store
/// How an address is followed is storage/address_walk.h.
/// Threads: a DirectoryPicture is immutable and may be read from any; Directory belongs to its loop.
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/net/loop.h"
#include "protocols/net/offload.h"
#include "protocols/smtp/path.h"
#include "server/delivery/bounce_addresses.h"
#include "server/delivery/relay_clients.h"
#include "storage/address_walk.h"
#include "storage/store.h"

namespace posthouse::server {

inline constexpr std::chrono::milliseconds kFreshPause{100};

using storage::Resolution;

/// Octet-wise hash and equality that take string_views.
struct TextHash {
    using is_transparent = void;
    std::size_t operator()(std::string_view text) const { return std::hash<std::string_view>()(text); }
};
template <class Value>
using TextMap = std::unordered_map<std::string, Value, TextHash, std::equal_to<>>;

class DirectoryPicture {
 public:
    struct AccountFacts {
        storage::AccountId id{};
        bool limited = false;  ///< it or its domain has a quota
    };

    /// Reads domains, accounts, aliases and the settings "postmaster" and "postmaster.DOMAIN" (account addresses) and
    /// "senders.ADDRESS" (domains, divided by blanks, that this account may send for: another server that relays here).
    static Result<std::shared_ptr<const DirectoryPicture>> load(const storage::CatalogView& catalog);

    Resolution resolve(const ::posthouse::smtp::Path& path) const;
    bool is_ours(std::string_view domain) const;
    /// Whether the account may write as `path`: its address, an alias that leads to it, either with a +tag; or any
    /// address of a domain that it may send for.
    bool owns(storage::AccountId account, const ::posthouse::smtp::Path& path) const;
    /// Whether any of these accounts, or its domain, has a quota, so that its use must be looked up.
    bool any_limited(const std::vector<storage::AccountId>& accounts) const;
    std::size_t account_count() const { return accounts_.size(); }

 private:
    class Table;

    std::string first_domain_;
    TextMap<std::optional<storage::AccountId>> domains_;  // who gets the mail of its roles
    TextMap<AccountFacts> accounts_;
    TextMap<std::vector<std::string>> aliases_;
    std::unordered_map<std::int64_t, bool> limited_;
    std::unordered_set<std::int64_t> disabled_;
    std::unordered_map<std::int64_t, std::vector<std::string>> sender_domains_;
};

/// The current picture, kept current: after a commit that changed the catalog it is read anew on the pool.
class Directory {
 public:
    /// Reads the first picture at once (at start, before the loop runs).
    static Result<std::unique_ptr<Directory>> open(storage::Store& store, net::Loop& loop, net::ThreadPool& pool);
    ~Directory();

    std::shared_ptr<const DirectoryPicture> picture() const;
    /// The bounce addresses, kept current likewise; the object stays good while it is held.
    std::shared_ptr<const BounceAddresses> bounces() const;
    /// The relay clients, kept current likewise.
    RelayClientBook& clients() const;
    /// A picture read now, for whoever is about to say no: an account that the command line added a moment ago gets its
    /// mail. Reads at most once in kFreshPause whatever strangers ask; between, the picture that is there.
    net::Task<std::shared_ptr<const DirectoryPicture>> fresh();
    /// Reads the catalog anew soon. Any thread.
    void refresh();

 private:
    struct State;
    explicit Directory(std::shared_ptr<State> state) : state_(std::move(state)) {}
    std::shared_ptr<State> state_;
};

}  // namespace posthouse::server
