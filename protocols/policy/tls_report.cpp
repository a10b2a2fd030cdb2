#include "protocols/policy/tls_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"

namespace posthouse::policy {

namespace {

constexpr std::array kPolicies{"tlsa", "sts", "no-policy-found"};
constexpr std::array kResults{"success",
                              "starttls-not-supported",
                              "certificate-host-mismatch",
                              "certificate-expired",
                              "certificate-not-trusted",
                              "validation-failure",
                              "tlsa-invalid",
                              "dnssec-invalid",
                              "dane-required",
                              "sts-policy-fetch-error",
                              "sts-policy-invalid",
                              "sts-webpki-invalid"};

// %2C and the like: commas, semicolons and exclamation points are written so (RFC 8460 3).
std::string decode(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const bool escape =
            text[i] == '%' && i + 2 < text.size() && ascii::is_hex(text[i + 1]) && ascii::is_hex(text[i + 2]);
        if (!escape) {
            out += text[i];
            continue;
        }
        out += static_cast<char>(ascii::hex_value(text[i + 1]) * 16 + ascii::hex_value(text[i + 2]));
        i += 2;
    }
    return out;
}

bool is_mailbox(std::string_view text) {
    const std::size_t at = text.rfind('@');
    static constexpr std::string_view kSpecials = " <>\",;:()[]\\";
    const auto fits = [](char c) { return ascii::is_printable(c) && kSpecials.find(c) == std::string_view::npos; };
    return at != std::string_view::npos && at > 0 && at + 1 < text.size() && text.find('@') == at &&
           std::ranges::all_of(text, fits);
}

// An address of another scheme, or one that cannot be read, is passed over: the others may do.
void take_addresses(std::string_view list, TlsReportRecord& into) {
    for (Cursor in(list); !in.at_end();) {
        const std::string_view uri = ascii::trim(in.take_until(','));
        in.take(',');
        if (into.mail.size() + into.https.size() >= kReportAddressesMax) return;
        if (ascii::starts_with_ci(uri, "mailto:")) {
            Cursor address(uri.substr(std::string_view("mailto:").size()));
            std::string mailbox = decode(address.take_until('?'));  // RFC 6068 2: header fields are not for us
            if (is_mailbox(mailbox)) into.mail.push_back(std::move(mailbox));
        } else if (ascii::starts_with_ci(uri, "https://")) {
            into.https.emplace_back(uri);
        }
    }
}

}  // namespace

std::string_view to_string(ReportedPolicy type) { return kPolicies[static_cast<std::size_t>(type)]; }
std::string_view to_string(TlsResult result) { return kResults[static_cast<std::size_t>(result)]; }

// tlsrpt-record = tlsrpt-version 1*(field-delim tlsrpt-field) [field-delim]           RFC 8460 3
Result<TlsReportRecord> parse_tls_report_record(std::span<const std::string> texts) {
    const std::string* record = nullptr;
    for (const std::string& text : texts) {
        Cursor in(text);
        if (!in.take("v=TLSRPTv1")) continue;
        in.skip_blanks();
        if (in.peek() != ';') continue;
        if (record != nullptr) return Error(Errc::invalid, "there are two TLSRPT records");
        record = &text;
    }
    if (record == nullptr) return Error(Errc::not_found, "there is no TLSRPT record");
    TlsReportRecord out;
    Cursor in(*record);
    in.take_until(';');
    while (in.take(';')) {
        const std::string_view field = ascii::trim(in.take_until(';'));
        if (field.starts_with("rua=")) take_addresses(field.substr(4), out);
    }
    if (out.mail.empty() && out.https.empty()) {
        return Error(Errc::invalid, "the TLSRPT record names no address that reports could go to");
    }
    return out;
}

std::string format_tls_report_record(std::string_view mailbox) {
    return fmt::format("v=TLSRPTv1; rua=mailto:{}", mailbox);
}

}  // namespace posthouse::policy
