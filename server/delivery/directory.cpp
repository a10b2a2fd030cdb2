#include "server/delivery/directory.h"

#include <algorithm>
#include <unordered_set>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"

namespace posthouse::server {

namespace {

std::vector<std::string> words_of(std::string_view text) {
    std::vector<std::string> out;
    while (!text.empty()) {
        const std::size_t end = text.find(' ');
        if (end != 0) out.emplace_back(text.substr(0, end));
        text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
    }
    return out;
}

}  // namespace

class DirectoryPicture::Table final : public storage::AddressTable {
 public:
    explicit Table(const DirectoryPicture& picture) : picture_(picture) {}

    Result<bool> is_ours(const std::string& domain) const override { return picture_.domains_.contains(domain); }
    Result<std::optional<std::vector<std::string>>> alias(const std::string& address) const override {
        const auto found = picture_.aliases_.find(address);
        return found == picture_.aliases_.end() ? std::nullopt : std::optional(found->second);
    }
    Result<std::optional<storage::AccountId>> account(const std::string& address) const override {
        const auto found = picture_.accounts_.find(address);
        return found == picture_.accounts_.end() ? std::nullopt : std::optional(found->second.id);
    }
    Result<std::optional<storage::AccountId>> role_account(const std::string& domain) const override {
        const auto found = picture_.domains_.find(domain);
        return found == picture_.domains_.end() ? std::nullopt : found->second;
    }

 private:
    const DirectoryPicture& picture_;
};

Result<std::shared_ptr<const DirectoryPicture>> DirectoryPicture::load(const storage::CatalogView& catalog) {
    auto out = std::make_shared<DirectoryPicture>();
    TRY(std::vector<storage::Domain> domains, catalog.hosted_domains());
    TRY(std::vector<storage::Account> accounts, catalog.accounts());
    TRY(std::vector<storage::Alias> aliases, catalog.aliases());
    TRY(const std::optional<std::string> any_postmaster, catalog.setting("postmaster"));
    std::ranges::sort(domains, {}, [](const storage::Domain& d) { return storage::raw(d.id); });
    std::ranges::sort(accounts, {}, [](const storage::Account& a) { return storage::raw(a.id); });

    std::unordered_set<std::int64_t> limited_domains;
    for (const storage::Domain& domain : domains) {
        if (domain.quota_octets > 0 || domain.quota_messages > 0) limited_domains.insert(storage::raw(domain.id));
    }
    for (const storage::Account& account : accounts) {
        const bool limited = account.quota_octets > 0 || account.quota_messages > 0 ||
                             limited_domains.contains(storage::raw(account.domain));
        out->limited_[storage::raw(account.id)] = limited;
        if (account.disabled) out->disabled_.insert(storage::raw(account.id));
        out->accounts_[account.address] = AccountFacts{account.id, limited};
        TRY(const std::optional<std::string> senders, catalog.setting("senders." + account.address));
        if (senders && !senders->empty()) out->sender_domains_[storage::raw(account.id)] = words_of(*senders);
    }
    for (storage::Alias& alias : aliases) out->aliases_[alias.address] = std::move(alias.targets);
    for (const storage::Domain& domain : domains) {
        if (out->first_domain_.empty()) out->first_domain_ = domain.name;
        TRY(const std::optional<std::string> named, catalog.setting("postmaster." + domain.name));
        const std::optional<std::string> both[] = {named, any_postmaster};
        const storage::Account* const role = storage::role_account(domain, both, accounts);
        out->domains_[domain.name] = role == nullptr ? std::nullopt : std::optional(role->id);
    }
    return std::shared_ptr<const DirectoryPicture>(std::move(out));
}

bool DirectoryPicture::is_ours(std::string_view domain) const { return domains_.contains(ascii::to_lower(domain)); }

Resolution DirectoryPicture::resolve(const smtp::Path& path) const {
    smtp::Path start = path;
    // "<postmaster>" without a domain means this host's own (RFC 5321 4.1.1.3).
    if (start.domain.empty()) start.domain = first_domain_;
    return storage::walk_addresses(Table(*this), start).value();  // a picture in memory has no errors
}

bool DirectoryPicture::owns(storage::AccountId account, const smtp::Path& path) const {
    // Asked anew with every message: a login disabled in the middle of its session sends no more.
    if (disabled_.contains(storage::raw(account))) return false;
    const Resolution found = resolve(path);
    if (std::ranges::find(found.accounts, account) != found.accounts.end()) return true;
    const auto senders = sender_domains_.find(storage::raw(account));
    if (senders == sender_domains_.end()) return false;
    return std::ranges::find(senders->second, ascii::to_lower(path.domain)) != senders->second.end();
}

bool DirectoryPicture::any_limited(const std::vector<storage::AccountId>& accounts) const {
    return std::ranges::any_of(accounts, [&](storage::AccountId id) {
        const auto found = limited_.find(storage::raw(id));
        return found != limited_.end() && found->second;
    });
}

struct Directory::State : std::enable_shared_from_this<Directory::State> {
    State(storage::Store& store_in, net::Loop& loop_in, net::ThreadPool& pool_in)
        : store(store_in), loop(loop_in), pool(pool_in) {}

    struct Loaded {
        std::shared_ptr<const DirectoryPicture> picture;
        std::vector<storage::RelayClient> clients;
        std::shared_ptr<const BounceAddresses> bounces;
    };
    static Result<Loaded> load(storage::Store& store) {
        return store.read([&sealing_key = store.sealing_key()](const storage::Snapshot& snapshot) -> Result<Loaded> {
            Loaded out;
            TRY(out.picture, DirectoryPicture::load(snapshot.catalog()));
            TRY(out.clients, storage::RelayClientView(snapshot).list());
            TRY(BounceAddresses bounces, BounceAddresses::load(snapshot, sealing_key));
            out.bounces = std::make_shared<const BounceAddresses>(std::move(bounces));
            return out;
        });
    }
    void keep(Loaded loaded) {
        picture = std::move(loaded.picture);
        clients.set(std::move(loaded.clients));
        bounces = std::move(loaded.bounces);
    }

    // Loop's thread. One read at a time; a change meanwhile asks for another.
    void read_again() {
        if (reading) {
            again = true;
            return;
        }
        reading = true;
        const bool taken = pool.submit([weak = weak_from_this(), &from = store, &on = loop] {
            auto loaded = std::make_shared<Result<Loaded>>(load(from));
            on.post([weak, loaded] {
                if (const auto self = weak.lock()) self->take(std::move(*loaded));
            });
        });
        if (!taken) {
            reading = false;
            log::warn("delivery", "the directory could not be read anew: too much work is queued");
        }
    }

    void take(Result<Loaded> loaded) {
        reading = false;
        if (loaded) {
            keep(*std::move(loaded));
        } else {
            log::error("delivery", "the directory could not be read anew: {}", loaded.error().context);
        }
        if (std::exchange(again, false)) read_again();
    }

    storage::Store& store;
    net::Loop& loop;
    net::ThreadPool& pool;
    std::shared_ptr<const DirectoryPicture> picture;
    RelayClientBook clients{default_gateways()};
    std::shared_ptr<const BounceAddresses> bounces;
    bool reading = false;
    bool again = false;
    std::chrono::steady_clock::time_point last_fresh{};
};

Result<std::unique_ptr<Directory>> Directory::open(storage::Store& store, net::Loop& loop, net::ThreadPool& pool) {
    auto state = std::make_shared<State>(store, loop, pool);
    TRY(State::Loaded loaded, State::load(store));
    state->keep(std::move(loaded));
    // The store keeps its listeners for good: this one holds on to nothing.
    store.subscribe([weak = std::weak_ptr(state), &loop](const storage::CommitNotice& notice) {
        if (!notice.catalog && !notice.external) return;
        if (weak.expired()) return;
        loop.post([weak] {
            if (const auto self = weak.lock()) self->read_again();
        });
    });
    return std::unique_ptr<Directory>(new Directory(std::move(state)));
}

Directory::~Directory() = default;

std::shared_ptr<const DirectoryPicture> Directory::picture() const { return state_->picture; }

std::shared_ptr<const BounceAddresses> Directory::bounces() const { return state_->bounces; }

RelayClientBook& Directory::clients() const { return state_->clients; }

net::Task<std::shared_ptr<const DirectoryPicture>> Directory::fresh() {
    const std::shared_ptr<State> state = state_;
    const auto now = std::chrono::steady_clock::now();
    if (now - state->last_fresh < kFreshPause) co_return state->picture;
    state->last_fresh = now;
    auto load = [&store = state->store] { return State::load(store); };
    auto loaded = co_await net::offload(state->pool, state->loop, std::move(load));
    if (loaded) state->keep(*std::move(loaded));
    co_return state->picture;
}

void Directory::refresh() {
    state_->loop.post([weak = std::weak_ptr(state_)] {
        if (const auto self = weak.lock()) self->read_again();
    });
}

}  // namespace posthouse::server
