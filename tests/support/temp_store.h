#pragma once
/// tests/support/temp_store: a store in a directory of its own that goes with it, and the few verbs most tests need.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "storage/store.h"

namespace posthouse::test {

/// A fresh directory beneath the system's temporary one, mode 0700, removed at the end.
class TempDirectory {
 public:
    TempDirectory() {
        std::string pattern = (std::filesystem::temp_directory_path() / "posthouse-XXXXXX").string();
        REQUIRE(::mkdtemp(pattern.data()) != nullptr);
        path_ = pattern;
    }
    ~TempDirectory() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    TempDirectory(const TempDirectory&) = delete;
    TempDirectory& operator=(const TempDirectory&) = delete;
    const std::string& path() const { return path_; }

 private:
    std::string path_;
};

/// Facts as small as they can be; tests that need real ones use mime::compute_facts().
inline mime::MessageFacts plain_facts(std::string_view body, std::string message_id = "<m1@a.example>") {
    mime::MessageFacts facts;
    facts.envelope = "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)";
    facts.structure = std::string("\x01\x00\x02", 3);
    facts.subject = "a subject";
    facts.from = "Alice";
    facts.to = "Bob";
    facts.message_id = std::move(message_id);
    facts.size_octets = body.size();
    facts.header_octets = 10;
    return facts;
}

class TempStore {
 public:
    /// `adjust` may change the options before the store is made.
    template <class F>
    explicit TempStore(F adjust) {
        options_.directory = directory_.path() + "/data";
        options_.free_octets_min = 1024 * 1024;
        adjust(options_);
        auto made = storage::Store::create(options_);
        if (!made) FAIL(made.error().context);
        store_ = *std::move(made);
    }
    TempStore() : TempStore([](storage::StoreOptions&) {}) {}

    storage::Store& operator*() { return *store_; }
    storage::Store* operator->() { return store_.get(); }
    const storage::StoreOptions& options() const { return options_; }
    const std::string& path() const { return options_.directory; }

    void close() { store_.reset(); }
    /// Closes and opens again.
    void reopen() {
        close();
        store_ = open_another();
    }
    /// A second store on the same directory, as another process would have it.
    std::unique_ptr<storage::Store> open_another() {
        auto opened = storage::Store::open(options_);
        if (!opened) FAIL(opened.error().context);
        return *std::move(opened);
    }

    /// The account `address`; its domain is made where missing.
    storage::AccountId add_account(const std::string& address) {
        auto id = store_->write_value({}, [&](storage::Tx& tx) -> Result<storage::AccountId> {
            const std::string domain = address.substr(address.find('@') + 1);
            if (!tx.catalog().domain(domain)) TRY_VOID(tx.catalog().add_domain(domain));
            return tx.catalog().add_account(address, "hash", "");
        });
        if (!id) FAIL(id.error().context);
        return *id;
    }
    storage::StagedBodyPtr stage(std::string_view octets) { return stage_in(*store_, octets); }
    static storage::StagedBodyPtr stage_in(storage::Store& store, std::string_view octets) {
        auto writer = store.stage();
        REQUIRE(writer->append(octets));
        auto body = writer->finish();
        REQUIRE(body);
        return *body;
    }
    /// One local copy; gives back what deliver() gave.
    Result<storage::Accepted> deliver(storage::AccountId account, std::string_view octets,
                                      const std::string& mailbox = "INBOX",
                                      const std::string& message_id = "<m1@a.example>") {
        return deliver_in(*store_, account, octets, mailbox, message_id);
    }
    static Result<storage::Accepted> deliver_in(storage::Store& store, storage::AccountId account,
                                                std::string_view octets, const std::string& mailbox = "INBOX",
                                                const std::string& message_id = "<m1@a.example>") {
        const storage::StagedBodyPtr body = stage_in(store, octets);
        return store.write_value({body}, [&](storage::Tx& tx) -> Result<storage::Accepted> {
            storage::Delivery delivery;
            delivery.body = body;
            delivery.facts = plain_facts(octets, message_id);
            delivery.sender = "sender@b.example";
            delivery.received_detail = "from a test";
            storage::LocalCopy copy;
            copy.account = account;
            copy.mailbox = mailbox;
            copy.recipient = "alice@a.example";
            delivery.local.push_back(copy);
            return tx.deliver(delivery);
        });
    }
    storage::Mailbox mailbox(storage::AccountId account, const std::string& name) {
        auto found = store_->read([&](const storage::Snapshot& s) { return s.mail(account).mailbox(name); });
        if (!found) FAIL(found.error().context);
        return *found;
    }
    std::vector<storage::Entry> entries(storage::AccountId account, const std::string& name) {
        auto found = store_->read([&](const storage::Snapshot& s) -> Result<std::vector<storage::Entry>> {
            TRY(const storage::Mailbox box, s.mail(account).mailbox(name));
            return s.mail(account).entries(box.id, 1, ~storage::Uid{0});
        });
        if (!found) FAIL(found.error().context);
        return *found;
    }

 private:
    TempDirectory directory_;
    storage::StoreOptions options_;
    std::unique_ptr<storage::Store> store_;
};

}  // namespace posthouse::test
