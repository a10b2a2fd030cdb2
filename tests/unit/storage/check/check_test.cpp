// Each way in which rows can disagree is made on purpose: the check names it, the repair mends it, the next check finds
// nothing, and mail that was well stays as it was.
#include "tests/unit/storage/check/check_store.h"

using namespace posthouse;
using namespace posthouse::storage;
using test::CheckStore;

namespace {

struct Case {
    FaultKind kind;
    const char* sql;
    const char* account = "";
    const char* sentence = "";  ///< part of what is said
};

constexpr Case kCases[] = {
    {FaultKind::counter_behind, "UPDATE counters SET value = 2 WHERE name = 'message'", "",
     "the counter \"message\" is 2"},
    {FaultKind::counter_behind, "UPDATE counters SET value = 0 WHERE name = 'event'", "", "the counter \"event\" is 0"},
    {FaultKind::counter_behind, "DELETE FROM counters WHERE name = 'message'", "", "\"message\" is not there"},
    {FaultKind::account_without_domain, "DELETE FROM domains", "", "alice@a.example belongs to domain 1"},
    {FaultKind::domain_not_hosted, "UPDATE domains SET hosted = 0", "", "a.example only signs"},
    {FaultKind::row_without_owner, "INSERT INTO subscriptions VALUES (77, 'INBOX')", "", "subscriptions"},
    {FaultKind::row_without_owner, "INSERT INTO imported VALUES (5, 'k', 1)", "", "imported"},
    {FaultKind::row_without_owner, "UPDATE deleted_entries SET account = 99", "", "deleted_entries"},
    {FaultKind::segment_row_missing, "DELETE FROM segments", "", "messages lie in 000001.seg"},
    {FaultKind::segment_not_sealed, "UPDATE segments SET sealed = 7", "", "000001.seg has the state 7"},
    {FaultKind::segment_dead_octets, "UPDATE segments SET dead_octets = 5", "", "it says 5 dead octets, there are 0"},
    {FaultKind::entry_without_mailbox, "DELETE FROM mailboxes WHERE name = 'INBOX' AND account = 1", "",
     "messages lie in mailbox 1"},
    {FaultKind::mailbox_without_account, "UPDATE mailboxes SET account = 50 WHERE name = 'Archive' AND account = 1",
     "bob@a.example", "which is not there"},
    {FaultKind::recipient_without_item,
     "INSERT INTO queue_recipients (queue, address, domain, orcpt, notify, state, next_attempt_ms) "
     "VALUES (77, 'x@y.example', 'y.example', '', 0, 0, 1)",
     "", "<x@y.example> is a recipient of q77"},
    {FaultKind::item_without_recipients, "DELETE FROM queue_recipients", "", "has no recipients"},
    {FaultKind::item_finished, "UPDATE queue_recipients SET state = 2", "", "every recipient is done with"},
    {FaultKind::recipient_state, "UPDATE queue_recipients SET state = 9", "", "<dave@far.example> has the state 9"},
    {FaultKind::uid_validity_twice,
     "UPDATE mailboxes SET uid_validity = (SELECT uid_validity FROM mailboxes WHERE id = 1) WHERE id = 2", "",
     "alice@a.example, Drafts has the same UIDVALIDITY as INBOX"},
    {FaultKind::special_use_twice, "UPDATE mailboxes SET special_use = 4 WHERE name = 'Junk' AND account = 2", "",
     "bob@a.example, Trash has the same special use as Junk"},
    {FaultKind::entry_keywords, "UPDATE entries SET keyword_set = 55 WHERE mailbox = 1 AND uid = 3", "",
     "alice@a.example, INBOX, UID 3: its set of keywords 55 is not there"},
    {FaultKind::entry_flags, "UPDATE entries SET flags = 64 WHERE mailbox = 1 AND uid = 3", "", "it has flags 0x40"},
    {FaultKind::entry_size, "UPDATE entries SET size_octets = 7 WHERE mailbox = 1 AND uid = 3", "",
     "the mailbox says 7 octets"},
    {FaultKind::expunged_alive, "INSERT INTO expunged VALUES (1, 1, 3)", "", "INBOX, UID 3 is listed as expunged"},
    {FaultKind::expunged_without_mailbox, "INSERT INTO expunged VALUES (999, 1, 3)", "", "mailbox 999"},
    {FaultKind::message_unreferenced, "DELETE FROM entries WHERE mailbox = 1 AND uid = 4", "",
     "is in no mailbox and no queue"},
    {FaultKind::message_refs, "UPDATE messages SET refs = 9 WHERE id = (SELECT min(id) FROM messages)", "",
     "it says that 9 places name it, but 2 do"},
    {FaultKind::message_refs, "UPDATE messages SET refs = 1 WHERE id = (SELECT min(id) FROM messages)", "", "but 2 do"},
    {FaultKind::mailbox_counters, "UPDATE mailboxes SET messages = 50 WHERE id = 1", "", "it says 50 messages"},
    {FaultKind::mailbox_counters, "UPDATE mailboxes SET unseen = 0 WHERE id = 1", "", "0 unseen"},
    {FaultKind::mailbox_counters, "UPDATE mailboxes SET octets = 1 WHERE id = 1", "", "1 octets"},
    {FaultKind::mailbox_uid_next, "UPDATE mailboxes SET uid_next = 2 WHERE id = 1", "",
     "UIDNEXT is 2, but UID 6 was given"},
    {FaultKind::mailbox_modseq, "UPDATE mailboxes SET highest_modseq = 1 WHERE id = 1", "", "HIGHESTMODSEQ is 1"},
    {FaultKind::account_used, "UPDATE accounts SET used_octets = 1 WHERE id = 1", "", "alice@a.example: it says"},
    {FaultKind::account_used, "UPDATE accounts SET used_messages = 1 WHERE id = 1", "", "it says 1 messages"},
    {FaultKind::account_modseq, "UPDATE accounts SET modseq = 1 WHERE id = 1", "", "the last MODSEQ is 1"},
    {FaultKind::account_uid_validity, "UPDATE accounts SET uid_validity_next = 1 WHERE id = 1", "",
     "the next UIDVALIDITY is 1"},
    {FaultKind::entry_without_message,
     "DELETE FROM messages WHERE id = (SELECT message FROM entries WHERE mailbox = 1 "
     "AND uid = 3)",
     "", "alice@a.example, INBOX, UID 3: its message 3 is not known to mail.db"},
    {FaultKind::deleted_without_message, "DELETE FROM messages WHERE id = (SELECT message FROM deleted_entries)", "",
     "was removed and could be restored"},
    {FaultKind::queue_without_message, "DELETE FROM messages WHERE id = (SELECT message FROM queue_items)", "",
     "q1 from <alice@a.example>: its message 7 is not known"},
    {FaultKind::message_place, "UPDATE messages SET position = 1000000 WHERE id = 3", "", "beyond its"},
    {FaultKind::message_place, "UPDATE messages SET segment = -4 WHERE id = 3", "", "impossible place"},
    {FaultKind::messages_overlap,
     "UPDATE messages SET position = (SELECT position FROM messages WHERE id = 2) WHERE id = 3", "", "both lie at"},
    {FaultKind::message_place, "UPDATE segments SET octets = 40", "", "beyond its 40 committed octets"},
    {FaultKind::row_without_owner, "INSERT INTO scram_keys VALUES (77, x'00', 1, x'00', x'00')", "", "scram_keys"},
    {FaultKind::row_without_owner,
     "INSERT INTO app_passwords (account, name, digest, created_ms) VALUES (77, 'x', x'00', 1)", "", "app_passwords"},
    {FaultKind::row_without_owner,
     "INSERT INTO api_tokens (name, digest, created_ms, account) VALUES ('x', x'00', 1, 77)", "", "api_tokens"},
    {FaultKind::row_without_owner, "INSERT INTO capability_switches VALUES (77, '', 'IDLE')", "",
     "capability_switches"},
    {FaultKind::setting_value, "INSERT OR REPLACE INTO settings VALUES ('undelete.days', 'abc')", "",
     "undelete.days takes a number"},
    {FaultKind::recipient_address, "UPDATE queue_recipients SET domain = ''", "", "has no address to go to"},
    {FaultKind::recipient_waits, "UPDATE queue_recipients SET next_attempt_ms = 9e15", "",
     "<dave@far.example> waits longer"},
    {FaultKind::recipient_held, "UPDATE queue_recipients SET state = 4, incident = 7", "",
     "<dave@far.example> is held under incident 7, which is not open"},
    {FaultKind::row_without_owner, "INSERT INTO account_hours VALUES (77, 1, 1, 1, 1, 1, 0)", "", "account_hours"},
    {FaultKind::row_without_owner, "INSERT INTO account_recipients VALUES (77, 1)", "", "account_recipients"},
    {FaultKind::row_without_owner, "INSERT INTO account_trust VALUES (77, 1)", "", "account_trust"},
    {FaultKind::mailbox_name, "UPDATE mailboxes SET name = '' WHERE id = 2", "", "it is empty"},
    {FaultKind::mailbox_name, "UPDATE mailboxes SET name = 'a/../b' WHERE id = 2", "", "a level is"},
    {FaultKind::mailbox_uids, "UPDATE mailboxes SET uid_validity = 0 WHERE id = 2", "", "its UIDVALIDITY is 0"},
    {FaultKind::mailbox_uids, "UPDATE mailboxes SET uid_validity = 1 << 40 WHERE id = 2", "", "its UIDVALIDITY is"},
    {FaultKind::mailbox_uids, "UPDATE mailboxes SET uid_next = 1 << 40 WHERE id = 1", "", "its UIDNEXT is"},
    {FaultKind::mailbox_uids, "UPDATE entries SET uid = 0 WHERE mailbox = 1 AND uid = 4", "", "has the UID 0"},
    {FaultKind::mailbox_uids, "UPDATE entries SET uid = 1 << 33 WHERE mailbox = 1 AND uid = 4", "", "has the UID 85"},
    {FaultKind::mailbox_uids, "INSERT INTO expunged VALUES (1, 1, 1 << 40)", "", "is said to be expunged"},
    {FaultKind::account_uid_validity, "UPDATE accounts SET uid_validity_next = 1 << 40 WHERE id = 1", "",
     "the next UIDVALIDITY is"},
    {FaultKind::entry_modseq, "UPDATE entries SET modseq = 0 WHERE mailbox = 1 AND uid = 3", "", "its MODSEQ is 0"},
    {FaultKind::flag_runs, "DELETE FROM flag_runs", "", "would not hear of every changed flag"},
    {FaultKind::flag_runs, "UPDATE flag_runs SET modseq = modseq + 1", "", "would not hear of every changed flag"},
    {FaultKind::flag_runs, "INSERT INTO flag_runs VALUES (1, 700, 705, 9)", "", "would not hear of every changed flag"},
    {FaultKind::facts_stale, "UPDATE messages SET subject = 'another', envelope = x'28' WHERE id = 3", "",
     "alice@a.example, INBOX, UID 3"},
};

bool says(const Findings& findings, FaultKind kind, std::string_view part) {
    const auto group = findings.groups().find(kind);
    if (group == findings.groups().end()) return false;
    return std::ranges::any_of(group->second.shown,
                               [&](const Fault& fault) { return fault.sentence.find(part) != std::string::npos; });
}

}  // namespace

TEST_CASE("a healthy store has no fault") {
    CheckStore s;
    const CheckReport report = s.check();
    CHECK(CheckStore::all(report.findings) == "");
    CHECK(report.accounts == 2);
    CHECK(report.entries == 7);
    CHECK(report.messages == 7);
    CHECK(report.bodies_read == 7);
    CHECK(report.queue_items == 1);
}

TEST_CASE("each fault is named, mended, and gone at the second look; healthy mail is as it was") {
    for (const Case& one : kCases) {
        CAPTURE(one.sql);
        CheckStore s;
        s.sql(one.sql);
        CheckReport report = s.check();
        CAPTURE(CheckStore::all(report.findings));
        CHECK(report.findings.has(one.kind));
        CHECK(says(report.findings, one.kind, one.sentence));
        const RepairReport repaired = s.repair(report, one.account);
        CAPTURE(CheckStore::all(repaired.left.findings));
        CHECK(repaired.left.findings.faults() == 0);
        CHECK(repaired.mended >= 1);
        CHECK(CheckStore::all(s.check().findings) == "");
        const bool renamed = one.kind == FaultKind::entry_without_mailbox;
        const std::string inbox = renamed ? "Recovered/INBOX" : "INBOX";
        for (const Uid uid : {1U, 2U, 3U, 5U}) CHECK(s.body(inbox, uid) == CheckStore::text(static_cast<int>(uid)));
        if (one.kind != FaultKind::mailbox_without_account) CHECK(s.body("Archive", 1) == CheckStore::text(1));
        // And it lives on.
        s.deliver(8);
        CHECK(CheckStore::all(s.check().findings) == "");
    }
}

TEST_CASE("a message whose entry was lost comes into Recovered of the one it was delivered to") {
    CheckStore s;
    s.sql("DELETE FROM entries WHERE mailbox = 1 AND uid = 4");
    CheckReport report = s.check();
    CHECK(s.repair(report).left.findings.faults() == 0);
    CHECK(s.body("Recovered", 1) == CheckStore::text(4));
}

TEST_CASE("what needs an account to go to stays until one is named") {
    CheckStore s;
    s.sql("UPDATE mailboxes SET account = 50 WHERE name = 'Archive' AND account = 1");
    CheckReport report = s.check();
    CHECK(s.repair(report).left.findings.has(FaultKind::mailbox_without_account));
    CHECK(s.number("SELECT count(*) FROM entries") == 7);
    CheckReport again = s.check();
    CHECK(s.repair(again, "bob@a.example").left.findings.faults() == 0);
    CHECK(s.number("SELECT count(*) FROM mailboxes WHERE account = 2 AND name = 'Recovered/Archive'") == 1);
    CHECK(s.number("SELECT count(*) FROM entries") == 7);
}

TEST_CASE("many faults at once are mended together") {
    CheckStore s;
    std::string script;
    for (const char* sql :
         {"UPDATE mailboxes SET messages = 50, unseen = 9 WHERE id = 1", "UPDATE accounts SET used_octets = 1",
          "UPDATE messages SET refs = refs + 3", "DELETE FROM segments", "DELETE FROM messages WHERE id = 2",
          "UPDATE mailboxes SET uid_next = 1", "DELETE FROM counters WHERE name = 'message'",
          "UPDATE queue_recipients SET state = 12"}) {
        script += std::string(sql) + ";";
    }
    s.sql(script);
    CheckReport report = s.check();
    CHECK(report.findings.faults() > 8);
    const RepairReport repaired = s.repair(report);
    CHECK(CheckStore::all(repaired.left.findings) == "");
    CHECK(s.body("INBOX", 2) == CheckStore::text(2));
}

TEST_CASE("quick and without bodies: the same rows are looked at, no octets") {
    CheckStore s;
    CheckOptions options;
    options.quick = true;
    options.bodies = false;
    const auto observer = [](std::uint64_t, std::uint64_t, std::uint64_t, std::string_view) { return true; };
    s.sql("UPDATE counters SET value = 0 WHERE name = 'event'");
    const auto report = check_store(*s.store, options, observer);
    REQUIRE(report);
    CHECK(report->findings.has(FaultKind::counter_behind));
    CHECK(report->findings.faults() == 1);
    CHECK(report->octets_read == 0);
}

TEST_CASE("every kind has its row, in order") {
    for (std::size_t i = 0; i < kFaultKinds; ++i) {
        const auto kind = static_cast<FaultKind>(i);
        CAPTURE(i);
        CHECK(row_of(kind).kind == kind);
        CHECK(!row_of(kind).code.empty());
        CHECK(!row_of(kind).remedy.empty());
    }
}
