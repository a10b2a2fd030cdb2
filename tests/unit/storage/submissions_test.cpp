#include "storage/submissions.h"

#include <doctest/doctest.h>

#include "protocols/base/submission_key.h"
#include "storage/settings.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;

namespace {

std::optional<KeptSubmission> find(test::TempStore& store, std::string_view owner, std::string_view key, Time at) {
    auto found = store->read([&](const Snapshot& s) { return SubmissionView(s).find(owner, key, at); });
    if (!found) FAIL(found.error().context);
    return *found;
}

Result<> keep(test::TempStore& store, std::string_view owner, std::string_view key, std::string answer) {
    return store->write({}, [&](Tx& tx) {
        KeptSubmission kept;
        kept.digest = "d";
        kept.message = MessageId{5};
        kept.queue = QueueId{6};
        kept.answer = std::move(answer);
        return SubmissionTx(tx).keep(owner, key, kept);
    });
}

}  // namespace

TEST_CASE("a key is a quoted string or bare octets, printable ASCII, bounded") {
    CHECK(parse_submission_key("abc") == "abc");
    CHECK(parse_submission_key("  \"a b\" ") == "a b");
    CHECK(parse_submission_key("\"a\\\"b\\\\\"") == "a\"b\\");
    CHECK_FALSE(parse_submission_key(""));
    CHECK_FALSE(parse_submission_key("\"\""));
    CHECK_FALSE(parse_submission_key("\"a\\n\""));
    CHECK_FALSE(parse_submission_key("\"a\"b\""));
    CHECK_FALSE(parse_submission_key("caf\xC3\xA9"));
    CHECK(parse_submission_key(std::string(255, 'k')));
    CHECK_FALSE(parse_submission_key(std::string(256, 'k')));
}

TEST_CASE("a key is its owner's, outlives the process, and is forgotten in time") {
    test::TempStore store;
    const std::string alice = submission_owner(AccountId{1});
    REQUIRE(keep(store, alice, "k", "first"));
    CHECK_FALSE(keep(store, alice, "k\n", "no key"));
    store.reopen();
    const auto kept = find(store, alice, "k", Time{});
    REQUIRE(kept);
    CHECK(kept->answer == "first");
    CHECK(kept->digest == "d");
    CHECK(raw(kept->queue) == 6);
    CHECK_FALSE(find(store, submission_owner(AccountId{2}), "k", Time{}));
    CHECK_FALSE(find(store, submission_owner(RelayClientId{1}), "k", Time{}));
    CHECK_FALSE(find(store, alice, "K", Time{}));
    CHECK(find(store, alice, "k", kept->made + std::chrono::hours(47)));
    CHECK_FALSE(find(store, alice, "k", kept->made + std::chrono::hours(48)));
    REQUIRE(store->write({}, [](Tx& tx) { return tx.catalog().set_setting("submission.key_hours", "100"); }));
    CHECK(find(store, alice, "k", kept->made + std::chrono::hours(99)));
}

TEST_CASE("what a program noted is there for its message alone") {
    test::TempStore store;
    REQUIRE(store->write({}, [](Tx& tx) {
        return SubmissionTx(tx).note(MessageId{5}, SubmissionNotes(AccountId{1}, "[\"a\"]", "{}"));
    }));
    const auto notes = store->read([](const Snapshot& s) { return SubmissionView(s).notes(MessageId{5}); });
    REQUIRE(notes);
    REQUIRE(*notes);
    CHECK((*notes)->tags == "[\"a\"]");
    CHECK_FALSE(*store->read([](const Snapshot& s) { return SubmissionView(s).notes(MessageId{6}); }));
}
