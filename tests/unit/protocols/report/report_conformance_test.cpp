// Complaints and DMARC aggregate reports of conformance/reports-stalwart against the values that stand beside them.
#include <doctest/doctest.h>

#include <filesystem>

#include "protocols/base/ascii.h"
#include "protocols/report/dmarc_report.h"
#include "protocols/report/report.h"
#include "tests/support/json.h"

using namespace posthouse;
using namespace posthouse::report;

namespace {

// "TrustedForwarder", "PermError", "MailFrom" and the words of the wire.
std::string plain(std::string_view word) {
    std::string out;
    for (const char c : word) {
        if (c != '_' && c != '-') out.push_back(ascii::lower(c));
    }
    if (out == "unspecified") return {};
    return out == "mfrom" ? "mailfrom" : out;
}

void check_results(const std::vector<DmarcResult>& found, const test::Json& wanted) {
    REQUIRE(found.size() == wanted.items.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
        CHECK(found[i].domain == ascii::to_lower(wanted[i]["domain"].text));
        CHECK(found[i].selector == wanted[i]["selector"].text);
        CHECK(plain(found[i].result) == plain(wanted[i]["result"].text));
        CHECK(plain(found[i].scope) == plain(wanted[i]["scope"].text));
        CHECK(found[i].human == wanted[i]["human_result"].text);
    }
}

void check_record(const DmarcRecord& found, const test::Json& wanted) {
    CHECK(found.source_ip == wanted["row"]["source_ip"].text);
    CHECK(found.count == static_cast<std::uint64_t>(wanted["row"]["count"].integer()));
    const test::Json& policy = wanted["row"]["policy_evaluated"];
    CHECK(plain(found.disposition) == plain(policy["disposition"].text));
    CHECK(plain(found.dkim) == plain(policy["dkim"].text));
    CHECK(plain(found.spf) == plain(policy["spf"].text));
    REQUIRE(found.reasons.size() == policy["reason"].items.size());
    for (std::size_t i = 0; i < found.reasons.size(); ++i) {
        CHECK(plain(found.reasons[i].type) == plain(policy["reason"][i]["type_"].text));
        CHECK(found.reasons[i].comment == policy["reason"][i]["comment"].text);
    }
    CHECK(found.header_from == wanted["identifiers"]["header_from"].text);
    CHECK(found.envelope_from == wanted["identifiers"]["envelope_from"].text);
    CHECK(found.envelope_to == wanted["identifiers"]["envelope_to"].text);
    check_results(found.dkim_results, wanted["auth_results"]["dkim"]);
    check_results(found.spf_results, wanted["auth_results"]["spf"]);
}

std::vector<std::string> texts(const test::Json& list) {
    std::vector<std::string> out;
    for (const test::Json& one : list.items) out.push_back(one.text);
    return out;
}

std::string in_brackets(const std::string& address) { return address.empty() ? address : "<" + address + ">"; }

std::vector<std::filesystem::path> cases(const std::string& folder) {
    std::vector<std::filesystem::path> out;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (entry.path().extension() != ".json") out.push_back(entry.path());
    }
    return out;
}

}  // namespace

TEST_CASE("DMARC aggregate reports: bare, in gzip and in zip") {
    const std::string folder = test::conformance_folder();
    if (folder.empty()) {
        MESSAGE("skipped: no conformance data");
        return;
    }
    std::size_t seen = 0;
    for (const auto& path : cases(folder + "/reports-stalwart/dmarc-feedback")) {
        CAPTURE(path.filename().string());
        const auto read = read_dmarc_report(test::read_whole_file(path.string()));
        REQUIRE_MESSAGE(read.has_value(), (read ? "" : read.error().context));
        const auto wanted =
            test::parse_json(test::read_whole_file(std::filesystem::path(path).replace_extension(".json").string()))
                .value();
        ++seen;
        const test::Json& about = wanted["report_metadata"];
        CHECK(read->organization == about["org_name"].text);
        CHECK(read->email == about["email"].text);
        CHECK(read->contact == about["extra_contact_info"].text);
        CHECK(read->id == about["report_id"].text);
        CHECK(read->begin == about["date_range"]["begin"].integer());
        CHECK(read->end == about["date_range"]["end"].integer());
        CHECK(read->errors == texts(about["error"]));
        CHECK(read->domain == wanted["policy_published"]["domain"].text);
        CHECK(plain(read->policy) == plain(wanted["policy_published"]["p"].text));
        CHECK(plain(read->subdomain_policy) == plain(wanted["policy_published"]["sp"].text));
        CHECK(read->fo == wanted["policy_published"]["fo"].text);
        CHECK((read->testing == "y") == wanted["policy_published"]["testing"].boolean);
        REQUIRE(read->records.size() == wanted["record"].items.size());
        for (std::size_t i = 0; i < read->records.size(); ++i) check_record(read->records[i], wanted["record"][i]);
    }
    CHECK(seen == 6);
}

TEST_CASE("complaints") {
    const std::string folder = test::conformance_folder();
    if (folder.empty()) {
        MESSAGE("skipped: no conformance data");
        return;
    }
    std::size_t seen = 0;
    for (const auto& path : cases(folder + "/reports-stalwart/arf")) {
        CAPTURE(path.filename().string());
        const auto read = read_complaint(test::read_whole_file(path.string()));
        REQUIRE(read.has_value());
        const auto wanted =
            test::parse_json(test::read_whole_file(std::filesystem::path(path).replace_extension(".json").string()))
                .value();
        ++seen;
        CHECK(plain(to_string(read->type)) == plain(wanted["feedback_type"].text));
        CHECK(read->user_agent == wanted["user_agent"].text);
        CHECK(read->incidents == static_cast<std::uint64_t>(wanted["incidents"].integer()));
        CHECK(read->envelope_id == wanted["original_envelope_id"].text);
        CHECK(in_brackets(read->mail_from) == wanted["original_mail_from"].text);
        CHECK(in_brackets(read->recipients.empty() ? "" : read->recipients.front()) == wanted["original_rcpt_to"].text);
        CHECK(read->reported_domains == texts(wanted["reported_domain"]));
        CHECK(read->reported_uris == texts(wanted["reported_uri"]));
        CHECK(read->reporting_mta == wanted["reporting_mta"].text);
        CHECK(read->source_ip == wanted["source_ip"].text);
        CHECK(plain(read->auth_failure) == plain(wanted["auth_failure"].text));
        CHECK(read->dkim_domain == wanted["dkim_domain"].text);
        CHECK(read->authentication_results.size() == wanted["authentication_results"].items.size());
    }
    CHECK(seen == 3);
}
