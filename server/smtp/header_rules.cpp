#include "server/smtp/header_rules.h"

#include <fmt/format.h>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"
#include "protocols/base/submission_key.h"
#include "protocols/mime/date.h"
#include "protocols/mime/header.h"
#include "server/submission/rules.h"

namespace posthouse::server::smtp {

namespace {

// What a peer said may not break the field: no controls, no comment or angle brackets.
std::string clean_token(std::string_view text) {
    std::string out(text);
    for (char& c : out) {
        if (ascii::is_control(c) || c == ' ' || std::string_view("()<>;,\\\"").contains(c)) c = '?';
    }
    return out;
}

// CFWS in front of a value: blanks, line ends and comments, nested ones counted.
void skip_cfws(Cursor& in) {
    int depth = 0;
    while (!in.at_end()) {
        const char c = in.peek();
        if (c == '(') {
            ++depth;
        } else if (c == ')' && depth > 0) {
            --depth;
        } else if (c == '\\' && depth > 0) {
            in.take_octets(1);
        } else if (depth == 0 && c != ' ' && c != '\t' && c != '\r' && c != '\n') {
            return;
        }
        in.take_octets(1);
    }
}

bool is_ours(std::string_view raw_received, std::string_view hostname) {
    // "by <hostname>" as we write it; anything cleverer would only tell forgeries apart.
    std::size_t at = 0;
    for (;;) {
        const std::size_t found = ascii::find_ci(raw_received.substr(at), "by ");
        if (found == std::string_view::npos) return false;
        at += found + 3;
        const std::string_view rest = raw_received.substr(at);
        if (!ascii::starts_with_ci(rest, hostname)) continue;
        const std::string_view behind = rest.substr(hostname.size());
        if (behind.empty() || ascii::is_space(behind.front()) || behind.front() == '\r' || behind.front() == ';') {
            return true;
        }
    }
}

struct Census {
    std::size_t hops = 0;
    std::size_t own_hops = 0;
    std::size_t authors = 0;
    std::size_t tls_fields = 0;  // "TLS-Required", and those that say "No"
    std::size_t tls_no = 0;
    std::size_t key_fields = 0;
    std::optional<std::string> key;
    std::size_t stream_fields = 0;
    std::string stream;
    std::string kept;  // the block without what is taken off
};

bool is_taken_off(const mime::Field& field, const SmtpServiceOptions& options, bool submitted) {
    // Final delivery writes exactly one Return-Path (RFC 5321 4.4).
    if (ascii::equals_ci(field.name, "Return-Path")) return true;
    if (ascii::equals_ci(field.name, "Authentication-Results")) {
        return claims_our_results(field.raw_value, options.hostname);
    }
    return submitted && submission::is_dropped_field(field.name);
}

Census take_census(const mime::Fields& fields, const SmtpServiceOptions& options, bool submitted,
                   std::string_view block) {
    Census out;
    std::size_t copied = 0;
    for (const mime::Field& field : fields) {
        if (ascii::equals_ci(field.name, "Received")) {
            ++out.hops;
            if (is_ours(field.raw_value, options.hostname)) ++out.own_hops;
        }
        if (ascii::equals_ci(field.name, "From")) ++out.authors;
        if (ascii::equals_ci(field.name, "TLS-Required")) {
            ++out.tls_fields;
            if (ascii::equals_ci(ascii::trim(field.raw_value), "No")) ++out.tls_no;
        }
        if (ascii::equals_ci(field.name, submission::kKeyField)) {
            ++out.key_fields;
            out.key = parse_submission_key(mime::unfold(field.raw_value));
        }
        if (ascii::equals_ci(field.name, submission::kStreamField)) {
            ++out.stream_fields;
            out.stream = ascii::trim(mime::unfold(field.raw_value));
        }
        if (!is_taken_off(field, options, submitted)) continue;
        out.kept += block.substr(copied, field.offset - copied);
        copied = field.offset + field.length;
    }
    out.kept += block.substr(copied);
    return out;
}

std::optional<wire::Reply> check_limits(const mime::Fields& fields, const SmtpLimits& limits) {
    if (fields.truncated || fields.size() > limits.header_fields_max) {
        return wire::Reply(552, "5.3.4", "The message header is too large");
    }
    for (const mime::Field& field : fields) {
        if (field.length > limits.header_field_octets_max) {
            return wire::Reply(552, "5.3.4", "A field of the message header is too large");
        }
    }
    return std::nullopt;
}

}  // namespace

// Time-stamp-line = "Received:" FWS Stamp CRLF                        RFC 5321 4.4
// Stamp = From-domain By-domain Opt-info [CFWS] ";" FWS date-time
std::string format_trace(const Trace& trace) {
    std::string out;
    out.reserve(512);
    out += "Return-Path: <" + trace.sender + ">\r\n";
    out += fmt::format("Received: from {} ({})\r\n\tby {} with {}", clean_token(trace.client_name),
                       trace.client_literal, trace.hostname, trace.protocol);
    if (!trace.tls.empty()) out += fmt::format(" ({})", trace.tls);
    out += fmt::format("\r\n\tid {}", trace.id);
    if (!trace.only_recipient.empty()) out += fmt::format("\r\n\tfor <{}>", trace.only_recipient);
    out += fmt::format(";\r\n\t{}\r\n", mime::format_rfc5322(trace.now));
    return out;
}

PreparedHeader prepare_header(const Trace& trace, const SmtpServiceOptions& options, Random& random,
                              std::string_view header_block) {
    const mime::Fields fields = mime::parse_fields(header_block);
    if (auto refusal = check_limits(fields, options.limits)) return PreparedHeader(*std::move(refusal));
    const bool submitted = options.kind == Kind::submission || trace.of_client;
    Census census = take_census(fields, options, submitted, header_block);
    // RFC 5321 6.3: a high count of Received fields is a loop.
    if (census.hops >= options.limits.hops_max || census.own_hops >= options.limits.own_hops_max) {
        return PreparedHeader(wire::Reply(554, "5.4.6", "The message has made too many hops: a mail loop"));
    }
    PreparedHeader out;
    out.octets = format_trace(trace);
    // RFC 8689 3: exactly one field, with "No"; anything else says nothing.
    out.tls_not_required = census.tls_fields == 1 && census.tls_no == 1;
    if (submitted) {
        submission::Verdict verdict = submission::check_header(fields, options.hostname, trace.now, random);
        if (verdict.refusal) return PreparedHeader(*std::move(verdict.refusal));
        // A key that is not understood would promise what is not kept.
        if (census.key_fields > 1 || (census.key_fields == 1 && !census.key)) {
            return PreparedHeader(
                wire::Reply(550, "5.6.0", "Idempotency-Key must be one field of 1 to 255 printable ASCII characters"));
        }
        if (census.stream_fields > 1) {
            return PreparedHeader(
                wire::Reply(550, "5.6.0", "A message is of one stream: X-Posthouse-Stream is there twice"));
        }
        out.key = census.key.value_or("");
        out.stream = std::move(census.stream);
        out.author = std::move(verdict.author);
        out.octets += verdict.added;
    } else if (census.authors > 1) {
        // Readers differ on which of two From fields they show; mail without one is still common enough to let in.
        return PreparedHeader(wire::Reply(550, "5.6.0", "The message has more than one From field"));
    }
    out.octets += census.kept;
    return out;
}

// authres-header = "Authentication-Results:" [CFWS] authserv-id [ CFWS authres-version ] ...      RFC 8601 2.2
bool claims_our_results(std::string_view raw_value, std::string_view hostname) {
    Cursor in(raw_value);
    skip_cfws(in);
    std::string id;
    if (in.take('"')) {
        while (!in.at_end() && !in.take('"')) {
            in.take('\\');
            id += in.take_octets(1);
        }
    } else {
        id = in.take_while(
            [](char c) { return c != ';' && c != '(' && c != ' ' && c != '\t' && c != '\r' && c != '\n' && c != '/'; });
    }
    if (id.ends_with('.')) id.pop_back();
    // What we cannot read somebody else may read as our name.
    return id.empty() || ascii::equals_ci(id, hostname);
}

}  // namespace posthouse::server::smtp
