#include "admin/transfer/export.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "admin/transfer/maildir.h"
#include "admin/transfer/mbox.h"
#include "protocols/mime/facts.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using transfer::ExportFormat;
namespace fs = std::filesystem;

namespace {

// What a file cannot show by itself, or a reader of mbox could take for something else.
const std::string kBodies[] = {
    "Subject: plain\r\n\r\nbody\r\n",
    "Subject: no end\r\n\r\nbody",
    "Subject: header only\r\n",
    "Subject: empty line\r\n\r\n",
    "Subject: lines\r\n\r\nx\r\n\r\n\r\n",
    "Subject: quoting\r\n\r\nFrom a@b Mon Nov 23 20:11:05 2026\r\n>From x\r\n>>From y\r\nFrom\r\n>\r\n",
    "From a@b Mon Nov 23 20:11:05 2026\r\nSubject: a separator first\r\n\r\nx\r\n",
    ">From a@b\r\nSubject: a quoted one first\r\n\r\nx\r\n",
    "Status: RO\r\nX-Status: F\r\nX-Posthouse-Mbox: rd open-end\r\nSubject: marks of its own\r\n\r\nx\r\n",
    " folded\r\nSubject: first line is a continuation\r\n\r\n",
    "\r\nno header\r\n",
    "Content-Length: 6\r\n\r\n>From \r\n\r\nx\r\n",
    "Subject: CR alone\rhere\r\n\r\nand at the end\r",
    "Subject: CR CR LF\r\r\n\r\r\nx\r\r\n",
    std::string("Subject: NUL\r\n\r\na\0b\r\n", 21),
    "x",
    "\r\n",
};

struct Fixture {
    test::TempStore store;
    test::TempDirectory directory;
    AccountId account = store.add_account("alice@a.example");
    AccountId other = store.add_account("bob@a.example");
    transfer::ExportStatistics figures;
    std::vector<std::string> failures;

    Result<> append(const std::string& mailbox, const std::string& octets, const AppendOptions& options) {
        const StagedBodyPtr body = store.stage(octets);
        return store->write({body}, [&](Tx& tx) -> Result<> {
            MailTx& mail = tx.mail(account);
            if (!mail.mailbox(mailbox)) TRY_VOID(mail.create(mailbox, SpecialUse::none));
            TRY(const Mailbox box, mail.mailbox(mailbox));
            TRY(const MessageId id, tx.add_message(body, mime::compute_facts(octets)));
            TRY_VOID(mail.append(box.id, id, options));
            return {};
        });
    }
    Result<> write_out(ExportFormat format, const std::string& mailbox = "") {
        transfer::ExportOptions options;
        options.format = format;
        options.mailbox = mailbox;
        figures = {};
        auto root = transfer::open_directory(directory.path());
        REQUIRE(root);
        return transfer::export_account(
            *store, account, *root, options, transfer::Watch(),
            [this](const std::string& name, const Error&) { failures.push_back(name); }, figures);
    }
    void take_back(ExportFormat format) {
        transfer::Taker taker(*store, other, "back", [this](const std::string& name, const Error& why) {
            failures.push_back(name + ": " + why.context);
        });
        if (format == ExportFormat::mbox) {
            REQUIRE(transfer::import_mbox(taker, directory.path(), {}, transfer::Watch()));
            return;
        }
        auto root = transfer::open_directory(directory.path());
        REQUIRE(root);
        REQUIRE(transfer::import_maildir(taker, *root, {}, transfer::Watch()));
    }
    std::vector<std::string> bodies(AccountId whose, const std::string& mailbox) {
        auto found = store->read([&](const Snapshot& s) -> Result<std::vector<std::string>> {
            TRY(const Mailbox box, s.mail(whose).mailbox(mailbox));
            TRY(const auto entries, s.mail(whose).entries(box.id, 1, ~Uid{0}));
            std::vector<std::string> out;
            for (const Entry& entry : entries) {
                TRY(const BodyReader reader, s.mail(whose).body(box.id, entry.uid));
                TRY(std::string octets, reader.read_all());
                out.push_back(std::move(octets));
            }
            std::ranges::sort(out);
            return out;
        });
        REQUIRE(found);
        return *found;
    }
};

}  // namespace

TEST_CASE_FIXTURE(Fixture, "what goes out comes back octet for octet, with flags, keywords and dates") {
    std::int64_t date = 1400000000;
    for (const std::string& octets : kBodies) {
        AppendOptions options;
        options.flags = static_cast<FlagBits>(date % 32);
        if (date % 3 == 0) options.keywords = {"$Forwarded", "work"};
        options.internal_date_s = date++;
        REQUIRE(append("INBOX", octets, options));
        REQUIRE(append("A.b/\xc3\xbc", octets, options));
    }
    for (const ExportFormat format : {ExportFormat::maildir, ExportFormat::mbox}) {
        Fixture* const self = this;
        CAPTURE(static_cast<int>(format));
        fs::remove_all(directory.path());
        fs::create_directory(directory.path());
        other = store.add_account(format == ExportFormat::mbox ? "mbox@a.example" : "maildir@a.example");
        REQUIRE(self->write_out(format));
        CHECK(figures.written == 2 * std::size(kBodies));
        take_back(format);
        CHECK(failures.empty());
        for (const char* mailbox : {"INBOX", "A.b/\xc3\xbc"}) {
            const auto before = bodies(account, mailbox);
            const auto after = bodies(other, mailbox);
            REQUIRE(after.size() == before.size());
            for (std::size_t i = 0; i < before.size(); ++i) CHECK(after[i] == before[i]);
            const auto old_entries = store.entries(account, mailbox);
            const auto new_entries = store.entries(other, mailbox);
            for (std::size_t i = 0; i < old_entries.size(); ++i) {
                CHECK(new_entries[i].internal_date_s == old_entries[i].internal_date_s);
                CHECK(new_entries[i].flags == old_entries[i].flags);
                CHECK((new_entries[i].keyword_set != 0) == (old_entries[i].keyword_set != 0));
            }
        }
    }
}

TEST_CASE_FIXTURE(Fixture, "a second export writes what is new and renames what has other flags") {
    REQUIRE(append("INBOX", kBodies[0], {}));
    REQUIRE(append("INBOX", kBodies[1], {}));
    REQUIRE(write_out(ExportFormat::maildir));
    CHECK(figures.written == 2);
    REQUIRE(append("INBOX", kBodies[2], {}));
    REQUIRE(store->write({}, [&](Tx& tx) -> Result<> {
        TRY(const Mailbox inbox, tx.mail(account).mailbox("INBOX"));
        const Uid first = 1;
        const FlagChange seen{FlagChange::How::add, bit(Flag::seen), {"k"}};
        TRY_VOID(tx.mail(account).store(inbox.id, std::span<const Uid>(&first, 1), seen, std::nullopt));
        return {};
    }));
    REQUIRE(write_out(ExportFormat::maildir));
    CHECK(figures.written == 1);
    CHECK(figures.known == 2);
    std::size_t files = 0;
    std::size_t seen = 0;
    for (const auto& file : fs::directory_iterator(directory.path() + "/cur")) {
        ++files;
        if (file.path().string().ends_with(":2,Sa")) ++seen;
    }
    CHECK(files == 3);
    CHECK(seen == 1);
    CHECK(fs::is_empty(directory.path() + "/tmp"));
}

TEST_CASE_FIXTURE(Fixture, "one mailbox alone, and a mailbox that is not there") {
    REQUIRE(append("INBOX", kBodies[0], {}));
    REQUIRE(append("Work", kBodies[1], {}));
    REQUIRE(write_out(ExportFormat::mbox, "Work"));
    CHECK(fs::exists(directory.path() + "/Work.mbox"));
    CHECK(!fs::exists(directory.path() + "/INBOX.mbox"));
    CHECK(!write_out(ExportFormat::mbox, "None"));
}

TEST_CASE_FIXTURE(Fixture, "damaged bodies are named, and all others are written whole") {
    for (int i = 0; i < 20; ++i)
        REQUIRE(append("INBOX", "Subject: " + std::to_string(i) + "\r\n\r\n" + std::string(5000, 'x') + "\r\n", {}));
    store.close();
    std::size_t flipped = 0;
    for (const auto& file : fs::directory_iterator(store.path() + "/segments")) {
        const auto size = static_cast<std::streamoff>(fs::file_size(file.path()));
        std::fstream segment(file.path(), std::ios::in | std::ios::out | std::ios::binary);
        for (int at = 1; at < 4 && size > 1000; ++at) {
            segment.seekp(size * at / 4);
            segment.write("DAMAGE", 6);
            ++flipped;
        }
    }
    REQUIRE(flipped > 0);
    store.reopen();
    for (const ExportFormat format : {ExportFormat::maildir, ExportFormat::mbox}) {
        failures.clear();
        REQUIRE(write_out(format));
        CHECK(figures.failed > 0);
        CHECK(figures.failed == failures.size());
        CHECK(figures.failed + figures.written == 20);
        CHECK(failures[0].starts_with("INBOX UID "));
    }
    take_back(ExportFormat::mbox);
    CHECK(bodies(other, "INBOX").size() == figures.written);
}
