#include "storage/search/uid_map.h"

#include <doctest/doctest.h>

#include "tests/support/temp_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using search::UidMap;

namespace {

struct Fixture {
  Fixture() { deliver(5); }
  void deliver(int count) {
    for (int i = 0; i < count; ++i)
      REQUIRE(store.deliver(alice, "a body"));
  }
  /// What the map says of UIDs of alice's INBOX, as `who` asks.
  Result<std::vector<MessageId>> ask(UidMap &map, AccountId who,
                                     const std::vector<Uid> &uids) {
    return store->read([&](const Snapshot &s) {
      return map.messages_of(s.mail(who), inbox, uids);
    });
  }
  std::vector<MessageId> truth(const std::vector<Uid> &uids) {
    std::vector<MessageId> out;
    for (const Uid uid : uids) {
      const auto found = store->read([&](const Snapshot &s) {
        return s.mail(alice).entries(inbox, uid, uid);
      });
      REQUIRE(found);
      out.push_back(found->empty() ? MessageId{} : found->front().message);
    }
    return out;
  }
  void expunge(const std::vector<Uid> &uids) {
    REQUIRE(store->write_value(
        {}, [&](Tx &tx) { return tx.mail(alice).expunge(inbox, uids); }));
  }

  test::TempStore store;
  AccountId alice = store.add_account("alice@a.example");
  AccountId bob = store.add_account("bob@a.example");
  MailboxId inbox = store.mailbox(alice, "INBOX").id;
};

} // namespace

TEST_CASE("UIDs are told by the messages they name, also those that came in "
          "since and not those that are not there") {
  Fixture f;
  UidMap map;
  CHECK(f.ask(map, f.alice, {}).value().empty());
  CHECK(f.ask(map, f.alice, {1, 2, 4}).value() == f.truth({1, 2, 4}));
  CHECK(map.size() == 4); // all up to the last one asked for
  CHECK(f.ask(map, f.alice, {3, 5, 9}).value() == f.truth({3, 5, 9}));
  f.deliver(3);
  f.expunge({7});
  CHECK(f.ask(map, f.alice, {1, 6, 7, 8}).value() == f.truth({1, 6, 7, 8}));
  CHECK(map.size() == 7);
}

TEST_CASE("what was read for one account is not told to another") {
  Fixture f;
  UidMap map;
  REQUIRE(f.ask(map, f.alice, {1, 5}));
  CHECK(f.ask(map, f.bob, {1, 5}).error().code == Errc::not_found);
}

TEST_CASE("what was asked for longest ago is forgotten first, and read again") {
  Fixture f;
  UidMap map(8);
  REQUIRE(f.ask(map, f.alice, {5}));
  const MailboxId own = f.inbox;
  const auto truth = f.truth({1, 2, 3, 4, 5});
  for (int i = 0; i < 5; ++i)
    REQUIRE(f.store.deliver(f.bob, "a body"));
  f.inbox = f.store.mailbox(f.bob, "INBOX").id;
  REQUIRE(f.ask(map, f.bob, {5}));
  CHECK(map.size() == 5);
  f.inbox = own;
  CHECK(f.ask(map, f.alice, {1, 2, 3, 4, 5}).value() == truth);
  f.deliver(5);
  CHECK(f.ask(map, f.alice, {10}).value() == f.truth({10}));
  CHECK(map.size() == 0); // more than may be kept
}
