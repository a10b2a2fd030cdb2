#include "storage/streams.h"

#include <doctest/doctest.h>

#include "storage/suppression.h"
#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;

namespace {

Stream news() {
    Stream out;
    out.name = "news";
    out.owner = "a.example";
    out.is_list = true;
    return out;
}

std::string token_of(test::TempStore& store, std::string_view stream, std::string_view address) {
    auto token =
        store->read([&](const Snapshot& s) { return StreamView(s).token(stream, address, store->sealing_key()); });
    if (!token) FAIL(token.error().context);
    return *token;
}

std::optional<Subscription> open(test::TempStore& store, std::string_view token) {
    auto who = store->read([&](const Snapshot& s) { return StreamView(s).open(token, store->sealing_key()); });
    if (!who) FAIL(who.error().context);
    return *who;
}

Result<> subscribe(test::TempStore& store, std::string_view stream, std::string_view address) {
    return store->write({}, [&](Tx& tx) { return StreamTx(tx).subscribe(stream, address); });
}

}  // namespace

TEST_CASE("streams: names, owners, changes") {
    test::TempStore store;
    const auto add = [&](const Stream& stream) {
        return store->write({}, [&](Tx& tx) { return StreamTx(tx).add(stream); });
    };
    REQUIRE(add(news()));
    CHECK(add(news()).error().code == Errc::already_exists);
    for (const char* name : {"", "a.b", "1a", "a b", "a\n", "News", "nEws"}) {
        CAPTURE(name);
        Stream bad = news();
        bad.name = name;
        CHECK(add(bad).error().code == Errc::invalid);
    }
    Stream changed = news();
    changed.is_list = false;
    changed.mail_class = QueueClass::transactional;
    REQUIRE(store->write({}, [&](Tx& tx) { return StreamTx(tx).set(changed); }));
    const auto found = store->read([](const Snapshot& s) { return StreamView(s).find("news"); });
    REQUIRE(found);
    REQUIRE(*found);
    CHECK_FALSE((*found)->is_list);
    CHECK((*found)->mail_class == QueueClass::transactional);
    REQUIRE(store->write({}, [](Tx& tx) { return StreamTx(tx).remove("news"); }));
    CHECK_FALSE(store->write({}, [](Tx& tx) { return StreamTx(tx).remove("news"); }));
    CHECK_FALSE(store->write({}, [&](Tx& tx) { return StreamTx(tx).set(changed); }));
}

TEST_CASE("a stream of a domain is for who writes as it, one of an account for that account") {
    CHECK(may_use(news(), "x@A.example", "y@a.example"));
    CHECK_FALSE(may_use(news(), "x@b.example", "x@a.example"));
    CHECK_FALSE(may_use(news(), "x@sub.a.example", "x@a.example"));
    Stream own = news();
    own.owner = "x@a.example";
    CHECK(may_use(own, "alias@a.example", "X@a.example"));
    CHECK_FALSE(may_use(own, "x@a.example", "y@a.example"));
}

TEST_CASE("a token is one recipient's of one stream, cannot be made, and outlives the stream") {
    test::TempStore store;
    REQUIRE(subscribe(store, "news", "Ann@b.example"));
    REQUIRE(subscribe(store, "news", "ben@b.example"));
    REQUIRE(subscribe(store, "other", "ann@b.example"));
    const std::string ann = token_of(store, "news", "ann@B.example");
    CHECK(ann.size() == 40);
    CHECK(ann != token_of(store, "other", "ann@b.example"));
    CHECK(token_of(store, "news", "nobody@b.example").empty());
    REQUIRE(subscribe(store, "news", "ann@b.example"));  // the next issue
    CHECK(token_of(store, "news", "ann@b.example") == ann);
    REQUIRE(open(store, ann));
    CHECK(open(store, ann)->address == "ann@b.example");
    CHECK(open(store, ann)->stream == "news");
    for (std::size_t at = 0; at < ann.size(); ++at) {
        std::string forged = ann;
        forged[at] = forged[at] == '1' ? '2' : '1';
        CHECK_FALSE(open(store, forged));
    }
    CHECK_FALSE(open(store, ""));
    CHECK_FALSE(open(store, ann + "0"));
    // Another store's secret signs otherwise.
    test::TempStore another;
    REQUIRE(subscribe(another, "news", "ann@b.example"));
    CHECK_FALSE(open(another, ann));
}

TEST_CASE("who unsubscribes is suppressed in that stream, once, until it is undone") {
    test::TempStore store;
    REQUIRE(subscribe(store, "news", "ann@b.example"));
    const std::string token = token_of(store, "news", "ann@b.example");
    const auto leave = [&] {
        return store->write_value({}, [&](Tx& tx) {
            return StreamTx(tx).unsubscribe(token, store->sealing_key(), "by POST from 192.0.2.1");
        });
    };
    REQUIRE(leave());
    REQUIRE(leave());
    const auto rows = store->read([](const Snapshot& s) { return SuppressionView(s).of_address("ann@b.example"); });
    REQUIRE(rows);
    REQUIRE(rows->size() == 1);
    CHECK(rows->front().scope == "news");
    CHECK(rows->front().reason == SuppressionReason::unsubscribed);
    CHECK(rows->front().reply == "unsubscribed by POST from 192.0.2.1");
    CHECK(rows->front().times == 1);
    CHECK(rows->front().until == Time{});
    const auto found = store->read([](const Snapshot& s) {
        return SuppressionView(s).find(std::vector<std::string>{"News"}, std::vector<std::string>{"Ann@b.example"}, {});
    });
    REQUIRE(found);
    CHECK(found->size() == 1);
    const auto nobody = store->write_value(
        {}, [&](Tx& tx) { return StreamTx(tx).unsubscribe(std::string(40, '1'), store->sealing_key(), "by POST"); });
    REQUIRE(nobody);
    CHECK_FALSE(*nobody);
}
