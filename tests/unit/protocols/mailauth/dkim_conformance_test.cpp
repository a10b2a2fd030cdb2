// DKIM cases from elsewhere: the examples of the RFCs, the cases of another server, and vectors with firm answers.
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <set>

#include "protocols/base/ascii.h"
#include "protocols/mailauth/dkim.h"
#include "tests/support/fake_resolver.h"
#include "tests/support/json.h"
#include "tests/support/loop_runner.h"

using namespace posthouse;
using namespace posthouse::mailauth;

namespace {

std::string with_crlf(std::string_view text) {
    std::string out;
    for (const char c : text) {
        if (c == '\n') out += '\r';
        out += c;
    }
    return out;
}

std::vector<std::string> verify(test::FakeResolver& resolver, const std::string& message, Time now) {
    net::Loop loop;
    std::vector<std::string> statuses;
    for (const DkimResult& result : test::run_task(loop, verify_dkim(resolver, message, now))) {
        INFO(result.reason);
        statuses.emplace_back(to_string(result.status));
    }
    return statuses;
}

bool skipped(const std::string& folder) {
    if (folder.empty()) MESSAGE("skipped: no conformance data");
    return folder.empty();
}

const Time kAnyTime = from_unix_ms(1'700'000'000'000);

// "name value" lines up to the first empty one; returns where the message starts.
std::size_t add_lines(test::FakeResolver& resolver, std::string_view text) {
    std::size_t at = 0;
    while (at < text.size() && text[at] != '\n') {
        const std::string_view line = text.substr(at, text.find('\n', at) - at);
        resolver.add_txt(line.substr(0, line.find(' ')), line.substr(line.find(' ') + 1));
        at += line.size() + 1;
    }
    return at + 1;
}

// "name: value", a backslash at the end of a line joins it with the next.
void add_zone(test::FakeResolver& resolver, const std::string& text) {
    std::string line;
    for (std::size_t at = 0; at < text.size();) {
        const std::size_t end = std::min(text.find('\n', at), text.size());
        line += text.substr(at, end - at);
        at = end + 1;
        if (line.ends_with('\\')) {
            line.pop_back();
            continue;
        }
        const std::size_t colon = line.find(':');
        if (colon != std::string::npos) {
            const std::string name = line.substr(0, colon);
            const std::string value(ascii::trim(std::string_view(line).substr(colon + 1)));
            if (value == "TEMPERROR") {
                resolver.set_failure(name, Errc::dns_temporary);
            } else if (value != "PERMERROR") {  // a permanent error is a name without records to us
                resolver.add_txt(name, value);
            }
        }
        line.clear();
    }
}

}  // namespace

TEST_CASE("the examples of RFC 6376 and RFC 8463") {
    const std::string folder = test::conformance_folder();
    if (skipped(folder)) return;
    for (const char* file : {"rfc6376-simple.txt", "rfc8463-relaxed.txt"}) {
        CAPTURE(file);
        const std::string text = test::read_whole_file(folder + "/dkim-rfc/" + file);
        test::FakeResolver resolver;
        const std::string message = with_crlf(text.substr(add_lines(resolver, text)));
        const auto statuses = verify(resolver, message, kAnyTime);
        REQUIRE_FALSE(statuses.empty());
        for (const std::string& status : statuses) CHECK(status == "pass");
    }
    test::FakeResolver resolver;
    add_lines(resolver, test::read_whole_file(folder + "/dkim-rfc/rfc8463-relaxed.txt"));
    const auto statuses =
        verify(resolver, with_crlf(test::read_whole_file(folder + "/dkim-rfc/rfc6376.signed.msg")), kAnyTime);
    CHECK(statuses == std::vector<std::string>{"pass", "pass"});
}

TEST_CASE("the file-driven cases of chasquid") {
    const std::string folder = test::conformance_folder();
    if (skipped(folder)) return;
    // 03 wants text without fields to be refused as a message; to us every octet string is one, here without signature.
    const char* cases[] = {"01-rfc8463",
                           "02-too_many_headers",
                           "04-bad_dkim_signature_header",
                           "05-dns_temp_error",
                           "06-dns_perm_error",
                           "07-algo_mismatch",
                           "08-our_signature",
                           "09-limited_body",
                           "10-strict_domain_check_pass",
                           "11-strict_domain_check_fail"};
    const std::map<std::string, std::string> groups = {
        {"SUCCESS", "pass"}, {"PERMFAIL", "permanent"}, {"TEMPFAIL", "temperror"}};
    for (const char* name : cases) {
        CAPTURE(name);
        const std::string base = folder + "/dkim-chasquid/" + name;
        test::FakeResolver resolver;
        // 04 refuses the signature before it asks for a key and has no zone.
        if (std::string_view(name).substr(0, 2) != "04") add_zone(resolver, test::read_whole_file(base + ".dns"));
        const auto wanted = test::parse_json(test::read_whole_file(base + ".result"));
        REQUIRE(wanted.has_value());
        const auto statuses = verify(resolver, with_crlf(test::read_whole_file(base + ".msg")), kAnyTime);
        const auto& results = (*wanted)["Results"].items;
        REQUIRE(statuses.size() == results.size());
        for (std::size_t i = 0; i < results.size(); ++i) {
            const std::string& status = statuses[i];
            const std::string group = status == "fail" || status == "permerror" ? "permanent" : status;
            CHECK(group == groups.at(results[i]["State"].text));
        }
    }
}

TEST_CASE("DKIM vectors: firm ones as they say, the others noted") {
    const std::string folder = test::conformance_folder();
    if (skipped(folder)) return;
    const auto vectors = test::parse_json(test::read_whole_file(folder + "/dkim-vectors/dkim-vectors.json"));
    REQUIRE(vectors.has_value());
    // Not firm, and decided otherwise: a verifier may stop at a limit, and ours is five signatures.
    const std::set<std::string> decided_otherwise = {"n-many"};
    for (const test::Json& vector : vectors->items) {
        const std::string id = vector["id"].text;
        CAPTURE(id);
        test::FakeResolver resolver;
        for (const auto& [name, strings] : vector["dns"].members) {
            std::string joined = strings.text;  // a string where it is an outcome
            for (const test::Json& part : strings.items) joined += part.text;
            if (joined == "!NXDOMAIN") continue;
            if (joined.starts_with("!")) {
                resolver.set_failure(name, Errc::dns_temporary);
            } else {
                resolver.add_txt(name, joined);
            }
        }
        const auto message = crypto::base64_decode(vector["message_b64"].text);
        REQUIRE(message.has_value());
        std::vector<std::string> wanted;
        for (const test::Json& status : vector["expected"].items) wanted.push_back(status.text);
        const auto statuses = verify(resolver, *message, from_unix_ms(vector["now"].integer() * 1000));
        if (decided_otherwise.contains(id)) continue;
        CHECK(statuses == wanted);
    }
}
