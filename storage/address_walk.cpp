#include "storage/address_walk.h"

#include <algorithm>
#include <deque>
#include <unordered_set>

#include "protocols/base/ascii.h"
#include "storage/context.h"
#include "storage/sqlite.h"

namespace posthouse::storage {
namespace {

// "user+tag" -> "user"; nothing where there is no tag, or no user before it (RFC 5233 calls it the detail).
std::string_view without_tag(std::string_view local) {
    const std::size_t plus = local.find('+');
    return plus == std::string_view::npos || plus == 0 ? std::string_view() : local.substr(0, plus);
}

bool is_role(std::string_view local) {
    return ascii::equals_ci(local, "postmaster") || ascii::equals_ci(local, "abuse");
}

// One expansion: breadth first, every alias entered once.
class Walk {
 public:
    explicit Walk(const AddressTable& table) : table_(table) {}

    Result<Resolution> run(const smtp::Path& start) {
        TRY_VOID(visit(start.local_part, ascii::to_lower(start.domain), start.domain, 0));
        while (!open_.empty() && !too_many_) {
            const Target next = std::move(open_.front());
            open_.pop_front();
            const auto path = smtp::parse_mailbox(next.address);
            if (path) TRY_VOID(visit(path->local_part, ascii::to_lower(path->domain), path->domain, next.depth));
        }
        Resolution out = std::move(found_);
        if (too_many_) {
            out = Resolution();
            out.kind = Resolution::Kind::too_many;
        } else if (!out.accounts.empty() || !out.remote.empty()) {
            out.kind = Resolution::Kind::deliver;
        }
        return out;
    }

 private:
    struct Target {
        std::string address;
        std::size_t depth = 0;
    };

    Result<bool> enter(const std::string& key, std::size_t depth) {
        if (entered_.contains(key)) return false;
        TRY(const auto targets, table_.alias(key));
        if (!targets) return false;
        entered_.insert(key);
        for (const std::string& target : *targets) {
            if (depth + 1 > kAliasDepthMax || ++targets_ > kAliasTargetsMax) {
                too_many_ = true;
                return true;
            }
            open_.push_back(Target{target, depth + 1});
        }
        return true;
    }

    bool deliver(std::optional<AccountId> account) {
        if (!account) return false;
        if (std::ranges::find(found_.accounts, *account) == found_.accounts.end()) found_.accounts.push_back(*account);
        return true;
    }

    // An alias comes before an account of the same name; an alias that names itself means that account.
    Result<bool> find(std::string_view local, const std::string& domain, std::size_t depth) {
        const std::string key = ascii::to_lower(local) + "@" + domain;
        TRY(const bool entered, enter(key, depth));
        if (entered) return true;
        TRY(const auto account, table_.account(key));
        return deliver(account) || entered_.contains(key);
    }

    // `written`: the domain as it stands in the address.
    Result<> visit(std::string_view local, const std::string& domain, const std::string& written, std::size_t depth) {
        TRY(const bool ours, table_.is_ours(domain));
        if (!ours) {
            std::string address = smtp::Path(std::string(local), written).spec();
            if (seen_remote_.insert(ascii::to_lower(address)).second) found_.remote.push_back(std::move(address));
            return {};
        }
        TRY(const bool found, find(local, domain, depth));
        if (found) return {};
        if (const std::string_view base = without_tag(local); !base.empty()) {
            TRY(const bool found_base, find(base, domain, depth));
            if (found_base) return {};
        }
        if (is_role(local)) {
            TRY(const auto account, table_.role_account(domain));
            if (deliver(account)) return {};
        }
        TRY_VOID(enter("@" + domain, depth));
        return {};
    }

    const AddressTable& table_;
    Resolution found_;
    std::deque<Target> open_;
    std::unordered_set<std::string> entered_;
    std::unordered_set<std::string> seen_remote_;
    std::size_t targets_ = 0;
    bool too_many_ = false;
};

// What is not there is no error here.
template <class T>
Result<std::optional<T>> if_there(Result<T> found) {
    if (found) return std::optional<T>(*std::move(found));
    if (found.error().code == Errc::not_found) return std::optional<T>();
    return Error(found.error());
}

}  // namespace

Result<Resolution> walk_addresses(const AddressTable& table, const smtp::Path& start) {
    TRY(const bool ours, table.is_ours(ascii::to_lower(start.domain)));
    if (ours) return Walk(table).run(start);
    Resolution out;
    out.kind = Resolution::Kind::not_ours;
    return out;
}

const Account* role_account(const Domain& domain, std::span<const std::optional<std::string>> named,
                            std::span<const Account> accounts) {
    for (const auto& name : named) {
        if (!name) continue;
        const auto found = std::ranges::find(accounts, *name, &Account::address);
        if (found != accounts.end()) return &*found;
    }
    const auto own = std::ranges::find(accounts, domain.id, &Account::domain);
    if (own != accounts.end()) return &*own;
    // A domain of aliases only: the first account of the house answers for it.
    return accounts.empty() ? nullptr : &accounts.front();
}

class AddressView::Table final : public AddressTable {
 public:
    Table(Connection& db, const CatalogView& catalog) : db_(db), catalog_(catalog) {}

    Result<bool> is_ours(const std::string& domain) const override {
        TRY(const auto found, if_there(catalog_.domain(domain)));
        return found && found->is_hosted;
    }

    Result<std::optional<std::vector<std::string>>> alias(const std::string& address) const override {
        Query q = db_.query(
            "SELECT t.target FROM aliases a LEFT JOIN alias_targets t ON t.alias = a.id WHERE a.address = ?1 "
            "ORDER BY t.position");
        q.bind(address);
        std::optional<std::vector<std::string>> out;
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) return out;
            if (!out) out.emplace();
            if (!q.is_null(0)) out->push_back(q.text(0));
        }
    }

    Result<std::optional<AccountId>> account(const std::string& address) const override {
        TRY(const auto found, if_there(catalog_.account(address)));
        return found ? std::optional(found->id) : std::nullopt;
    }

    Result<std::optional<AccountId>> role_account(const std::string& domain) const override {
        TRY(const Domain whose, catalog_.domain(domain));
        TRY(std::vector<Account> accounts, catalog_.accounts());
        std::ranges::sort(accounts, {}, [](const Account& a) { return raw(a.id); });
        std::optional<std::string> named[2];
        TRY(named[0], catalog_.setting("postmaster." + domain));
        TRY(named[1], catalog_.setting("postmaster"));
        const Account* const found = storage::role_account(whose, named, accounts);
        return found == nullptr ? std::nullopt : std::optional(found->id);
    }

 private:
    Connection& db_;
    const CatalogView& catalog_;
};

AddressView::AddressView(const Snapshot& snapshot) : db_(context_of(snapshot).db), catalog_(snapshot.catalog()) {}
AddressView::AddressView(Tx& tx) : db_(context_of(tx).db), catalog_(tx.catalog()) {}

Result<Resolution> AddressView::resolve(const smtp::Path& path) const {
    return walk_addresses(Table(db_, catalog_), path);
}

}  // namespace posthouse::storage
