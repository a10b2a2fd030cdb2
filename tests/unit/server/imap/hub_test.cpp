// Whether what changed in a mailbox since a look was one's own doing alone.
#include "server/imap/hub.h"

#include <doctest/doctest.h>

using namespace posthouse;
using server::imap::Hub;
using storage::AccountId;
using storage::MailboxId;

namespace {

constexpr AccountId kAlice{1};
constexpr MailboxId kInbox{7};

storage::CommitNotice changed(std::uint64_t modseq, MailboxId mailbox = kInbox) {
    storage::CommitNotice out;
    out.mailboxes.push_back(storage::MailboxChange{kAlice, mailbox, modseq});
    return out;
}

struct Room {
    net::Loop loop;
    Hub hub{loop};
    net::Event wake{loop};
    std::unique_ptr<Hub::Watch> watch = hub.watch(kAlice, kInbox, wake);
    std::uint64_t seen = watch->generation();
};

}  // namespace

TEST_CASE("a change of one's own is known for what it is") {
    Room room;
    CHECK_FALSE(room.watch->is_only_change_since(room.seen, 5));
    room.hub.publish(changed(5));
    CHECK(room.watch->is_only_change_since(room.seen, 5));
    room.hub.publish(changed(6, MailboxId{8}));
    CHECK(room.watch->is_only_change_since(room.seen, 5));
    room.hub.publish(changed(7));
    CHECK_FALSE(room.watch->is_only_change_since(room.seen, 5));
    CHECK_FALSE(room.watch->is_only_change_since(room.seen, 7));
    CHECK(room.watch->is_only_change_since(room.seen + 1, 7));
}

TEST_CASE("a change of another in the same commit, and one of another process, is not overlooked") {
    Room room;
    // A notice holds the highest of its commit: ours was 5.
    room.hub.publish(changed(6));
    CHECK_FALSE(room.watch->is_only_change_since(room.seen, 5));
    Room other;
    other.hub.publish(changed(5));
    storage::CommitNotice external;
    external.external = true;
    other.hub.publish(external);
    CHECK_FALSE(other.watch->is_only_change_since(other.seen, 5));
    CHECK_FALSE(other.watch->is_only_change_since(0, 5));
}
