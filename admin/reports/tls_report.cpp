#include "admin/reports/tls_report.h"

#include <Poco/Exception.h>
#include <Poco/InflatingStream.h>
#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <Poco/JSON/Parser.h>
#include <fmt/format.h>

#include <array>
#include <sstream>

#include "protocols/base/ascii.h"
#include "protocols/mime/encoding.h"
#include "protocols/mime/structure.h"
#include "storage/transport.h"

namespace posthouse::admin {
namespace {

using Poco::JSON::Array;
using Poco::JSON::Object;

constexpr std::string_view kGzipMagic = "\x1f\x8b";

Error bad(std::string_view what) { return Error(Errc::invalid, std::string(what)); }

bool is_gzip(std::string_view octets) { return octets.starts_with(kGzipMagic); }

bool looks_like_json(std::string_view octets) {
    while (!octets.empty() && (ascii::is_space(octets.front()) || octets.front() == '\r' || octets.front() == '\n')) {
        octets.remove_prefix(1);
    }
    return octets.starts_with('{') || octets.starts_with("\xEF\xBB\xBF{");
}

// "" where it is missing or of another kind: reports of others leave out much.
std::string text_of(const Object::Ptr& object, const char* name) {
    if (object.isNull() || !object->has(name)) return {};
    const Poco::Dynamic::Var value = object->get(name);
    return value.isString() ? value.convert<std::string>() : std::string();
}

std::uint64_t count_of(const Object::Ptr& object, const char* name) {
    if (object.isNull() || !object->has(name)) return 0;
    const Poco::Dynamic::Var value = object->get(name);
    if (!value.isInteger()) return 0;
    const auto number = value.convert<Poco::Int64>();
    return number < 0 ? 0 : static_cast<std::uint64_t>(number);
}

// An array of strings; some send one string instead.
std::vector<std::string> texts_of(const Object::Ptr& object, const char* name) {
    std::vector<std::string> out;
    if (object.isNull() || !object->has(name)) return out;
    if (const std::string one = text_of(object, name); !one.empty()) return {one};
    const Array::Ptr array = object->getArray(name);
    if (array.isNull()) return out;
    for (std::size_t i = 0; i < array->size() && i < kItemsMax; ++i) {
        const Poco::Dynamic::Var value = array->get(static_cast<unsigned>(i));
        if (value.isString()) out.push_back(value.convert<std::string>());
    }
    return out;
}

policy::TlsFailure failure_of(const Object::Ptr& object) {
    policy::TlsFailure out;
    out.result = text_of(object, "result-type");
    out.sending_ip = text_of(object, "sending-mta-ip");
    out.mx_host = text_of(object, "receiving-mx-hostname");
    out.receiving_ip = text_of(object, "receiving-ip");
    out.reason = text_of(object, "failure-reason-code");
    out.information = text_of(object, "additional-information");
    out.sessions = count_of(object, "failed-session-count");
    return out;
}

Result<policy::TlsReportPolicy> policy_of(const Object::Ptr& object) {
    policy::TlsReportPolicy out;
    const Object::Ptr about = object->getObject("policy");
    if (about.isNull()) return bad("a policy of the report has no \"policy\"");
    out.type = text_of(about, "policy-type");
    out.domain = ascii::to_lower(text_of(about, "policy-domain"));
    out.strings = texts_of(about, "policy-string");
    out.mx_hosts = texts_of(about, "mx-host");
    const Object::Ptr summary = object->getObject("summary");
    out.successes = count_of(summary, "total-successful-session-count");
    out.failures = count_of(summary, "total-failure-session-count");
    const Array::Ptr details = object->has("failure-details") ? object->getArray("failure-details") : Array::Ptr();
    if (details.isNull()) return out;
    if (details->size() > kItemsMax) return Error(Errc::too_large, "the report lists too many failures");
    for (std::size_t i = 0; i < details->size(); ++i) {
        const Object::Ptr one = details->getObject(static_cast<unsigned>(i));
        if (!one.isNull()) out.details.push_back(failure_of(one));
    }
    return out;
}

bool is_report_part(const mime::Part& part) {
    return ascii::equals_ci(part.type, "application") &&
           (ascii::equals_ci(part.subtype, "tlsrpt+gzip") || ascii::equals_ci(part.subtype, "tlsrpt+json"));
}

const mime::Part* find_report(const mime::Part& part) {
    if (is_report_part(part)) return &part;
    for (const mime::Part& child : part.children) {
        if (const mime::Part* const found = find_report(child)) return found;
    }
    return nullptr;
}

}  // namespace

Result<std::string> inflate_gzip(std::string_view octets) {
    try {
        std::istringstream in{std::string(octets)};
        Poco::InflatingInputStream inflate(in, Poco::InflatingStreamBuf::STREAM_GZIP);
        std::string out;
        std::array<char, 16UL * 1024> piece{};
        while (inflate.good()) {
            inflate.read(piece.data(), static_cast<std::streamsize>(piece.size()));
            out.append(piece.data(), static_cast<std::size_t>(inflate.gcount()));
            const bool bomb = out.size() > kRatioFreeOctets && out.size() / kRatioMax > octets.size();
            if (out.size() > kReportOctetsMax || bomb) {
                return Error(Errc::too_large, "the report is larger than 10 MiB, or made to look small");
            }
        }
        if (out.empty()) return bad("the report is empty or not gzip");
        return out;
    } catch (const Poco::Exception&) {
        return bad("the report is not whole gzip");
    } catch (const std::ios_base::failure&) {
        return bad("the report is not whole gzip");
    }
}

Result<policy::TlsReport> parse_tls_report(const std::string& json) {
    if (json.size() > kReportOctetsMax) return Error(Errc::too_large, "the report is larger than 10 MiB");
    try {
        Poco::JSON::Parser parser;
        parser.setDepth(kJsonDepthMax);
        const Poco::Dynamic::Var parsed = parser.parse(json);
        if (parsed.type() != typeid(Object::Ptr)) return bad("the report is not a JSON object");
        const auto object = parsed.extract<Object::Ptr>();
        policy::TlsReport out;
        out.organization = text_of(object, "organization-name");
        out.contact = text_of(object, "contact-info");
        out.id = text_of(object, "report-id");
        const Object::Ptr range = object->getObject("date-range");
        out.start = text_of(range, "start-datetime");
        out.end = text_of(range, "end-datetime");
        const Array::Ptr policies = object->has("policies") ? object->getArray("policies") : Array::Ptr();
        if (policies.isNull() || policies->size() == 0) return bad("the report has no \"policies\"");
        if (out.id.empty()) return bad("the report has no \"report-id\"");
        if (policies->size() > kItemsMax) return Error(Errc::too_large, "the report lists too many policies");
        for (std::size_t i = 0; i < policies->size(); ++i) {
            const Object::Ptr one = policies->getObject(static_cast<unsigned>(i));
            if (one.isNull()) return bad("a policy of the report is not an object");
            TRY(auto policy, policy_of(one));
            out.policies.push_back(std::move(policy));
        }
        return out;
    } catch (const Poco::Exception& e) {
        return bad("the report is not JSON: " + e.displayText());
    }
}

Result<ReadTlsReport> read_tls_report(std::string_view octets) {
    ReadTlsReport out;
    if (is_gzip(octets)) {
        TRY(out.json, inflate_gzip(octets));
    } else if (looks_like_json(octets)) {
        out.json = octets;
    } else {
        // RFC 8460 5.3: the part says by its type what it is; what it holds decides.
        const mime::Structure structure = mime::parse_structure(octets);
        const mime::Part* const part = find_report(structure.root);
        if (part == nullptr) return Error(Errc::not_found, "there is no TLS report in this mail");
        const std::string_view raw = octets.substr(part->body_offset, part->body_octets);
        const std::string content = mime::decode_transfer(raw, mime::transfer_encoding(part->encoding)).data;
        if (is_gzip(content)) {
            TRY(out.json, inflate_gzip(content));
        } else {
            out.json = content;
        }
    }
    TRY(out.report, parse_tls_report(out.json));
    return out;
}

Result<bool> keep_tls_report(storage::Store& store, const ReadTlsReport& read) {
    storage::TlsReportEntry entry;
    entry.organization = read.report.organization;
    entry.report_id = read.report.id;
    entry.domain = read.report.policies.front().domain;
    entry.start = read.report.start;
    entry.end = read.report.end;
    for (const policy::TlsReportPolicy& one : read.report.policies) {
        entry.successes += one.successes;
        entry.failures += one.failures;
    }
    entry.text = read.json;
    return store.write_value({}, [&](storage::Tx& tx) { return storage::TransportTx(tx).add_tls_report(entry); });
}

Result<> take_tls_report(storage::Store& store, const std::string& mail) {
    TRY(const ReadTlsReport read, read_tls_report(mail));
    TRY_VOID(keep_tls_report(store, read));
    return {};
}

}  // namespace posthouse::admin
