// The files of message octets: their format to the octet, sealing, reuse, and damage that must be seen.
#include "storage/segment.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <fstream>

#include "storage/sqlite.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using posthouse::test::TempStore;

namespace {

std::string file_text(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
}

void poke(const std::string& path, std::uint64_t offset, std::string_view octets) {
    const int fd = ::open(path.c_str(), O_WRONLY);
    REQUIRE(fd >= 0);
    REQUIRE(::pwrite(fd, octets.data(), octets.size(), static_cast<off_t>(offset)) ==
            static_cast<ssize_t>(octets.size()));
    ::close(fd);
}

Result<std::string> body_of(TempStore& store, AccountId account, Uid uid) {
    return store->read([&](const Snapshot& s) -> Result<std::string> {
        TRY(const Mailbox box, s.mail(account).mailbox("INBOX"));
        TRY(const BodyReader body, s.mail(account).body(box.id, uid));
        return body.read_all();
    });
}

std::int64_t ask(const TempStore& store, const char* sql) {
    auto db = Connection::open(store.path() + "/mail.db", Connection::Mode::read, 1 << 20);
    REQUIRE(db);
    sqlite3_stmt* statement = nullptr;
    REQUIRE(sqlite3_prepare_v2((*db)->handle(), sql, -1, &statement, nullptr) == SQLITE_OK);
    REQUIRE(sqlite3_step(statement) == SQLITE_ROW);
    const std::int64_t value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

}  // namespace

TEST_CASE("headers are laid out as segment_format.md says") {
    CHECK(format_file_header(0x01020304) == std::string("POSTHSEG\x01\0\0\0\x04\x03\x02\x01", 16));
    const RecordHeader header{static_cast<MessageId>(0x0102), 0x0a0b, 0x11223344, 0};
    const std::string octets = format_record_header(header);
    REQUIRE(octets.size() == 32);
    CHECK(octets.substr(0, 28) ==
          std::string("PHRC\x01\0\0\0\x02\x01\0\0\0\0\0\0\x0b\x0a\0\0\0\0\0\0\x44\x33\x22\x11", 28));
    const auto parsed = parse_record_header(octets);
    REQUIRE(parsed);
    CHECK(raw(parsed->message) == 0x0102);
    CHECK(parsed->payload_octets == 0x0a0b);
    CHECK(parsed->payload_crc == 0x11223344);
    CHECK(segment_name(7) == "000007.seg");
    CHECK(segment_name(12345678) == "12345678.seg");
}

TEST_CASE("a record header with any octet changed, or cut short, is refused") {
    const std::string good = format_record_header(RecordHeader{static_cast<MessageId>(5), 10, 99, kRecordZstd});
    REQUIRE(parse_record_header(good));
    for (std::size_t i = 0; i < good.size(); ++i) {
        std::string bad = good;
        bad[i] = static_cast<char>(bad[i] ^ 1);
        CHECK_FALSE(parse_record_header(bad));
    }
    for (std::size_t i = 0; i < good.size(); ++i) CHECK_FALSE(parse_record_header(good.substr(0, i)));
}

TEST_CASE("a segment on disk is header and records without gaps") {
    TempStore store;
    const AccountId alice = store.add_account("alice@a.example");
    REQUIRE(store.deliver(alice, "first"));
    REQUIRE(store.deliver(alice, "second!"));
    const std::string text = file_text(store.path() + "/segments/000001.seg");
    REQUIRE(text.size() == 16 + 32 + 5 + 32 + 7);
    CHECK(text.substr(0, 16) == format_file_header(1));
    CHECK(text.substr(48, 5) == "first");
    const auto second = parse_record_header(std::string_view(text).substr(53, 32));
    REQUIRE(second);
    CHECK(second->payload_octets == 7);
    CHECK(text.substr(85) == "second!");
}

TEST_CASE("damage is seen and named, and does not reach other messages") {
    TempStore store;
    const AccountId alice = store.add_account("alice@a.example");
    const std::string large(100'000, 'L');
    REQUIRE(store.deliver(alice, "first"));
    REQUIRE(store.deliver(alice, large));
    REQUIRE(store.deliver(alice, "third"));
    const std::string path = store.path() + "/segments/000001.seg";
    const std::uint64_t second_at = 16 + 32 + 5;
    SUBCASE("payload of a small body") {
        poke(path, 50, "X");
        CHECK(body_of(store, alice, 1).error().code == Errc::corrupt);
        CHECK(body_of(store, alice, 2).value() == large);
    }
    SUBCASE("payload of a large body") {
        poke(path, second_at + 32 + 50'000, "X");
        CHECK(body_of(store, alice, 2).error().code == Errc::corrupt);
        CHECK(body_of(store, alice, 3).value() == "third");
    }
    SUBCASE("header") {
        poke(path, second_at + 8, "X");
        CHECK(body_of(store, alice, 2).error().code == Errc::corrupt);
        CHECK(body_of(store, alice, 3).value() == "third");
    }
    SUBCASE("file cut short") {
        REQUIRE(::truncate(path.c_str(), static_cast<off_t>(second_at + 1000)) == 0);
        CHECK(body_of(store, alice, 1).value() == "first");
        CHECK(body_of(store, alice, 2).error().code == Errc::corrupt);
        CHECK(body_of(store, alice, 3).error().code == Errc::corrupt);
        // A segment that lost octets is not written again.
        store.reopen();
        REQUIRE(store.deliver(alice, "fourth"));
        CHECK(body_of(store, alice, 4).value() == "fourth");
        CHECK(std::filesystem::exists(store.path() + "/segments/000002.seg"));
    }
    SUBCASE("file gone") {
        store.close();
        REQUIRE(::unlink(path.c_str()) == 0);
        store.reopen();
        CHECK(body_of(store, alice, 1).error().code == Errc::corrupt);
        REQUIRE(store.deliver(alice, "fourth"));
        CHECK(body_of(store, alice, 4).value() == "fourth");
    }
}

TEST_CASE("octets behind the last committed record are ignored and written over") {
    TempStore store;
    const AccountId alice = store.add_account("alice@a.example");
    REQUIRE(store.deliver(alice, "first"));
    store.close();
    const std::string path = store.path() + "/segments/000001.seg";
    poke(path, 16 + 32 + 5, std::string(5000, 'j'));
    store.reopen();
    REQUIRE(store.deliver(alice, "second"));
    CHECK(body_of(store, alice, 1).value() == "first");
    CHECK(body_of(store, alice, 2).value() == "second");
    CHECK(std::filesystem::file_size(path) == 16 + 32 + 5 + 32 + 6);
}

TEST_CASE("a full segment is sealed and the next one begun; reopening goes on with the open one") {
    TempStore store([](StoreOptions& options) { options.segment_octets_max = 4096; });
    const AccountId alice = store.add_account("alice@a.example");
    for (int i = 0; i < 10; ++i) REQUIRE(store.deliver(alice, std::string(1000, 'x')));
    CHECK(ask(store, "SELECT count(*) FROM segments") == 4);
    CHECK(ask(store, "SELECT count(*) FROM segments WHERE sealed = 1") == 3);
    CHECK(ask(store, "SELECT max(octets) FROM segments") <= 4096);
    store.reopen();
    REQUIRE(store.deliver(alice, "more"));
    CHECK(ask(store, "SELECT count(*) FROM segments") == 4);
    REQUIRE(store.deliver(alice, std::string(10'000, 'y')));  // larger than a segment: one of its own, all the same
    CHECK(body_of(store, alice, 12)->size() == 10'000);
    for (Uid uid = 1; uid <= 10; ++uid) CHECK(body_of(store, alice, uid)->size() == 1000);
}

TEST_CASE("a body over the spool limit is a sealed segment of one record") {
    TempStore store;
    const AccountId alice = store.add_account("alice@a.example");
    const std::string large(kSpoolOctets + 5, 'L');
    REQUIRE(store.deliver(alice, "small"));
    REQUIRE(store.deliver(alice, large));
    CHECK(ask(store, "SELECT sealed FROM segments WHERE id = 2") == 1);
    CHECK(ask(store, "SELECT octets FROM segments WHERE id = 2") == static_cast<std::int64_t>(48 + large.size()));
    CHECK(std::filesystem::file_size(store.path() + "/segments/000002.seg") == 48 + large.size());
    CHECK(std::filesystem::is_empty(store.path() + "/tmp"));
    CHECK(file_text(store.path() + "/segments/000002.seg").substr(0, 16) == format_file_header(2));
}

TEST_CASE("a record packed with zstd reads as the message it was") {
    TempStore store;
    const AccountId alice = store.add_account("alice@a.example");
    const std::string text(5000, 'z');
    REQUIRE(store.deliver(alice, text));
    store.close();
    // What a compactor would write: the same message in another segment, packed.
    std::string packed(ZSTD_compressBound(text.size()), '\0');
    packed.resize(ZSTD_compress(packed.data(), packed.size(), text.data(), text.size(), 1));
    const auto crc =
        static_cast<std::uint32_t>(crc32_z(0, reinterpret_cast<const unsigned char*>(packed.data()), packed.size()));
    auto db = Connection::open(store.path() + "/mail.db", Connection::Mode::write, 1 << 20);
    REQUIRE(db);
    const auto message = static_cast<MessageId>((*db)->value("SELECT max(id) FROM messages").value());
    std::ofstream(store.path() + "/segments/000002.seg", std::ios::binary)
        << format_file_header(2) << format_record_header(RecordHeader{message, packed.size(), crc, kRecordZstd})
        << packed;
    const auto octets = static_cast<std::int64_t>(packed.size());
    REQUIRE((*db)->query("UPDATE messages SET segment = 2, position = 16, stored_octets = ?1").bind(octets).run());
    db->reset();
    store.reopen();
    CHECK(body_of(store, alice, 1).value() == text);
}

TEST_CASE("octets of a write that was refused count as dead; a large body refused alone is removed") {
    TempStore store;
    const AccountId alice = store.add_account("alice@a.example");
    REQUIRE(store->write({}, [&](Tx& tx) { return tx.catalog().set_quota(alice, 0, 1); }));
    REQUIRE(store.deliver(alice, "first"));
    CHECK(store.deliver(alice, std::string(kSpoolOctets + 1, 'L')).error().code == Errc::over_quota);
    CHECK_FALSE(std::filesystem::exists(store.path() + "/segments/000002.seg"));
    const StagedBodyPtr dropped = store.stage("12345");
    CHECK(store->write({dropped}, [](Tx&) -> Result<> { return {}; }));
    CHECK(ask(store, "SELECT sum(octets) FROM segments") == 16 + 37 + 37);
    CHECK(ask(store, "SELECT sum(dead_octets) FROM segments") == 37);
}
