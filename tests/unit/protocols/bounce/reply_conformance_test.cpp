// Replies as they stand in 316 real bounces (conformance/dsn-sisimai): is the address dead?
#include <doctest/doctest.h>

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/bounce/reply_class.h"
#include "tests/support/json.h"

using namespace posthouse;
using namespace posthouse::bounce;

namespace {

// The values of all fields of this name in a delivery report, unfolded.
std::vector<std::string> fields(std::string_view mail, std::string_view name) {
    std::vector<std::string> out;
    bool inside = false;
    while (!mail.empty()) {
        const std::size_t end = std::min(mail.find('\n'), mail.size());
        const std::string_view line = mail.substr(0, end);
        mail.remove_prefix(std::min(end + 1, mail.size()));
        if (inside && !line.empty() && ascii::is_space(line.front())) {
            out.back() += " " + std::string(ascii::trim(line));
            continue;
        }
        inside = ascii::starts_with_ci(line, name);
        if (inside) out.emplace_back(ascii::trim(line.substr(name.size())));
    }
    return out;
}

}  // namespace

TEST_CASE("Diagnostic-Code fields of real bounces: dead addresses are told from all others") {
    const std::string folder = test::conformance_folder();
    if (folder.empty()) {
        MESSAGE("skipped: no conformance data");
        return;
    }
    std::size_t seen = 0;
    std::size_t right = 0;
    const std::string all = test::read_whole_file(folder + "/dsn-sisimai/expected.jsonl");
    for (std::string_view rest = all; !rest.empty();) {
        const std::size_t end = std::min(rest.find('\n'), rest.size());
        const auto row = test::parse_json(rest.substr(0, end));
        rest.remove_prefix(std::min(end + 1, rest.size()));
        if (!row || (*row)["recipients"].items.size() != 1) continue;
        const std::string mail = test::read_whole_file(folder + "/dsn-sisimai/mail/" + (*row)["file"].text);
        const auto said = fields(mail, "Diagnostic-Code:");
        if (said.size() != 1) continue;
        std::string_view text = said.front();
        if (const std::size_t semicolon = text.find(';'); semicolon < 8) text = ascii::trim(text.substr(semicolon + 1));
        ReplyFacts facts;
        if (text.size() > 3) facts.code = static_cast<unsigned>(ascii::parse_number(text.substr(0, 3)).value_or(0));
        if (facts.code < 400) continue;  // no reply of a server
        facts.text = text.substr(3);
        const std::string status = fields(mail, "Status:").empty() ? "" : fields(mail, "Status:").front();
        const Classification found = classify(facts);
        const auto& wanted = (*row)["recipients"].items.front();
        ++seen;
        const bool good = is_dead_address(found) == wanted["hard"].boolean;
        if (good) ++right;
        if (!good) {
            MESSAGE(fmt::format("{}: {} ({}) by rule {}, wanted {}: {}", (*row)["file"].text, to_string(found.what),
                                is_dead_address(found) ? "dead" : "not dead", found.rule, wanted["reason"].text, text));
        }
    }
    MESSAGE(fmt::format("{} of {} replies", right, seen));
    CHECK(seen > 90);
    // What is missed: "unknown user" as the answer to DATA, which the words alone do not show.
    CHECK(right * 100 >= seen * 88);
}
