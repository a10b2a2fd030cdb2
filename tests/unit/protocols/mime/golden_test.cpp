// What two IMAP servers answer for 118 messages, against what we answer (conformance/imap-fetch-golden).
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"
#include "protocols/crypto/crypto.h"
#include "protocols/mime/body_text.h"
#include "protocols/mime/build.h"
#include "protocols/mime/envelope.h"
#include "protocols/mime/structure.h"
#include "protocols/mime/text.h"
#include "tests/support/json.h"

namespace {

using namespace posthouse;
using test::Json;

/// Reads the IMAP text that we would send (RFC 3501 9: nstring, literal, number, list).
class ImapReader {
 public:
    explicit ImapReader(std::string_view text) : in_(text) {}
    bool at_end() const { return in_.at_end(); }

    Json take() {
        in_.take(' ');
        if (in_.take('(')) {
            Json list = Json::array();
            while (!in_.at_end() && !in_.take(')')) list.items.push_back(take());
            return list;
        }
        if (in_.take('"')) return Json::of(take_quoted());
        if (in_.take('{')) {
            const auto octets = ascii::parse_number(in_.take_until('}'));
            REQUIRE(octets.has_value());
            REQUIRE(in_.take("}\r\n"));
            return Json::of(std::string(in_.take_octets(static_cast<std::size_t>(*octets))));
        }
        if (in_.take("NIL")) return Json();
        const auto digits = in_.take_while(ascii::is_digit);
        REQUIRE_FALSE(digits.empty());
        return Json::of(static_cast<double>(*ascii::parse_number(digits)));
    }

 private:
    std::string take_quoted() {
        std::string out;
        while (!in_.at_end() && !in_.take('"')) {
            in_.take('\\');
            out += in_.take_octets(1);
        }
        return out;
    }
    Cursor in_;
};

std::string latin1_to_utf8(std::string_view text) {
    std::string out;
    for (const char c : text) {
        const auto octet = static_cast<unsigned char>(c);
        if (octet < 0x80) {
            out.push_back(c);
        } else {
            out.push_back(static_cast<char>(0xc0U | (octet >> 6U)));
            out.push_back(static_cast<char>(0x80U | (octet & 0x3fU)));
        }
    }
    return out;
}

Json as_utf8(const Json& value) {
    return value.is_string() && !ascii::is_valid_utf8(value.text) ? Json::of(latin1_to_utf8(value.text)) : value;
}

/// As the golden file writes text: UTF-8, runs of white space made one blank.
Json shown(const Json& value) {
    if (!value.is_string()) return value;
    std::string out;
    for (const char c : as_utf8(value).text) {
        const bool blank = c == ' ' || c == '\t' || c == '\r' || c == '\n';
        if (!blank || !out.ends_with(' ')) out.push_back(blank ? ' ' : c);
    }
    return Json::of(std::move(out));
}

Json upper(const Json& value) { return value.is_string() ? Json::of(ascii::to_upper(value.text)) : value; }

Json shown_envelope(const Json& envelope) {
    Json out = Json::array();
    for (const Json& item : envelope.items) {
        if (!item.is_array()) {
            out.items.push_back(shown(item));
            continue;
        }
        Json list = Json::array();
        for (const Json& address : item.items) {
            Json four = Json::array();
            for (const Json& text : address.items) four.items.push_back(shown(text));
            if (four[3].is_string() && four[3].text.empty()) four.items[3] = Json::of("*missing-domain*");
            list.items.push_back(std::move(four));
        }
        out.items.push_back(std::move(list));
    }
    return out;
}

Json shown_params(const Json& params) {
    if (!params.is_array()) return Json();
    std::vector<std::pair<std::string, Json>> sorted;
    for (std::size_t i = 0; i + 1 < params.items.size(); i += 2) {
        std::string name = ascii::to_upper(params[i].text);
        if (name == "CHARSET" && ascii::equals_ci(params[i + 1].text, "us-ascii")) continue;
        sorted.emplace_back(std::move(name), as_utf8(params[i + 1]));
    }
    if (sorted.empty()) return Json();
    std::sort(sorted.begin(), sorted.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    Json out = Json::array();
    for (auto& [name, value] : sorted) {
        out.items.push_back(Json::of(std::move(name)));
        out.items.push_back(std::move(value));
    }
    return out;
}

Json shown_body(const Json& body) {
    Json out = Json::array();
    std::size_t at = 0;
    if (body[0].is_array()) {
        while (body[at].is_array()) out.items.push_back(shown_body(body[at++]));
        out.items.push_back(upper(body[at]));
        out.items.push_back(shown_params(body[at + 1]));
        return out;
    }
    out.items = {upper(body[0]), upper(body[1]), shown_params(body[2]), shown(body[3]), shown(body[4]),
                 upper(body[5]), body[6]};
    at = 7;
    if (body[0].text == "message" || body[7].is_array()) {
        if (body[7].is_array()) {
            out.items.push_back(shown_envelope(body[at++]));
            out.items.push_back(shown_body(body[at++]));
            out.items.push_back(body[at++]);
        }
    } else if (ascii::equals_ci(body[0].text, "text")) {
        out.items.push_back(body[at++]);
    }
    ++at;  // MD5
    Json disposition;
    if (body[at].is_array()) {
        disposition = Json::array();
        disposition.items = {upper(body[at][0]), shown_params(body[at][1])};
    }
    Json last;
    last.kind = Json::Kind::object;
    last.members.emplace_back("disposition", std::move(disposition));
    out.items.push_back(std::move(last));
    return out;
}

Json octets_and_hash(std::string_view octets) {
    const auto digest = crypto::sha256(octets);
    Json out = Json::array();
    out.items = {Json::of(static_cast<double>(octets.size())), Json::of(crypto::hex(digest).substr(0, 16))};
    return out;
}

std::vector<std::uint32_t> section_path(std::string_view text) {
    std::vector<std::uint32_t> path;
    Cursor in(text);
    while (!in.at_end()) {
        path.push_back(static_cast<std::uint32_t>(*ascii::parse_number(in.take_until('.'))));
        in.take('.');
    }
    return path;
}

class Subject {
 public:
    explicit Subject(std::string bytes) : bytes_(std::move(bytes)), structure_(mime::parse_structure(bytes_)) {}

    const mime::Structure& structure() const { return structure_; }
    std::string_view section(std::span<const std::uint32_t> path, mime::SectionKind kind) const {
        const auto extent = mime::find_section(structure_, path, kind);
        if (!extent) return {};
        return std::string_view(bytes_).substr(static_cast<std::size_t>(extent->offset),
                                               static_cast<std::size_t>(extent->octets));
    }
    Json answer(std::string_view field) const {
        if (field == "rfc822_size") return Json::of(static_cast<double>(structure_.size_octets));
        if (field == "header") return octets_and_hash(section({}, mime::SectionKind::header));
        if (field == "text") return octets_and_hash(section({}, mime::SectionKind::text));
        if (field == "envelope") {
            const std::string text = mime::format_imap_envelope(mime::envelope_from(mime::parse_fields(bytes_)));
            return shown_envelope(ImapReader(text).take());
        }
        mime_body_.clear();
        CHECK(mime::append_imap_body(mime_body_, mime::encode_structure(structure_), mime::Extension::with));
        ImapReader reader(mime_body_);
        Json body = reader.take();
        CHECK(reader.at_end());
        return shown_body(body);
    }
    /// The difference to one server's answer for all parts, or an empty text.
    std::string parts_difference(const Json& wanted) const {
        for (const auto& [name, part] : wanted.members) {
            const auto path = section_path(name);
            const mime::Part* found = mime::find_part(structure_, path);
            if (found == nullptr) return fmt::format("no part {}", name);
            const auto body = section(path, mime::SectionKind::body);
            if (octets_and_hash(body) != part["body"])
                return fmt::format("body of {}: {}", name, octets_and_hash(body).dump());
            const auto header = section(path, mime::SectionKind::mime);
            if (octets_and_hash(header) != part["mime"])
                return fmt::format("header of {}: {}", name, octets_and_hash(header).dump());
            if (part["binary"].is_string()) continue;  // a refusal: we decode what can be decoded
            const Json decoded = octets_and_hash(mime::decoded_body(bytes_, *found));
            if (decoded != part["binary"]) return fmt::format("binary of {}: {}", name, decoded.dump());
        }
        return {};
    }

 private:
    std::string bytes_;
    mime::Structure structure_;
    mutable std::string mime_body_;
};

/// Dovecot shows a placeholder for an absent mailbox; ours is an empty string, as Cyrus has it.
Json without_placeholders(Json value) {
    if (value.is_string() && value.text == "MISSING_MAILBOX") value.text.clear();
    for (Json& item : value.items) item = without_placeholders(std::move(item));
    return value;
}

std::string load_message(const std::string& root, const std::string& file) {
    for (const char* corpus : {"mime-mime4j", "mime-stalwart", "mime-ruby-mail"}) {
        const std::string path = fmt::format("{}/{}/{}", root, corpus, file);
        if (!std::filesystem::exists(path)) continue;
        // "Made CRLF": each bare LF became CRLF, a lone CR stayed.
        std::string out;
        const std::string bytes = test::read_whole_file(path);
        for (std::size_t i = 0; i < bytes.size(); ++i) {
            if (bytes[i] == '\n' && (i == 0 || bytes[i - 1] != '\r')) out.push_back('\r');
            out.push_back(bytes[i]);
        }
        return out;
    }
    return {};
}

constexpr const char* kFields[] = {"rfc822_size", "header", "text", "envelope", "bodystructure", "parts"};

/// Third answers: where the two servers differ and we agree with neither, and why.
const std::map<std::string, std::string> kReasons = {};

struct Tally {
    int firm = 0, firm_failed = 0, differ = 0, third = 0;
};

void check_field(const Subject& subject, const Json& line, const std::string& field, Tally& tally) {
    const std::string file = line["file"].text;
    const auto difference = [&](const Json& wanted) -> std::string {
        if (field == "parts") return subject.parts_difference(wanted);
        const Json ours = subject.answer(field);
        return without_placeholders(ours) == without_placeholders(wanted) ? std::string() : ours.dump();
    };
    if (const Json* firm = line.find(field)) {
        ++tally.firm;
        const std::string fault = difference(*firm);
        if (fault.empty()) return;
        ++tally.firm_failed;
        MESSAGE(file << " " << field << "\n  wanted " << firm->dump() << "\n  ours   " << fault);
        return;
    }
    const Json* differs = line.find(field + "_differs");
    if (differs == nullptr) return;
    ++tally.differ;
    for (const char* server : {"dovecot", "cyrus"})
        if (!(*differs)[server].is_null() && difference((*differs)[server]).empty()) return;
    ++tally.third;
    CAPTURE(file);
    CAPTURE(field);
    const bool explained = kReasons.contains(file + " " + field);
    CHECK(explained);
    if (!explained)
        MESSAGE("\n  dovecot " << (*differs)["dovecot"].dump() << "\n  cyrus   " << (*differs)["cyrus"].dump()
                               << "\n  ours    " << difference((*differs)["dovecot"]) << "\n          "
                               << difference((*differs)["cyrus"]));
}

}  // namespace

TEST_CASE("118 messages as two IMAP servers answer them") {
    const std::string root = test::conformance_folder();
    if (root.empty()) {
        MESSAGE("skipped: no conformance data");
        return;
    }
    std::map<std::string, Tally> tallies;
    int messages = 0;
    const std::string golden = test::read_whole_file(root + "/imap-fetch-golden/golden.jsonl");
    for (Cursor lines(golden); !lines.at_end(); lines.take('\n')) {
        const std::string_view text = lines.take_until('\n');
        if (text.empty()) continue;
        const auto line = test::parse_json(text);
        REQUIRE(line.has_value());
        const std::string bytes = load_message(root, (*line)["file"].text);
        REQUIRE_FALSE(bytes.empty());
        ++messages;
        const Subject subject(bytes);
        for (const char* field : kFields) check_field(subject, *line, field, tallies[field]);
        const auto decoded = mime::decode_structure(mime::encode_structure(subject.structure()));
        REQUIRE(decoded.has_value());
        CHECK(*decoded == subject.structure());
    }
    CHECK(messages == 118);
    for (const auto& [field, tally] : tallies) {
        MESSAGE(field << ": " << tally.firm << " firm, " << tally.firm_failed << " failed; " << tally.differ
                      << " where the servers differ, " << tally.third << " third answers");
        CHECK(tally.firm_failed == 0);
    }
}
