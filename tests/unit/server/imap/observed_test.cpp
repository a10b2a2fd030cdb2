// The 54 commands that two other servers were asked (conformance/hard-cases/imap-observed.jsonl), put to ours in the
// same order on a mailbox like theirs. Where the two agree ours must say the same; where they do not, or where ours
// means to say something else, a row below says what is right and why. tests/transcripts/imap/observed.txt has our
// answers in full.
//
// Answers are compared by what they say: literals, quoted strings and NIL where one stands for the other, letters in
// one case, no texts for people, no numbers that only a server can choose.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "protocols/base/ascii.h"
#include "tests/support/imap_client.h"
#include "tests/support/imap_host.h"
#include "tests/support/json.h"
#include "tests/support/loop_runner.h"

namespace {

using namespace posthouse;

enum class Right {
    dovecot,  ///< what it said is right; the other differs
    cyrus,
    neither,  ///< `ours` is right
};

struct Difference {
    std::string_view command;
    Right right;
    std::string_view why;
    std::string_view ours = "";  ///< with `neither`, as normalise() gives it
};

constexpr auto kDifferences = std::to_array<Difference>({
    {"FETCH 0 UID", Right::dovecot, "RFC 3501 9 nz-number: zero is no message number (I06)"},
    {"FETCH 1:0 UID", Right::dovecot, "RFC 3501 9 nz-number: zero ends no range either"},
    {"FETCH 1:9 UID", Right::dovecot, "RFC 3501 6.4.8: only UIDs may be missing, a number must be there (I06)"},
    {"FETCH 7 UID", Right::dovecot, "RFC 3501 6.4.8: only UIDs may be missing, a number must be there"},
    {"FETCH 1 BODY.PEEK[]<0.0>", Right::cyrus, "RFC 3501 9 nz-number: a part of no octets is not asked for (I35)"},
    {"FETCH 1 BODY.PEEK[1.1]", Right::cyrus, "RFC 3501 6.4.5: what is not there is NIL, not empty (I34)"},
    {"FETCH 1 BODY.PEEK[2]", Right::cyrus, "RFC 3501 6.4.5: what is not there is NIL, not empty (I34)"},
    {"FETCH 4 (BODYSTRUCTURE BODY.PEEK[1])", Right::dovecot,
     "RFC 9051 body-type-mpart: what calls itself multipart is one, with one empty part (I38)"},
    {"STORE 1 +FLAGS ()", Right::neither,
     "RFC 3501 6.4.6: STORE without .SILENT tells the flags, also where nothing changed (the two say OK alone)",
     "* 1 FETCH (FLAGS (\\RECENT))|OK"},
    {"STORE 1 +FLAGS.SILENT (\\Seen)", Right::dovecot, "RFC 3501 6.4.6: .SILENT, so no FETCH without CONDSTORE (I24)"},
    {"SEARCH CHARSET X-UNKNOWN TEXT x", Right::neither,
     "RFC 3501 6.4.4: NO [BADCHARSET] as Dovecot (I31), with the list that RFC 3501 7.1 allows",
     "NO [BADCHARSET (US-ASCII UTF-8)]"},
    {"CREATE hcx/a//b", Right::dovecot, "an empty level has no name that a client could list or delete (I17)"},
    {"CREATE INBOX", Right::cyrus, "RFC 3501 6.3.3: it is an error to create INBOX"},
    {"LIST \"\" inbox", Right::dovecot, "RFC 3501 5.1: INBOX in any case (I23)"},
    {"COPY 9 hc", Right::dovecot, "RFC 3501 6.4.8: only UIDs may be missing, a number must be there"},
    {"ENABLE XFOO", Right::neither,
     "RFC 5161 3.2: an untagged ENABLED comes with every ENABLE, if empty (the two leave it out; I49)", "* ENABLED|OK"},
    {"ENABLE UTF8=ACCEPT", Right::neither, "RFC 9755 3: it is offered here, which neither of the two does (I49)",
     "* ENABLED UTF8=ACCEPT|OK"},
    {"NOOP \"a\\x\"", Right::cyrus, "RFC 3501 9: NOOP takes no arguments, nor is \\x an escape"},
    {"APPEND hc \" 1-Jan-2026 00:00:00 +0000\" {27+}\r\nSubject: x\r\n\r\nbare\nlf\r\nz\r\n", Right::dovecot,
     "RFC 9051 6.3.12: a bare LF becomes CRLF, so that no mail is lost for it (I14)"},
    {"APPEND hc {17+}\r\nSubject: x\r\n\r\na\\x00b", Right::cyrus,
     "RFC 3501 4.3: no NUL in a literal; who means it sends literal8 (I13)"},
});

// What a string holds; of a long one its length, as the record has it.
std::string held(std::string_view octets) {
    constexpr std::size_t kShownMax = 60;
    return octets.size() > kShownMax ? fmt::format("<{} octets>", octets.size()) : fmt::format("<{}>", octets);
}

// A token: what a literal or quoted string holds, or a word as it is.
std::string take_token(Cursor& in) {
    const Cursor begin = in;
    if (in.take('{')) {
        const std::uint64_t octets = ascii::parse_number(in.take_while(ascii::is_digit)).value_or(0);
        if (in.take("} ...")) return fmt::format("<{} octets>", octets);
        if (in.take("}\r\n")) return held(in.take_octets(static_cast<std::size_t>(octets)));
        in = begin;
    }
    if (in.take('"')) {
        std::string out;
        while (!in.at_end() && !in.take('"')) {
            static_cast<void>(in.take('\\'));
            out += in.take_octets(1);
        }
        return held(out);
    }
    const std::string_view word = in.take_while([](char c) { return c != '"' && c != '{'; });
    return std::string(word.empty() ? in.take_octets(1) : word);
}

std::string tokens_of(std::string_view text) {
    std::string out;
    for (Cursor in(text); !in.at_end();) out += take_token(in);
    return ascii::to_upper(out);
}

// "[CODE arguments]" of a status response, without what RFC 5530 and RFC 8474 leave to each server, and without numbers
// that only it can choose; the text behind it is for people.
std::string normalise_status(std::string_view text) {
    Cursor in(text);
    std::string out(in.take_until(' '));
    in.take(' ');
    if (!in.take('[')) return out;
    const std::string code(in.take_until(']'));
    const std::string name = code.substr(0, code.find(' '));
    static const std::set<std::string, std::less<>> kHints = {"CANNOT", "ALREADYEXISTS", "NONEXISTENT", "MAILBOXID",
                                                              "UNKNOWN-CTE"};
    static const std::set<std::string, std::less<>> kChosen = {"HIGHESTMODSEQ", "APPENDUID"};
    if (kHints.contains(name)) return out;
    return fmt::format("{} [{}]", out, kChosen.contains(name) ? name : code);
}

std::string normalise(std::string_view line) {
    for (const std::string_view status : {"OK", "NO", "BAD"}) {
        if (line.starts_with(status)) return normalise_status(line);
        if (line.starts_with(fmt::format("* {}", status))) return "* " + normalise_status(line.substr(2));
    }
    std::string out = tokens_of(line);
    // The tag of the search is the client's choice.
    const std::size_t tag = out.find("(TAG <");
    if (tag != std::string::npos) out.erase(tag, out.find(')', tag) + 1 - tag);
    return out;
}

std::string joined(const std::vector<std::string>& lines) {
    std::string out;
    for (const std::string& line : lines) {
        if (!out.empty()) out += '|';
        out += normalise(line);
    }
    return out;
}

// Our answer as the record has theirs: a response an element, literals within it, the tag left out.
std::vector<std::string> responses_of(std::string_view answer) {
    std::vector<std::string> out;
    for (Cursor in(answer); !in.at_end();) {
        std::string one;
        for (;;) {
            const std::string_view line = in.take_until('\n');
            in.take('\n');
            one += line.substr(0, line.size() - 1);  // its CR
            const auto mark = imap::literal_at_end(one);
            if (!mark) break;
            one += "\r\n";
            one += in.take_octets(static_cast<std::size_t>(mark->octets));
        }
        out.push_back(one.starts_with("t ") ? one.substr(2) : one);
    }
    return out;
}

std::vector<std::string> lines_of(const test::Json& list) {
    std::vector<std::string> out;
    for (const test::Json& item : list.items) out.push_back(item.text);
    return out;
}

// Messages whose sizes and addresses give the answers of the record: a header of 119 octets first.
std::array<std::string, 4> mailbox() {
    std::string first = "From: alice@a.test\r\nTo: bob@b.test\r\nSubject: hi\r\nMessage-ID: <1@a.test>\r\nX-Fill: ";
    constexpr std::size_t kHeaderOctets = 119;
    first += std::string(kHeaderOctets - 4 - first.size(), 'x') + "\r\n\r\n";
    return {
        first + "body\r\n",
        "From: a@a.test\r\nSubject: two\r\n\r\nbody\r\n",
        "From: a@a.test\r\nSubject: three\r\n\r\nbody\r\n",
        "From: a@a.test\r\nSubject: mp\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\nno "
        "parts at all\r\n",
    };
}

struct Observed {
    std::string command;
    std::string dovecot;
    std::string cyrus;
    std::string ours;
};

// The octets of a literal are counted anew: one command's record is one off.
std::string to_send(const std::string& command) {
    const std::size_t end = command.find("\r\n");
    if (end == std::string::npos) return "t " + command;
    const std::string octets = command.substr(end + 2);
    return fmt::format("t {}{{{}+}}\r\n{}", command.substr(0, command.rfind('{', end)), octets.size(), octets);
}

net::Task<void> ask_all(test::ImapClient& client, std::vector<Observed>& all) {
    static_cast<void>(co_await client.ask("t LOGIN alice@a.test secret"));
    static_cast<void>(co_await client.ask("t SELECT hc"));
    for (Observed& one : all) {
        const auto answer = co_await client.ask(to_send(one.command));
        if (!answer) co_return;
        one.ours = joined(responses_of(*answer));
    }
    static_cast<void>(co_await client.ask("t LOGOUT"));
}

std::vector<Observed> load(const std::string& root) {
    std::vector<Observed> out;
    const std::string text = test::read_whole_file(root + "/hard-cases/imap-observed.jsonl");
    for (Cursor lines(text); !lines.at_end(); lines.take('\n')) {
        const auto line = test::parse_json(lines.take_until('\n'));
        REQUIRE(static_cast<bool>(line));
        out.push_back({(*line)["command"].text, joined(lines_of((*line)["dovecot"])),
                       joined(lines_of((*line)["cyrus"])), ""});
    }
    return out;
}

std::string_view shown(const std::string& command) { return std::string_view(command).substr(0, command.find('\r')); }

// A row is stale where ours does not differ from whom it says is wrong.
void judge(const Observed& one, const Difference* row) {
    CAPTURE(shown(one.command));
    CAPTURE(one.ours);
    CAPTURE(one.dovecot);
    CAPTURE(one.cyrus);
    if (row == nullptr) {
        CHECK(one.dovecot == one.cyrus);
        CHECK(one.ours == one.dovecot);
        return;
    }
    CAPTURE(row->why);
    switch (row->right) {
        case Right::dovecot:
            CHECK(one.ours == one.dovecot);
            CHECK(one.ours != one.cyrus);
            break;
        case Right::cyrus:
            CHECK(one.ours == one.cyrus);
            CHECK(one.ours != one.dovecot);
            break;
        case Right::neither:
            CHECK(one.ours == row->ours);
            CHECK(one.ours != one.dovecot);
            CHECK(one.ours != one.cyrus);
            break;
    }
}

// NUL is "\x00" in the table: what a string_view of a literal would end at.
std::string key_of(const std::string& command) {
    std::string out = command;
    for (std::size_t at = out.find('\0'); at != std::string::npos; at = out.find('\0')) out.replace(at, 1, "\\x00");
    return out;
}

}  // namespace

TEST_CASE("hard cases: the 54 commands that two other servers were asked, answered as is right") {
    const std::string root = test::conformance_folder();
    if (root.empty()) {
        MESSAGE("skipped: no conformance data");
        return;
    }
    std::vector<Observed> all = load(root);
    REQUIRE(all.size() == 54);
    net::Loop loop;
    {
        test::ImapHost host(loop);
        const auto account = host.add_account("alice@a.test", "secret");
        for (const std::string& message : mailbox()) test::must(host.deliver(account, "hc", message));
        const net::Endpoint here(*net::IpAddress::parse("127.0.0.1"), 143);
        auto pair = net::make_memory_pair(loop, here, here);
        net::TaskGroup group(loop);
        group.spawn("imap", server::imap::serve_connection(std::move(pair.first), host.deps));
        test::ImapClient client(std::move(pair.second));
        test::run_task(loop, ask_all(client, all));
        client.close();
        while (group.size() > 0) loop.poll();
    }
    std::set<std::string, std::less<>> used;
    for (const Observed& one : all) {
        const std::string key = key_of(one.command);
        const auto row = std::ranges::find(kDifferences, key, &Difference::command);
        if (row != kDifferences.end()) used.insert(key);
        judge(one, row == kDifferences.end() ? nullptr : &*row);
    }
    CHECK(used.size() == kDifferences.size());
}
