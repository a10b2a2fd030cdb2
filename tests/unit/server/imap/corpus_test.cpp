// Every message of the conformance corpora goes in by APPEND and comes back by FETCH: octets, sizes, ENVELOPE,
// BODYSTRUCTURE, header, text and parts; firm answers of two other servers are compared where they exist.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>

#include "protocols/mime/body_text.h"
#include "protocols/mime/envelope.h"
#include "protocols/mime/structure.h"
#include "tests/support/imap_client.h"
#include "tests/support/imap_host.h"
#include "tests/support/json.h"
#include "tests/support/loop_runner.h"

namespace {

using namespace posthouse;

using Client = test::ImapClient;

std::string crlf(const std::string& bytes) {
    std::string out;
    for (std::size_t i = 0; i < bytes.size(); ++i) {
        if (bytes[i] == '\n' && (i == 0 || bytes[i - 1] != '\r')) out += '\r';
        out += bytes[i];
    }
    return out;
}

std::string literal(std::string_view octets) { return fmt::format("{{{}}}\r\n{}", octets.size(), octets); }

std::string octets_and_hash(std::string_view octets) {
    const auto digest = crypto::sha256(octets);
    return fmt::format("[{}, \"{}\"]", octets.size(), crypto::hex(digest).substr(0, 16));
}

void collect_parts(const mime::Part& part, std::string prefix, std::vector<std::string>& out) {
    if (part.is_multipart() || part.is_message_rfc822) {
        const mime::Part& holder = part.is_message_rfc822 && !part.children.empty() ? part.children.front() : part;
        if (!holder.is_multipart()) {
            if (part.is_message_rfc822) out.push_back(prefix.empty() ? "1" : prefix + ".1");
            return;
        }
        for (std::size_t i = 0; i < holder.children.size(); ++i) {
            const std::string name = (prefix.empty() ? "" : prefix + ".") + std::to_string(i + 1);
            out.push_back(name);
            if (out.size() < 40) collect_parts(holder.children[i], name, out);
        }
        return;
    }
    if (prefix.empty()) out.push_back("1");
}

std::string body_of(const mime::Structure& structure, mime::Extension extension) {
    std::string out;
    REQUIRE(mime::append_imap_body(out, mime::encode_structure(structure), extension));
    return out;
}

std::string expected_fetch(std::uint32_t uid, const std::string& message, const mime::Structure& structure) {
    const std::span<const std::uint32_t> root;
    const auto header = mime::find_section(structure, root, mime::SectionKind::header);
    const auto text = mime::find_section(structure, root, mime::SectionKind::text);
    const auto slice = [&](const std::optional<mime::Extent>& at) {
        return at ? std::string_view(message).substr(at->offset, at->octets) : std::string_view();
    };
    std::string out = fmt::format(
        "* {} FETCH (UID {} RFC822.SIZE {} ENVELOPE {} BODYSTRUCTURE {} BODY {} BODY[HEADER] {} BODY[TEXT] {} BODY[] "
        "{}",
        uid, uid, message.size(), mime::format_imap_envelope(mime::envelope_from(mime::parse_fields(message))),
        body_of(structure, mime::Extension::with),
        body_of(structure, mime::Extension::without), literal(slice(header)), literal(slice(text)),
        literal(message));
    std::vector<std::string> parts;
    collect_parts(structure.root, "", parts);
    for (const std::string& name : parts) {
        std::vector<std::uint32_t> path;
        for (Cursor in(name); !in.at_end(); in.take('.')) {
            path.push_back(static_cast<std::uint32_t>(*ascii::parse_number(in.take_until('.'))));
        }
        for (const auto kind : {mime::SectionKind::body, mime::SectionKind::mime}) {
            const auto at = mime::find_section(structure, path, kind);
            out += fmt::format(" BODY[{}{}] {}", name, kind == mime::SectionKind::mime ? ".MIME" : "",
                               at ? literal(slice(at)) : "NIL");
        }
    }
    return out + ")\r\nt OK Fetch completed\r\n";
}

std::string fetch_command(std::uint32_t uid, const mime::Structure& structure) {
    std::string out = fmt::format(
        "t UID FETCH {} (RFC822.SIZE ENVELOPE BODYSTRUCTURE BODY BODY.PEEK[HEADER] "
        "BODY.PEEK[TEXT] BODY.PEEK[]",
        uid);
    std::vector<std::string> parts;
    collect_parts(structure.root, "", parts);
    for (const std::string& name : parts) out += fmt::format(" BODY.PEEK[{}] BODY.PEEK[{}.MIME]", name, name);
    return out + ")";
}

struct Subject {
    std::string name;
    std::string message;
};

std::vector<Subject> load_corpus(const std::string& root) {
    std::vector<Subject> out;
    for (const char* corpus : {"mime-mime4j", "mime-stalwart", "mime-ruby-mail"}) {
        for (const auto& file : std::filesystem::recursive_directory_iterator(fmt::format("{}/{}", root, corpus))) {
            const auto extension = file.path().extension();
            if (extension != ".msg" && extension != ".eml") continue;
            const auto folder = std::filesystem::path(root) / corpus;
            out.push_back(
                {std::filesystem::relative(file.path(), folder).string(), test::read_whole_file(file.path().string())});
        }
    }
    std::sort(out.begin(), out.end(), [](const Subject& a, const Subject& b) { return a.name < b.name; });
    return out;
}

/// Firm answers, by file.
std::map<std::string, test::Json> load_golden(const std::string& root) {
    std::map<std::string, test::Json> out;
    const std::string golden = test::read_whole_file(root + "/imap-fetch-golden/golden.jsonl");
    for (Cursor lines(golden); !lines.at_end(); lines.take('\n')) {
        const auto line = test::parse_json(lines.take_until('\n'));
        if (line) out.emplace((*line)["file"].text, *line);
    }
    return out;
}

struct Tally {
    int kept = 0, refused = 0, wrong = 0, firm = 0, firm_failed = 0;
};

void compare_firm(const test::Json& line, const std::string& message, Tally& tally) {
    if (const test::Json* size = line.find("rfc822_size")) {
        ++tally.firm;
        if (static_cast<std::size_t>(size->integer()) != message.size()) ++tally.firm_failed;
    }
    const std::size_t header = mime::find_header_end(message);
    const auto check = [&](const char* field, std::string_view octets) {
        const test::Json* firm = line.find(field);
        if (firm == nullptr) return;
        ++tally.firm;
        if (firm->dump() == octets_and_hash(octets)) return;
        ++tally.firm_failed;
        MESSAGE(line["file"].text << " " << field << " " << firm->dump() << " " << octets_and_hash(octets));
    };
    check("header", std::string_view(message).substr(0, header));
    check("text", std::string_view(message).substr(header));
}

net::Task<void> run_corpus(Client& client, const std::vector<Subject>& corpus,
                           const std::map<std::string, test::Json>& golden, Tally& tally) {
    static_cast<void>(co_await client.ask("t LOGIN alice@a.test secret"));
    static_cast<void>(co_await client.ask("t SELECT INBOX"));
    std::uint32_t uid = 0;
    for (const Subject& subject : corpus) {
        std::string append = fmt::format("t APPEND INBOX {{{}+}}\r\n", subject.message.size());
        append += subject.message;
        const auto appended = co_await client.ask(std::move(append));
        if (!appended) {
            ++tally.wrong;
            co_return;
        }
        if (appended->find("t OK [APPENDUID") == std::string::npos) {
            ++tally.refused;
            MESSAGE(subject.name << ": " << *appended);
            continue;
        }
        ++uid;
        ++tally.kept;
        const std::string message = crlf(subject.message);
        const mime::Structure structure = mime::parse_structure(message);
        const auto got = co_await client.ask(fetch_command(uid, structure));
        const std::string wanted = expected_fetch(uid, message, structure);
        if (!got || *got != wanted) {
            ++tally.wrong;
            MESSAGE(subject.name << "\n"
                                 << (got ? got->substr(0, 3000) : got.error().context) << "\nwanted\n"
                                 << wanted.substr(0, 3000));
        }
        const auto line = golden.find(subject.name);
        if (line != golden.end()) compare_firm(line->second, message, tally);
    }
    static_cast<void>(co_await client.ask("t LOGOUT"));
}

}  // namespace

TEST_CASE("what APPEND takes FETCH gives back, for every message of the corpora") {
    const std::string root = test::conformance_folder();
    if (root.empty()) {
        MESSAGE("skipped: no conformance data");
        return;
    }
    const auto corpus = load_corpus(root);
    const auto golden = load_golden(root);
    net::Loop loop;
    Tally tally;
    {
        test::ImapHost host(loop);
        host.add_account("alice@a.test", "secret");
        const net::Endpoint here(*net::IpAddress::parse("127.0.0.1"), 143);
        auto pair = net::make_memory_pair(loop, here, here);
        net::TaskGroup group(loop);
        group.spawn("imap", server::imap::serve_connection(std::move(pair.first), host.deps));
        Client client(std::move(pair.second));
        test::run_task(loop, run_corpus(client, corpus, golden, tally));
        client.close();
        while (group.size() > 0) loop.poll();
    }
    MESSAGE(tally.kept << " messages kept, " << tally.refused << " refused, " << tally.wrong << " came back wrong; "
                       << tally.firm << " firm answers, " << tally.firm_failed << " differ");
    CHECK(tally.kept > 100);
    CHECK(tally.wrong == 0);
    CHECK(tally.firm_failed == 0);
}
