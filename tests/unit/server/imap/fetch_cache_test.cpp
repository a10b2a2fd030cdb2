// What FETCH has answered is kept within its bounds, and never told of the wrong message.
#include "server/imap/fetch_cache.h"

#include <doctest/doctest.h>

using namespace posthouse;
using server::imap::FetchCache;
using storage::AccountId;
using storage::MailboxId;

namespace {

constexpr AccountId kAlice{1};
constexpr MailboxId kInbox{7};

std::string got(const FetchCache& cache, const FetchCache::ColumnPtr& column, storage::Uid uid) {
    std::string out = "before ";
    return cache.append(*column, uid, out) ? out : "nothing";
}

}  // namespace

TEST_CASE("a text is found under its account, mailbox, item and UID, and nowhere else") {
    Metrics metrics;
    FetchCache cache(1024UL * 1024, &metrics);
    const auto column = cache.column(kAlice, kInbox, "7 ENVELOPE");
    CHECK(got(cache, column, 3) == "nothing");
    cache.keep(*column, 3, "(a)");
    CHECK(cache.has(*column, 3));
    CHECK(got(cache, column, 3) == "before (a)");
    CHECK_FALSE(cache.has(*column, 4));
    CHECK(got(cache, cache.column(kAlice, kInbox, "7 ENVELOPE"), 3) == "before (a)");
    CHECK(got(cache, cache.column(kAlice, kInbox, "8 ENVELOPE"), 3) == "nothing");
    CHECK(got(cache, cache.column(kAlice, MailboxId{8}, "7 ENVELOPE"), 3) == "nothing");
    CHECK(got(cache, cache.column(AccountId{2}, kInbox, "7 ENVELOPE"), 3) == "nothing");
    cache.keep(*column, 3, "(another)");
    CHECK(got(cache, column, 3) == "before (a)");
    CHECK(metrics.gauge("imap_fetch_cache_octets", "").get() == static_cast<std::int64_t>(cache.octets()));
}

TEST_CASE("a text that is too long is not kept, and neither is one without room") {
    FetchCache cache(4096);
    const auto column = cache.column(kAlice, kInbox, "7 ENVELOPE");
    cache.keep(*column, 1, std::string(server::imap::kFetchTextOctetsMax + 1, 'x'));
    CHECK_FALSE(cache.has(*column, 1));
    for (storage::Uid uid = 1; uid <= 100; ++uid) cache.keep(*column, uid, std::string(100, 'x'));
    CHECK(cache.has(*column, 1));
    CHECK_FALSE(cache.has(*column, 100));
    CHECK(cache.octets() <= 4096);
    FetchCache none(0);
    const auto nothing = none.column(kAlice, kInbox, "7 ENVELOPE");
    none.keep(*nothing, 1, "(a)");
    CHECK_FALSE(none.has(*nothing, 1));
    CHECK(none.octets() == 0);
}

TEST_CASE("what was not asked for longest goes first, and stays with those who hold it") {
    FetchCache cache(8192);
    const std::string text(3000, 'x');
    const auto first = cache.column(kAlice, kInbox, "first");
    cache.keep(*first, 1, text);
    const auto second = cache.column(kAlice, kInbox, "second");
    cache.keep(*second, 1, text);
    static_cast<void>(cache.column(kAlice, kInbox, "first"));
    const auto third = cache.column(kAlice, kInbox, "third");
    cache.keep(*third, 1, text);
    CHECK(cache.octets() <= 8192);
    CHECK(cache.has(*first, 1));
    CHECK(cache.has(*third, 1));
    // Dropped, but whole for its holder; whoever asks anew gets an empty one.
    CHECK(cache.has(*second, 1));
    cache.keep(*second, 2, "late");
    CHECK_FALSE(cache.has(*second, 2));
    CHECK_FALSE(cache.has(*cache.column(kAlice, kInbox, "second"), 1));
}

TEST_CASE("thousands of texts, in any order, are each found again, and what they cost is counted") {
    FetchCache cache(16UL * 1024 * 1024);
    const auto column = cache.column(kAlice, kInbox, "7 ENVELOPE");
    const auto text_of = [](storage::Uid uid) { return std::string(uid % 300, 'x') + std::to_string(uid); };
    std::uint64_t octets = 0;
    for (storage::Uid i = 1; i <= 5000; ++i) {
        const storage::Uid uid = i % 2 == 0 ? i : 4'000'000'000 - i * 64;
        cache.keep(*column, uid, text_of(uid));
        octets += text_of(uid).size();
    }
    for (storage::Uid i = 1; i <= 5000; ++i) {
        const storage::Uid uid = i % 2 == 0 ? i : 4'000'000'000 - i * 64;
        CAPTURE(uid);
        CHECK(got(cache, column, uid) == "before " + text_of(uid));
        CHECK_FALSE(cache.has(*column, uid + 1));
    }
    CHECK(cache.octets() > octets);
    CHECK(cache.octets() < octets * 2);
}
