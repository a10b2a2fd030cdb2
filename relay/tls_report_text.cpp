// The text of a TLS report: JSON and the mail around it; see tls_reports.h.
#include <Poco/DeflatingStream.h>
#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <fmt/format.h>

#include <map>
#include <sstream>

#include "protocols/crypto/crypto.h"
#include "protocols/mime/build.h"
#include "protocols/mime/date.h"
#include "relay/tls_reports.h"

namespace posthouse::relay {

namespace {

using Poco::JSON::Array;
using Poco::JSON::Object;

constexpr std::size_t kBase64Line = 76;  // RFC 2045 6.8

std::vector<std::string> lines_of(std::string_view text) {
    std::vector<std::string> out;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        if (end > 0) out.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
}

Object::Ptr object() { return new Object(Poco::JSON_PRESERVE_KEY_ORDER); }

Array::Ptr array_of(const std::vector<std::string>& texts) {
    Array::Ptr out = new Array;
    for (const std::string& text : texts) out->add(text);
    return out;
}

Object::Ptr json_of(const policy::TlsFailure& failure) {
    Object::Ptr out = object();
    const auto set = [&](const char* name, const std::string& value) {
        if (!value.empty()) out->set(name, value);
    };
    out->set("result-type", failure.result);
    set("sending-mta-ip", failure.sending_ip);
    set("receiving-mx-hostname", failure.mx_host);
    set("receiving-ip", failure.receiving_ip);
    out->set("failed-session-count", failure.sessions);
    set("additional-information", failure.information);
    set("failure-reason-code", failure.reason);
    return out;
}

Object::Ptr json_of(const policy::TlsReportPolicy& one) {
    Object::Ptr about = object();
    about->set("policy-type", one.type);
    if (!one.strings.empty()) about->set("policy-string", array_of(one.strings));
    about->set("policy-domain", one.domain);
    if (!one.mx_hosts.empty()) about->set("mx-host", array_of(one.mx_hosts));
    Object::Ptr summary = object();
    summary->set("total-successful-session-count", one.successes);
    summary->set("total-failure-session-count", one.failures);
    Object::Ptr out = object();
    out->set("policy", about);
    out->set("summary", summary);
    if (!one.details.empty()) {
        Array::Ptr details = new Array;
        for (const policy::TlsFailure& failure : one.details) details->add(json_of(failure));
        out->set("failure-details", details);
    }
    return out;
}

// RFC 8460 4.4: seconds are enough.
std::string moment(Time at) { return format_rfc3339(at).substr(0, 19) + "Z"; }

std::string base64_lines(std::string_view octets) {
    const std::string text = crypto::base64_encode(octets);
    std::string out;
    for (std::size_t at = 0; at < text.size(); at += kBase64Line) out += text.substr(at, kBase64Line) + "\r\n";
    return out;
}

}  // namespace

policy::TlsReport build_tls_report(std::span<const storage::TlsSessions> rows, const TlsReporter& reporter) {
    policy::TlsReport out;
    out.organization = reporter.organization;
    out.contact = reporter.contact;
    if (rows.empty()) return out;
    const std::int64_t day = rows.front().day;
    out.start = moment(storage::start_of_day(day));
    out.end = moment(storage::start_of_day(day + 1) - Milliseconds(1'000));
    out.id = fmt::format("{}.{}@{}", day, rows.front().domain, reporter.domain);
    // One entry a policy as it was: a new edition in the middle of the day makes two.
    std::map<std::pair<int, std::string>, policy::TlsReportPolicy> by_policy;
    for (const storage::TlsSessions& row : rows) {
        policy::TlsReportPolicy& one = by_policy[{row.policy, row.policy_text}];
        one.type = policy::to_string(static_cast<policy::ReportedPolicy>(row.policy));
        one.domain = row.domain;
        one.strings = lines_of(row.policy_text);
        one.mx_hosts = lines_of(row.mx_patterns);
        const auto result = static_cast<policy::TlsResult>(row.result);
        if (result == policy::TlsResult::success) {
            one.successes += row.sessions;
            continue;
        }
        one.failures += row.sessions;
        policy::TlsFailure failure;
        failure.result = policy::to_string(result);
        failure.sending_ip = row.sending_ip;
        failure.mx_host = row.mx_host;
        failure.receiving_ip = row.receiving_ip;
        failure.reason = row.reason;
        failure.sessions = row.sessions;
        one.details.push_back(std::move(failure));
    }
    for (auto& [key, one] : by_policy) out.policies.push_back(std::move(one));
    return out;
}

std::string format_tls_report(const policy::TlsReport& report) {
    Object::Ptr range = object();
    range->set("start-datetime", report.start);
    range->set("end-datetime", report.end);
    Array::Ptr policies = new Array;
    for (const policy::TlsReportPolicy& one : report.policies) policies->add(json_of(one));
    Object::Ptr out = object();
    out->set("organization-name", report.organization);
    out->set("date-range", range);
    out->set("contact-info", report.contact);
    out->set("report-id", report.id);
    out->set("policies", policies);
    std::ostringstream text;
    out->stringify(text);
    return text.str();
}

std::string gzip(const std::string& octets) {
    std::ostringstream out;
    Poco::DeflatingOutputStream deflate(out, Poco::DeflatingStreamBuf::STREAM_GZIP);
    deflate << octets;
    deflate.close();
    return out.str();
}

std::string format_tls_report_mail(const policy::TlsReport& report, std::string_view domain, std::int64_t day,
                                   const TlsReporter& reporter, std::string_view to, Time now, Random& random) {
    using mime::HeaderValue;
    const auto seconds = [](Time at) { return to_unix_ms(at) / 1000; };
    const std::string file =
        fmt::format("{}!{}!{}!{}.json.gz", reporter.domain, domain, seconds(storage::start_of_day(day)),
                    seconds(storage::start_of_day(day + 1)) - 1);
    const std::string subject =
        fmt::format("Report Domain: {} Submitter: {} Report-ID: <{}>", domain, reporter.domain, report.id);
    std::vector<std::pair<std::string, HeaderValue>> headers;
    const auto add = [&](const char* name, std::string_view value) {
        headers.emplace_back(name, HeaderValue::cleaned(value));
    };
    add("From", reporter.contact);
    add("To", to);
    add("Subject", subject);
    add("Date", mime::format_rfc5322(now));
    add("Message-ID", mime::make_message_id(random, now, reporter.domain));
    add("TLS-Report-Domain", domain);
    add("TLS-Report-Submitter", reporter.domain);
    add("Auto-Submitted", "auto-generated");  // RFC 3834 5
    std::vector<mime::BodyPart> parts(2);
    parts[0].headers.emplace_back("Content-Type", HeaderValue::cleaned("text/plain; charset=us-ascii"));
    parts[0].body = fmt::format("This is an aggregate TLS report from {} about {}.\r\n", reporter.domain, domain);
    parts[1].headers.emplace_back("Content-Type", HeaderValue::cleaned("application/tlsrpt+gzip"));
    parts[1].headers.emplace_back("Content-Transfer-Encoding", HeaderValue::cleaned("base64"));
    parts[1].headers.emplace_back("Content-Disposition",
                                  HeaderValue::cleaned(fmt::format("attachment; filename=\"{}\"", file)));
    parts[1].body = base64_lines(gzip(format_tls_report(report)));
    return mime::assemble_report(headers, "tlsrpt", mime::make_boundary(random), parts);
}

}  // namespace posthouse::relay
