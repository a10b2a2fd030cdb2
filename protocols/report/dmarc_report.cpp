#include "protocols/report/dmarc_report.h"

#include <expat.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "protocols/base/ascii.h"
#include "protocols/mime/structure.h"
#include "protocols/mime/text.h"
#include "protocols/report/inflate.h"

namespace posthouse::report {
namespace {

constexpr std::uint64_t kRecordCountMax = 1'000'000'000;  // of one row: sums of many must not overflow

std::string lower(std::string_view text) { return ascii::to_lower(text); }

std::int64_t seconds_of(std::string_view text) {
    const std::string_view whole = text.substr(0, text.find('.'));  // some write 1667347200.0
    return static_cast<std::int64_t>(ascii::parse_number(whole).value_or(0) & 0x7FFF'FFFF'FFFFULL);
}

// One value at its place, "feedback/record/row/count". Lists gain an element when its own element begins.
struct Value {
    std::string_view path;
    void (*set)(DmarcReport&, std::string_view);
};
DmarcRecord& record(DmarcReport& report) { return report.records.back(); }

constexpr Value kValues[] = {
    {"version", [](DmarcReport& r, std::string_view v) { r.version = v; }},
    {"report_metadata/org_name", [](DmarcReport& r, std::string_view v) { r.organization = v; }},
    {"report_metadata/email", [](DmarcReport& r, std::string_view v) { r.email = v; }},
    {"report_metadata/extra_contact_info", [](DmarcReport& r, std::string_view v) { r.contact = v; }},
    {"report_metadata/report_id", [](DmarcReport& r, std::string_view v) { r.id = v; }},
    {"report_metadata/date_range/begin", [](DmarcReport& r, std::string_view v) { r.begin = seconds_of(v); }},
    {"report_metadata/date_range/end", [](DmarcReport& r, std::string_view v) { r.end = seconds_of(v); }},
    {"report_metadata/error",
     [](DmarcReport& r, std::string_view v) {
         if (r.errors.size() < kResultsMax) r.errors.emplace_back(v);
     }},
    {"report_metadata/generator", [](DmarcReport& r, std::string_view v) { r.generator = v; }},
    {"policy_published/domain", [](DmarcReport& r, std::string_view v) { r.domain = lower(v); }},
    {"policy_published/p", [](DmarcReport& r, std::string_view v) { r.policy = lower(v); }},
    {"policy_published/sp", [](DmarcReport& r, std::string_view v) { r.subdomain_policy = lower(v); }},
    {"policy_published/np", [](DmarcReport& r, std::string_view v) { r.nonexistent_policy = lower(v); }},
    {"policy_published/adkim", [](DmarcReport& r, std::string_view v) { r.adkim = lower(v); }},
    {"policy_published/aspf", [](DmarcReport& r, std::string_view v) { r.aspf = lower(v); }},
    {"policy_published/fo", [](DmarcReport& r, std::string_view v) { r.fo = v; }},
    {"policy_published/testing", [](DmarcReport& r, std::string_view v) { r.testing = lower(v); }},
    {"policy_published/discovery_method", [](DmarcReport& r, std::string_view v) { r.discovery_method = lower(v); }},
    {"record/row/source_ip", [](DmarcReport& r, std::string_view v) { record(r).source_ip = lower(v); }},
    {"record/row/count",
     [](DmarcReport& r, std::string_view v) {
         record(r).count = std::min(ascii::parse_number(v).value_or(0), kRecordCountMax);
     }},
    {"record/row/policy_evaluated/disposition",
     [](DmarcReport& r, std::string_view v) { record(r).disposition = lower(v); }},
    {"record/row/policy_evaluated/dkim", [](DmarcReport& r, std::string_view v) { record(r).dkim = lower(v); }},
    {"record/row/policy_evaluated/spf", [](DmarcReport& r, std::string_view v) { record(r).spf = lower(v); }},
    {"record/row/policy_evaluated/reason/type",
     [](DmarcReport& r, std::string_view v) { record(r).reasons.back().type = lower(v); }},
    {"record/row/policy_evaluated/reason/comment",
     [](DmarcReport& r, std::string_view v) { record(r).reasons.back().comment = v; }},
    {"record/identifiers/header_from", [](DmarcReport& r, std::string_view v) { record(r).header_from = lower(v); }},
    {"record/identifiers/envelope_from",
     [](DmarcReport& r, std::string_view v) { record(r).envelope_from = lower(v); }},
    {"record/identifiers/envelope_to", [](DmarcReport& r, std::string_view v) { record(r).envelope_to = lower(v); }},
    {"record/auth_results/dkim/domain",
     [](DmarcReport& r, std::string_view v) { record(r).dkim_results.back().domain = lower(v); }},
    {"record/auth_results/dkim/selector",
     [](DmarcReport& r, std::string_view v) { record(r).dkim_results.back().selector = v; }},
    {"record/auth_results/dkim/result",
     [](DmarcReport& r, std::string_view v) { record(r).dkim_results.back().result = lower(v); }},
    {"record/auth_results/dkim/human_result",
     [](DmarcReport& r, std::string_view v) { record(r).dkim_results.back().human = v; }},
    {"record/auth_results/spf/domain",
     [](DmarcReport& r, std::string_view v) { record(r).spf_results.back().domain = lower(v); }},
    {"record/auth_results/spf/scope",
     [](DmarcReport& r, std::string_view v) { record(r).spf_results.back().scope = lower(v); }},
    {"record/auth_results/spf/result",
     [](DmarcReport& r, std::string_view v) { record(r).spf_results.back().result = lower(v); }},
    {"record/auth_results/spf/human_result",
     [](DmarcReport& r, std::string_view v) { record(r).spf_results.back().human = v; }},
};

// What the parser's callbacks share. Exceptions must not pass through expat: only bad_alloc could.
struct Reading {
    XML_Parser parser = nullptr;
    DmarcReport report;
    std::string path;  // below the root element
    std::string value;
    std::size_t depth = 0;
    bool is_feedback = false;
    std::optional<Error> error;

    void stop(Errc code, std::string_view why) {
        if (!error) error = Error(code, std::string(why));
        XML_StopParser(parser, XML_FALSE);
    }
};

// "urn:...:feedback" of a namespace prefix: only the name counts.
std::string_view local_name(std::string_view name) {
    const std::size_t colon = name.rfind(':');
    return colon == std::string_view::npos ? name : name.substr(colon + 1);
}

template <class List>
void grow(Reading& reading, List& list, std::size_t most) {
    if (list.size() >= most) {
        reading.stop(Errc::too_large, "the report has too many records or results");
        return;
    }
    list.emplace_back();
}

void XMLCALL on_start(void* user, const XML_Char* name, const XML_Char** /*attributes*/) {
    Reading& reading = *static_cast<Reading*>(user);
    if (++reading.depth > kXmlDepthMax) return reading.stop(Errc::too_large, "the report nests too deep");
    const std::string_view local = local_name(name);
    if (reading.depth == 1) {
        reading.is_feedback = local == "feedback";
        if (!reading.is_feedback) reading.stop(Errc::invalid, "this XML is no DMARC report");
        return;
    }
    if (local.size() > 64) return reading.stop(Errc::invalid, "the report has a name of more than 64 octets");
    if (!reading.path.empty()) reading.path.push_back('/');
    reading.path.append(local);
    reading.value.clear();
    if (reading.path == "record") return grow(reading, reading.report.records, kRecordsMax);
    if (reading.path == "record/row/policy_evaluated/reason") {
        return grow(reading, record(reading.report).reasons, kResultsMax);
    }
    if (reading.path == "record/auth_results/dkim") {
        return grow(reading, record(reading.report).dkim_results, kResultsMax);
    }
    if (reading.path == "record/auth_results/spf") grow(reading, record(reading.report).spf_results, kResultsMax);
}

void XMLCALL on_end(void* user, const XML_Char* /*name*/) {
    Reading& reading = *static_cast<Reading*>(user);
    if (reading.depth-- <= 1) return;
    for (const Value& one : kValues) {
        if (one.path == reading.path) one.set(reading.report, ascii::trim(reading.value));
    }
    reading.value.clear();
    const std::size_t slash = reading.path.rfind('/');
    reading.path.resize(slash == std::string::npos ? 0 : slash);
}

void XMLCALL on_text(void* user, const XML_Char* text, int octets) {
    Reading& reading = *static_cast<Reading*>(user);
    const std::size_t room = kValueOctetsMax - std::min(kValueOctetsMax, reading.value.size());
    reading.value.append(text, std::min(static_cast<std::size_t>(octets), room));
}

void XMLCALL on_doctype(void* user, const XML_Char*, const XML_Char*, const XML_Char*, int) {
    static_cast<Reading*>(user)->stop(Errc::invalid, "the report declares a document type, which reports never need");
}

// The report in a mail: by what a part holds; its name and type are wrong too often.
Result<DmarcReport> find_in_parts(std::string_view message, const mime::Part& part) {
    for (const mime::Part& child : part.children) {
        auto found = find_in_parts(message, child);
        if (found || found.error().code != Errc::not_found) return found;
    }
    if (!part.children.empty()) return Error(Errc::not_found, "there is no DMARC report in this mail");
    const std::string body = mime::decoded_body(message, part);
    if (is_gzip(body) || is_zip(body)) return read_dmarc_report(body);
    const bool is_xml = ascii::equals_ci(part.subtype, "xml") || body.starts_with("<?xml");
    if (is_xml) return parse_dmarc_report(body);
    return Error(Errc::not_found, "there is no DMARC report in this mail");
}

}  // namespace

Result<DmarcReport> parse_dmarc_report(std::string_view xml) {
    if (xml.size() > kReportOctetsMax) return Error(Errc::too_large, "the report is too large");
    const std::unique_ptr<XML_ParserStruct, decltype(&XML_ParserFree)> parser(XML_ParserCreate(nullptr),
                                                                              &XML_ParserFree);
    if (!parser) return Error(Errc::internal, "expat gave no parser");
    Reading reading;
    reading.parser = parser.get();
    XML_SetUserData(parser.get(), &reading);
    XML_SetElementHandler(parser.get(), on_start, on_end);
    XML_SetCharacterDataHandler(parser.get(), on_text);
    XML_SetStartDoctypeDeclHandler(parser.get(), on_doctype);
    const XML_Status status = XML_Parse(parser.get(), xml.data(), static_cast<int>(xml.size()), XML_TRUE);
    if (reading.error) return *std::move(reading.error);
    if (status != XML_STATUS_OK) {
        return Error(Errc::invalid,
                     "the report is no XML: " + std::string(XML_ErrorString(XML_GetErrorCode(parser.get()))));
    }
    if (reading.report.domain.empty()) return Error(Errc::invalid, "the report names no domain");
    if (reading.report.id.empty()) return Error(Errc::invalid, "the report has no report_id");
    return std::move(reading.report);
}

Result<DmarcReport> read_dmarc_report(std::string_view octets) {
    if (is_gzip(octets)) {
        TRY(const std::string xml, inflate_gzip(octets));
        return parse_dmarc_report(xml);
    }
    if (is_zip(octets)) {
        TRY(const std::string xml, inflate_zip(octets));
        return parse_dmarc_report(xml);
    }
    std::string_view start = octets;
    if (start.starts_with("\xEF\xBB\xBF")) start.remove_prefix(3);
    if (ascii::trim(start.substr(0, 100)).starts_with('<')) return parse_dmarc_report(octets);
    const mime::Structure structure = mime::parse_structure(octets);
    return find_in_parts(octets, structure.root);
}

}  // namespace posthouse::report
