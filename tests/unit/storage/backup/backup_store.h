#pragma once
/// A store, a repository beside it, and the few verbs the tests of backups need.
#include <fmt/format.h>

#include <filesystem>
#include <fstream>

#include "protocols/crypto/crypto.h"
#include "storage/backup/backup.h"
#include "storage/context.h"
#include "tests/support/temp_store.h"

namespace posthouse::test {

namespace fs = std::filesystem;
namespace backup = storage::backup;

inline std::string read_whole(const fs::path& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

inline void write_whole(const fs::path& path, const std::string& octets) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << octets;
}

/// Turns one octet over.
inline void spoil(const fs::path& path, std::size_t at) {
    std::string octets = read_whole(path);
    REQUIRE(octets.size() > at);
    octets[at] = static_cast<char>(octets[at] ^ 1);
    write_whole(path, octets);
}

class BackupStore {
 public:
    explicit BackupStore(bool encrypted = false) {
        REQUIRE(crypto::init());
        target.directory = directory_.path() + "/backup";
        if (encrypted) {
            REQUIRE(backup::make_key(directory_.path() + "/key"));
            auto key = backup::read_key(directory_.path() + "/key");
            REQUIRE(key);
            target.key = *key;
        }
        const auto made = backup::init(target);
        if (!made) FAIL(made.error().context);
        alice = store.add_account("alice@a.example");
        bob = store.add_account("bob@a.example");
    }

    std::string scratch() const { return store.path() + "/tmp"; }
    const std::string& folder() const { return directory_.path(); }
    std::string new_folder(const std::string& name) const { return directory_.path() + "/" + name; }

    Result<backup::Created> try_create(backup::Keep keep = {}) {
        backup::CreateOptions options;
        options.hostname = "mail.a.example";
        options.keep = keep;
        return backup::create(*store, target, options, {});
    }
    backup::Created create(backup::Keep keep = {}) {
        auto made = try_create(keep);
        if (!made) FAIL(made.error().context);
        return *made;
    }
    backup::Verified verify(const std::string& name = "") {
        auto found = backup::verify(target, name, scratch(), {});
        if (!found) FAIL(found.error().context);
        return *found;
    }
    Result<backup::RestoredMail> restore_mail(const backup::MailSelection& what, const std::string& name = "") {
        return backup::restore_mail(*store, target, name, what, scratch(), {});
    }
    std::string deliver(storage::AccountId account, int number, const std::string& mailbox = "INBOX",
                        std::size_t octets = 3000) {
        std::string text = fmt::format("Subject: number {}\r\n\r\n", number);
        while (text.size() < octets) text += fmt::format("line {} of number {}\r\n", text.size(), number);
        const auto done = store.deliver(account, text, mailbox, fmt::format("<m{}@a.example>", number));
        if (!done) FAIL(done.error().context);
        return text;
    }
    /// The texts of a mailbox by UID; "" where one cannot be read.
    static std::vector<std::string> texts(storage::Store& store, storage::AccountId account, const std::string& name) {
        std::vector<std::string> out;
        const auto done = store.read([&](const storage::Snapshot& s) -> Result<> {
            TRY(const storage::Mailbox box, s.mail(account).mailbox(name));
            TRY(const auto entries, s.mail(account).entries(box.id, 1, ~storage::Uid{0}));
            for (const storage::Entry& entry : entries) {
                const auto body = s.mail(account).body(box.id, entry.uid);
                const auto text = body ? body->read_all() : Result<std::string>(Errc::corrupt, "");
                out.push_back(text ? *text : "");
            }
            return {};
        });
        if (!done) FAIL(done.error().context);
        return out;
    }
    std::vector<std::string> texts(storage::AccountId account, const std::string& name = "INBOX") {
        return texts(*store, account, name);
    }
    void expunge(storage::AccountId account, storage::Uid uid, const std::string& name = "INBOX") {
        const storage::Mailbox box = store.mailbox(account, name);
        REQUIRE(store->write({}, [&](storage::Tx& tx) -> Result<> {
            TRY_VOID(tx.mail(account).expunge(box.id, std::vector<storage::Uid>{uid}));
            return {};
        }));
    }
    std::vector<fs::path> objects() const {
        std::vector<fs::path> out;
        for (const auto& item : fs::recursive_directory_iterator(target.directory + "/objects")) {
            if (item.is_regular_file()) out.push_back(item.path());
        }
        std::sort(out.begin(), out.end());
        return out;
    }

    TempStore store;
    backup::Target target;
    storage::AccountId alice{};
    storage::AccountId bob{};

 private:
    TempDirectory directory_;
};

}  // namespace posthouse::test
