// Every command against a mailbox of somebody else, who gave no right to see it: each must answer exactly as for one
// that is not there (RFC 4314 6: no telling apart), nothing may come of it, and a command without a line here fails.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>

#include "server/imap/command.h"
#include "tests/support/imap_client.h"
#include "tests/support/imap_host.h"
#include "tests/support/loop_runner.h"

namespace {

using namespace posthouse;

/// "%" stands for the mailbox; no line: the command names none and works on what is selected, or on nothing.
const std::map<std::string_view, std::vector<std::string>> kLines = {
    {"CAPABILITY", {}},
    {"NOOP", {}},
    {"LOGOUT", {}},
    {"ID", {}},
    {"ENABLE", {}},
    {"NAMESPACE", {}},
    {"STARTTLS", {}},
    {"AUTHENTICATE", {}},
    {"LOGIN", {}},
    {"UNAUTHENTICATE", {}},
    {"COMPRESS", {}},
    {"IDLE", {}},
    {"CREATE", {"CREATE \"%\"", "CREATE \"%/new\"", "CREATE \"%\" (USE (\\Archive))"}},
    {"DELETE", {"DELETE \"%\""}},
    {"RENAME", {"RENAME \"%\" mine", "RENAME \"%\" \"%x\"", "RENAME Own \"%/below\"", "RENAME Own \"%\""}},
    {"SUBSCRIBE", {"SUBSCRIBE \"%\""}},
    {"UNSUBSCRIBE", {"UNSUBSCRIBE \"%\""}},
    {"LIST",
     {"LIST \"\" \"%\"", "LIST \"%/\" *", "LIST \"\" * RETURN (STATUS (MESSAGES) MYRIGHTS METADATA (/shared/comment))",
      "LIST (SUBSCRIBED RECURSIVEMATCH) \"\" *", "LIST (SPECIAL-USE) \"\" *"}},
    {"LSUB", {"LSUB \"\" \"%\"", "LSUB \"\" *"}},
    {"STATUS", {"STATUS \"%\" (MESSAGES UIDNEXT HIGHESTMODSEQ MAILBOXID)"}},
    {"GETQUOTA", {"GETQUOTA \"%\""}},
    {"GETQUOTAROOT", {"GETQUOTAROOT \"%\""}},
    {"SETQUOTA", {"SETQUOTA \"%\" (STORAGE 1)"}},
    {"GETMETADATA", {"GETMETADATA \"%\" /shared/comment", "GETMETADATA (DEPTH infinity) \"%\" /private"}},
    {"SETMETADATA", {"SETMETADATA \"%\" (/shared/comment \"x\")", "SETMETADATA \"%\" (/private/comment \"x\")"}},
    {"SETACL", {"SETACL \"%\" eve@a.test lr", "SETACL \"%\" anyone lrswipkxtea"}},
    {"DELETEACL", {"DELETEACL \"%\" bob@a.test"}},
    {"GETACL", {"GETACL \"%\""}},
    {"LISTRIGHTS", {"LISTRIGHTS \"%\" eve@a.test"}},
    {"MYRIGHTS", {"MYRIGHTS \"%\""}},
    {"SELECT", {"SELECT \"%\"", "SELECT \"%\" (CONDSTORE)"}},
    {"EXAMINE", {"EXAMINE \"%\""}},
    {"CHECK", {}},
    {"CLOSE", {}},
    {"UNSELECT", {}},
    {"EXPUNGE", {}},
    {"UID EXPUNGE", {}},
    {"APPEND",
     {"APPEND \"%\" {16+}\r\nSubject: x\r\n\r\nxy", "APPEND Own CATENATE (URL \"/%/;UID=1\")",
      "APPEND \"%\" CATENATE (URL \"/%/;UID=1/;SECTION=TEXT\")"}},
    {"REPLACE", {"REPLACE 1 \"%\" {16+}\r\nSubject: x\r\n\r\nxy", "REPLACE 1 Own CATENATE (URL \"/%/;UID=1\")"}},
    {"UID REPLACE", {"UID REPLACE 1 \"%\" {16+}\r\nSubject: x\r\n\r\nxy"}},
    {"FETCH", {}},
    {"UID FETCH", {}},
    {"STORE", {}},
    {"UID STORE", {}},
    {"COPY", {"COPY 1 \"%\"", "COPY $ \"%\""}},
    {"UID COPY", {"UID COPY 1 \"%\"", "UID COPY 99 \"%\""}},
    {"MOVE", {"MOVE 1 \"%\""}},
    {"UID MOVE", {"UID MOVE 1 \"%\"", "UID MOVE 99 \"%\""}},
    {"SEARCH", {}},
    {"UID SEARCH", {}},
    {"ESEARCH",
     {"ESEARCH IN (mailboxes \"%\") RETURN (COUNT ALL) ALL", "ESEARCH IN (subtree \"%\") ALL",
      "ESEARCH IN (subtree-one \"Other Users\") ALL", "ESEARCH IN (subtree \"Other Users\" subtree \"Shared\") ALL"}},
    {"CANCELUPDATE", {}},
    {"SORT", {}},
    {"UID SORT", {}},
    {"THREAD", {}},
    {"UID THREAD", {}},
    {"NOTIFY",
     {"NOTIFY SET STATUS (mailboxes \"%\" (MessageNew MessageExpunge))",
      "NOTIFY SET STATUS (subtree \"%\" (MessageNew MessageExpunge MailboxName))", "NOTIFY NONE"}},
    {"UIDBATCHES", {}},
};

std::string with_name(std::string line, std::string_view name) {
    // Longest first: a literal counts no name, so that sizes stay right.
    for (std::size_t at = line.find('%'); at != std::string::npos; at = line.find('%', at + name.size())) {
        line.replace(at, 1, name);
    }
    return line;
}

/// The answer with the mailbox's name taken out, so that two of them can be compared.
std::string without_name(std::string answer, std::string_view name) {
    for (std::size_t at = answer.find(name); at != std::string::npos; at = answer.find(name, at)) {
        answer.replace(at, name.size(), "%");
    }
    return answer;
}

struct Seen {
    std::string line, foreign, nothing;
};

net::Task<void> ask_both(test::ImapClient& client, const std::string& line, const std::string& foreign,
                         const std::string& nothing, std::vector<Seen>& out) {
    Seen seen;
    seen.line = line;
    for (const bool other : {true, false}) {
        const std::string& name = other ? foreign : nothing;
        std::string command = "t " + with_name(line, name);
        const auto answer = co_await client.ask(std::move(command));
        (other ? seen.foreign : seen.nothing) =
            answer ? without_name(*answer, name) : "the session ended: " + answer.error().context;
        // A failed SELECT leaves nothing selected.
        static_cast<void>(co_await client.ask("t SELECT INBOX"));
    }
    out.push_back(std::move(seen));
}

net::Task<void> ask_all(test::ImapClient& client, std::vector<Seen>& out) {
    static_cast<void>(co_await client.ask("t LOGIN eve@a.test secret"));
    static_cast<void>(co_await client.ask("t SELECT INBOX"));
    // Both ways in which others' mailboxes are named; names of one length, so that nothing else differs.
    for (const std::string place : {"Other Users/alice@a.test/", "Shared/alice@a.test/", "Other Users/bob@a.test/"}) {
        for (const auto& [verb, lines] : kLines) {
            for (const std::string& line : lines) {
                const std::string foreign = place + "Secret";
                const std::string nothing = place + "Absent";
                co_await ask_both(client, line, foreign, nothing, out);
            }
        }
    }
    // An account that is not there is not told apart from one that is.
    const std::string inbox = "Other Users/alice@a.test/INBOX";
    const std::string nobody = "Other Users/nobody@a.test/INBOX";
    for (const auto& [verb, lines] : kLines) {
        for (const std::string& line : lines) co_await ask_both(client, line, inbox, nobody, out);
    }
    static_cast<void>(co_await client.ask("t LOGOUT"));
}

net::Task<void> ask_owner(test::ImapClient& client, std::string& state) {
    static_cast<void>(co_await client.ask("t LOGIN alice@a.test secret"));
    for (const std::string command :
         {"t LIST \"\" *", "t STATUS Secret (MESSAGES UIDNEXT HIGHESTMODSEQ)", "t GETACL Secret", "t GETACL INBOX",
          "t GETMETADATA (DEPTH infinity) Secret (/shared /private)"}) {
        const auto answer = co_await client.ask(command);
        state += answer ? *answer : answer.error().context;
    }
    static_cast<void>(co_await client.ask("t LOGOUT"));
}

/// Runs `work` with a client in a session of its own.
template <class Work>
void with_client(net::Loop& loop, test::ImapHost& host, Work work) {
    const net::Endpoint here(*net::IpAddress::parse("127.0.0.1"), 143);
    auto pair = net::make_memory_pair(loop, here, here);
    net::TaskGroup group(loop);
    group.spawn("imap", server::imap::serve_connection(std::move(pair.first), host.deps));
    test::ImapClient client(std::move(pair.second));
    test::run_task(loop, work(client));
    client.close();
    while (group.size() > 0) loop.poll();
}

std::string owner_sees(net::Loop& loop, test::ImapHost& host) {
    std::string state;
    with_client(loop, host, [&](test::ImapClient& client) { return ask_owner(client, state); });
    return state;
}

}  // namespace

TEST_CASE("others' mailboxes without a right: every command answers as for one that is not there") {
    for (const auto& rows : server::imap::all_commands()) {
        for (const auto& row : rows) {
            CAPTURE(row.verb);
            CHECK(kLines.contains(row.verb));
        }
    }
    net::Loop loop;
    test::ImapHost host(loop);
    const auto alice = host.add_account("alice@a.test", "secret");
    host.add_account("bob@a.test", "secret");
    const auto eve = host.add_account("eve@a.test", "secret");
    test::must(host.deliver(alice, "Secret", "Subject: hers\r\n\r\nhers\r\n"));
    for (int i = 0; i < 40; ++i) test::must(host.deliver(eve, "INBOX", "Subject: mine\r\n\r\nmine\r\n"));
    test::must(host.deliver(eve, "Own", "Subject: mine\r\n\r\nmine\r\n"));
    const std::string before = owner_sees(loop, host);
    std::vector<Seen> answers;
    with_client(loop, host, [&](test::ImapClient& client) { return ask_all(client, answers); });
    CHECK(answers.size() > 200);
    for (const Seen& seen : answers) {
        CAPTURE(seen.line);
        CHECK(seen.foreign == seen.nothing);
        CHECK(seen.foreign.find("hers") == std::string::npos);
        CHECK(seen.foreign.find("the session ended") == std::string::npos);
    }
    CHECK(owner_sees(loop, host) == before);
}
