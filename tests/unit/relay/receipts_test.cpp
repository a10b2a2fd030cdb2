// Receipts that are owed for what was delivered here (RFC 3461 5.2.3, 5.2.7.3): made, sent once, and what they say.
#include "relay/receipts.h"

#include <filesystem>
#include <fstream>
#include <iterator>

#include "storage/receipts.h"
#include "tests/support/relay_house.h"

namespace posthouse::relay {
namespace {

struct ReceiptHouse : House {
    // As server/delivery does: with the message.
    void owe(const std::string& sender, const std::vector<std::pair<std::string, bool>>& recipients,
             bool more = false) {
        const auto body = store.stage(kMessage);
        REQUIRE(store->write({body}, [&](storage::Tx& tx) -> Result<> {
            storage::Delivery delivery;
            delivery.body = body;
            delivery.facts = mime::compute_facts(kMessage);
            delivery.sender = sender;
            storage::LocalCopy copy;
            copy.account = alice;
            copy.recipient = "alice@home.example";
            delivery.local.push_back(copy);
            TRY(const storage::Accepted accepted, tx.deliver(delivery));
            for (const auto& [address, expanded] : recipients) {
                storage::Receipt receipt;
                receipt.message = accepted.message;
                receipt.message_id = delivery.facts.message_id;
                receipt.sender = sender;
                receipt.envid = "QQ314159";
                receipt.recipient = address;
                receipt.orcpt = "rfc822;" + address;
                receipt.expanded = expanded;
                TRY_VOID(storage::ReceiptTx(tx).add(receipt));
            }
            return {};
        }));
        if (more) return;
        settle_after(std::chrono::seconds(15));
        settle();
    }
    // Changes an octet of each message that lies there.
    void damage() {
        std::size_t changed = 0;
        for (const auto& file : std::filesystem::directory_iterator(store.path() + "/segments")) {
            std::fstream octets(file.path(), std::ios::in | std::ios::out | std::ios::binary);
            const std::string all{std::istreambuf_iterator<char>(octets), std::istreambuf_iterator<char>()};
            for (std::size_t at = all.find("Subject: hello"); at != std::string::npos;
                 at = all.find("Subject: hello", at + 1)) {
                octets.seekp(static_cast<std::streamoff>(at));
                octets.put('s');
                ++changed;
            }
        }
        REQUIRE(changed > 0);
    }
    std::size_t owed() {
        return store->read([](const storage::Snapshot& s) { return storage::ReceiptView(s).owed(100); }).value().size();
    }
};

}  // namespace

TEST_CASE("a receipt goes to a sender elsewhere by the queue, from <>, once") {
    ReceiptHouse house;
    house.owe("bob@b.example", {{"alice@home.example", false}, {"info@home.example", false}});
    CHECK(house.owed() == 0);
    REQUIRE(house.remote.messages.size() == 1);
    CHECK(house.remote.count("MAIL FROM:<>") == 1);
    CHECK(house.remote.count("RCPT TO:<bob@b.example> NOTIFY=NEVER") == 1);  // RFC 3461 6.1
    const std::string& receipt = house.remote.messages.front();
    CHECK(receipt.contains("Subject: Delivered: your message"));
    CHECK(receipt.contains("Original-Envelope-Id: QQ314159"));
    CHECK(receipt.contains("Action: delivered"));
    CHECK(receipt.contains("Status: 2.0.0"));
    CHECK(receipt.contains("Final-Recipient: rfc822; alice@home.example"));
    CHECK(receipt.contains("Original-Recipient: rfc822; info@home.example"));
    CHECK(receipt.contains("Message-ID: <m1@home.example>"));  // the header of the original, and not its text
    CHECK_FALSE(receipt.contains("Return-Path: <alice@home.example>"));
    CHECK_FALSE(receipt.contains("\r\nbody\r\n"));
    house.restart();
    house.settle_after(std::chrono::seconds(15));
    CHECK(house.remote.messages.size() == 1);
}

TEST_CASE("a message whose octets are lost, and a sender that nobody can write to, hold up no other receipt") {
    ReceiptHouse house;
    house.owe("no address", {{"alice@home.example", false}}, /*more=*/true);
    house.owe("bob@b.example", {{"alice@home.example", false}}, /*more=*/true);
    house.damage();
    house.owe("carol@b.example", {{"alice@home.example", false}});
    CHECK(house.owed() == 0);
    CHECK(house.remote.count("RCPT TO:<bob@b.example> NOTIFY=NEVER") == 1);
    CHECK(house.remote.count("RCPT TO:<carol@b.example> NOTIFY=NEVER") == 1);
}

TEST_CASE("of an alias with several targets it says expanded; to somebody here it goes into the mailbox") {
    ReceiptHouse house;
    house.owe("alice@home.example", {{"team@home.example", true}});
    CHECK(house.owed() == 0);
    REQUIRE(house.inbox().size() == 2);  // the message itself, and the receipt
    CHECK(house.inbox().back().contains("Action: expanded"));
    CHECK(house.inbox().back().contains("passed on to several people"));
}

}  // namespace posthouse::relay
