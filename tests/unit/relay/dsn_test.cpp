// RFC 3461 row by row: what is passed on to a server that knows DSN, and what is told where it does not (5.2.1, 5.2.2,
// 5.2.5, 5.2.6).
#include <fmt/format.h>

#include <algorithm>

#include "tests/support/relay_house.h"

namespace posthouse::relay {
namespace {

using storage::Notify;
using storage::NotifyBits;
using storage::Ret;

constexpr NotifyBits bits(Notify a) { return static_cast<NotifyBits>(a); }
constexpr NotifyBits bits(Notify a, Notify b) { return static_cast<NotifyBits>(bits(a) | bits(b)); }

struct DsnHouse : House {
    void send(NotifyBits notify, std::string orcpt = "", std::string envid = "", Ret ret = Ret::unspecified) {
        const auto body = store.stage(kMessage);
        REQUIRE(store->write({body}, [&](storage::Tx& tx) -> Result<> {
            storage::Delivery delivery;
            delivery.body = body;
            delivery.facts = mime::compute_facts(kMessage);
            delivery.sender = "alice@home.example";
            delivery.first_attempt = tx.now();
            storage::NewQueueItem item;
            item.reverse_path = delivery.sender;
            item.envid = std::move(envid);
            item.ret = ret;
            item.expires = tx.now() + std::chrono::hours(24 * 5);
            item.recipients.push_back({"bob@b.example", std::move(orcpt), notify});
            delivery.outgoing = item;
            TRY_VOID(tx.deliver(delivery));
            return {};
        }));
        settle();
    }
    std::string said(std::string_view verb) {
        for (const std::string& line : remote.lines) {
            if (line.starts_with(verb)) return line;
        }
        return "";
    }
    // The Action of the report that was made; "" where none was.
    std::string told() {
        const auto all = inbox();
        if (all.empty()) return "";
        CHECK(all.size() == 1);
        const std::size_t at = all.front().find("Action: ");
        REQUIRE(at != std::string::npos);
        return all.front().substr(at + 8, all.front().find("\r\n", at) - at - 8);
    }
};

}  // namespace

TEST_CASE("5.2.1: to a server with DSN each parameter goes as it came, and what did not come is not made up") {
    {
        DsnHouse house;
        house.send(0);
        CHECK_FALSE(house.said("MAIL").contains("RET="));
        CHECK_FALSE(house.said("MAIL").contains("ENVID="));
        CHECK(house.said("RCPT") == "RCPT TO:<bob@b.example>");
        CHECK(house.told().empty());
    }
    {
        DsnHouse house;
        house.send(bits(Notify::success, Notify::failure), "rfc822;Bob+Tag@B.Example", "QQ+31=4", Ret::headers);
        CHECK(house.said("MAIL").ends_with(" RET=HDRS ENVID=QQ+2B31+3D4"));  // (a), (b)
        CHECK(house.said("RCPT") ==
              "RCPT TO:<bob@b.example> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Bob+2BTag@B.Example");  // (c), (d)
        CHECK(house.told().empty());  // the other server sends the receipt
    }
    for (const auto& [notify, wanted] :
         {std::pair(bits(Notify::never), "NOTIFY=NEVER"), std::pair(bits(Notify::delay), "NOTIFY=DELAY"),
          std::pair(bits(Notify::failure, Notify::delay), "NOTIFY=FAILURE,DELAY")}) {
        DsnHouse house;
        house.send(notify, "", "", Ret::full);
        CHECK(house.said("RCPT").ends_with(wanted));
        CHECK(house.said("MAIL").contains("RET=FULL"));
    }
}

TEST_CASE("5.2.2: a server without DSN gets no parameter; what follows is told here") {
    struct Case {
        std::string_view row;
        NotifyBits notify;
        std::string_view reply;
        std::string_view action;
    };
    const Case cases[] = {
        {"(b)", bits(Notify::success), "250 ok", "relayed"},
        {"(b) with others", bits(Notify::success, Notify::failure), "250 ok", "relayed"},
        {"no success asked for", bits(Notify::failure, Notify::delay), "250 ok", ""},
        {"(c)", bits(Notify::failure), "550 5.1.1 no", "failed"},
        {"5.2.6 (b)", bits(Notify::success), "550 5.1.1 no", ""},
        {"5.2.6 (b) delay", bits(Notify::delay), "550 5.1.1 no", ""},
        {"(d) taken", bits(Notify::never), "250 ok", ""},
        {"(d) refused", bits(Notify::never), "550 5.1.1 no", ""},
        {"(e)", 0, "250 ok", ""},
        {"(f)", 0, "550 5.1.1 no", "failed"},
    };
    for (const Case& one : cases) {
        CAPTURE(one.row);
        DsnHouse house;
        house.remote.keywords = {"8BITMIME"};
        house.remote.always("RCPT", std::string(one.reply));
        house.send(one.notify, "rfc822;bob@b.example", "QQ314", Ret::headers);
        CHECK(house.said("MAIL") == "MAIL FROM:<alice@home.example>");  // (a)
        CHECK(house.said("RCPT") == "RCPT TO:<bob@b.example>");
        CHECK(house.told() == one.action);
        if (one.action.empty()) continue;
        CHECK(house.inbox().front().contains("Original-Envelope-Id: QQ314"));
        CHECK(house.inbox().front().contains("Original-Recipient: rfc822; bob@b.example"));
    }
}

TEST_CASE("5.2.5: a delay is told to whom it was not forbidden, and 6.2: RET=FULL returns the text of failures alone") {
    for (const auto& [notify, told] :
         {std::pair(NotifyBits{0}, "delayed"), std::pair(bits(Notify::failure, Notify::delay), "delayed"),
          std::pair(bits(Notify::failure), ""), std::pair(bits(Notify::never), "")}) {
        CAPTURE(static_cast<int>(notify));
        DsnHouse house;
        house.remote.always("RCPT", "451 4.3.0 not now");
        house.send(notify, "", "", Ret::full);
        house.settle_after(std::chrono::hours(5));
        CHECK(house.told() == told);
        if (!house.told().empty()) CHECK_FALSE(house.inbox().front().contains("\r\nbody\r\n"));
    }
    for (const auto& [ret, has_text] :
         {std::pair(Ret::full, true), std::pair(Ret::headers, false), std::pair(Ret::unspecified, false)}) {
        DsnHouse house;
        house.remote.always("RCPT", "550 5.1.1 no");
        house.send(0, "", "", ret);
        CHECK(house.told() == "failed");
        CHECK(house.inbox().front().contains("\r\nbody\r\n") == has_text);
    }
}

TEST_CASE("a report goes where mail to the sender would go: aliases, tags, roles, catch-alls") {
    House house;
    house.store.add_account("bob@home.example");
    REQUIRE(house.store->write({}, [](storage::Tx& tx) -> Result<> {
        TRY_VOID(tx.catalog().add_alias("sales@home.example", {"shop@home.example"}));
        TRY_VOID(tx.catalog().add_alias("shop@home.example", {"sales@home.example", "alice@home.example"}));
        TRY_VOID(tx.catalog().add_alias("@home.example", {"bob@home.example"}));
        return {};
    }));
    house.remote.always("RCPT", "550 5.1.1 No such user");
    std::size_t told = 0;
    const auto fail = [&](const std::string& sender) {
        house.submit({"nobody@b.example"}, sender);
        house.settle();
    };
    for (const std::string sender : {"Alice@home.example", "alice+shop@home.example", "sales@home.example",
                                     "shop+tag@home.example", "Postmaster@home.example", "abuse@home.example"}) {
        CAPTURE(sender);
        fail(sender);
        CHECK(house.inbox().size() == ++told);
        CHECK(house.inbox().back().contains("nobody@b.example"));
    }
    for (const std::string sender : {"bob@home.example", "whoever@home.example", "whoever+tag@home.example"}) {
        CAPTURE(sender);
        fail(sender);
        CHECK(house.inbox().size() == told);  // they are bob's
    }
    // The local part of somebody else's address is not ours to change (RFC 5321 2.4).
    fail("Carol@b.example");
    const auto is_to_carol = [](const std::string& line) { return line.starts_with("RCPT TO:<Carol@b.example>"); };
    CHECK(std::ranges::count_if(house.remote.lines, is_to_carol) == 1);
}

}  // namespace posthouse::relay
