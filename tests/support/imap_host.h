#pragma once
/// tests/support/imap_host: an IMAP server in the process: a store in a temporary directory, a loop, a hub, and an
/// authenticator that compares plain passwords. Header only, without doctest: runners and fuzzers use it too.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>

#include "protocols/crypto/crypto.h"
#include "protocols/mime/facts.h"
#include "protocols/net/memory.h"
#include "server/imap/service.h"
#include "storage/store.h"

namespace posthouse::test {

class PlainAuthenticator final : public server::Authenticator {
 public:
    void add(const std::string& login, const std::string& password, storage::AccountId account) {
        users_[login] = {password, account};
    }
    net::Task<Result<server::Identity>> authenticate(std::string login, std::string password, net::IpAddress,
                                                     std::string) override {
        const auto at = users_.find(login);
        if (at == users_.end() || at->second.first != password) co_return Error(Errc::unauthenticated, "wrong");
        server::Identity identity;
        identity.account = at->second.second;
        identity.address = login;
        co_return identity;
    }
    void refresh() override {}

 private:
    std::map<std::string, std::pair<std::string, storage::AccountId>> users_;
};

/// Aborts with a sentence: for set-up that cannot fail.
template <class T>
T must(Result<T> result) {
    if (!result) {
        std::fprintf(stderr, "imap_host: %s\n", result.error().context.c_str());
        std::abort();
    }
    if constexpr (!std::is_void_v<T>) return *std::move(result);
}

class ImapHost {
 public:
    explicit ImapHost(net::Loop& on) : loop(on) {
        std::string pattern = (std::filesystem::temp_directory_path() / "posthouse-imap-XXXXXX").string();
        directory_ = ::mkdtemp(pattern.data());
        storage::StoreOptions options;
        options.directory = directory_ + "/data";
        options.free_octets_min = 1024 * 1024;
        store = must(storage::Store::create(options));
        pool = std::make_unique<net::ThreadPool>("read", 2);
        hub = server::imap::make_hub(*store, loop);
        deps.store = store.get();
        deps.loop = &loop;
        deps.read_pool = pool.get();
        deps.authenticator = &authenticator;
        deps.hub = hub.get();
        deps.cache = &cache;
        deps.fetched = &fetched;
        deps.hostname = "mail.a.test";
        deps.clock = &system_clock();
        deps.metrics = &metrics;
        deps.clear_login = server::imap::ClearLogin::from_loopback;
    }
    ~ImapHost() {
        pool.reset();
        hub.reset();
        store.reset();
        std::error_code ignored;
        std::filesystem::remove_all(directory_, ignored);
    }
    ImapHost(const ImapHost&) = delete;
    ImapHost& operator=(const ImapHost&) = delete;

    storage::AccountId add_account(const std::string& address, const std::string& password) {
        const auto id = must(store->write_value({}, [&](storage::Tx& tx) -> Result<storage::AccountId> {
            const std::string domain = address.substr(address.find('@') + 1);
            if (!tx.catalog().domain(domain)) {
                TRY([[maybe_unused]] const auto made, tx.catalog().add_domain(domain));
            }
            return tx.catalog().add_account(address, "hash", "");
        }));
        authenticator.add(address, password, id);
        return id;
    }
    /// As a delivery from outside would do it.
    Result<> deliver(storage::AccountId account, const std::string& mailbox, const std::string& message) {
        auto writer = store->stage();
        TRY_VOID(writer->append(message));
        TRY(const storage::StagedBodyPtr body, writer->finish());
        return store->write({body}, [&](storage::Tx& tx) -> Result<> {
            storage::Delivery delivery;
            delivery.body = body;
            delivery.facts = mime::compute_facts(message);
            delivery.sender = "sender@b.test";
            delivery.received_detail = "from a test";
            storage::LocalCopy copy;
            copy.account = account;
            copy.mailbox = mailbox;
            copy.recipient = "alice@a.test";
            delivery.local.push_back(copy);
            TRY([[maybe_unused]] const auto accepted, tx.deliver(delivery));
            return {};
        });
    }
    /// A TLS context with a certificate of its own; memory streams only look at its being there.
    void offer_tls() {
        must(crypto::init());
        const std::string names[] = {"mail.a.test"};
        const auto made = must(crypto::make_self_signed(names, 2));
        const std::string certificate = directory_ + "/cert.pem";
        const std::string key = directory_ + "/key.pem";
        std::ofstream(certificate) << made.certificate_pem;
        std::ofstream(key) << made.key_pem;
        tls = must(net::TlsServerContext::load("imap", certificate, key, {}));
        deps.tls = tls.get();
    }

    net::Loop& loop;
    Metrics metrics;
    PlainAuthenticator authenticator;
    std::unique_ptr<storage::Store> store;
    server::imap::MailboxCache cache{server::imap::kMailboxCacheOctets};
    server::imap::FetchCache fetched{server::imap::kFetchCacheOctets};
    std::unique_ptr<net::ThreadPool> pool;
    std::unique_ptr<server::imap::Hub> hub;
    std::unique_ptr<net::TlsServerContext> tls;
    server::imap::ImapDeps deps;

 private:
    std::string directory_;
};

}  // namespace posthouse::test
