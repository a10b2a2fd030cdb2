#include "protocols/report/delivery_status.h"

#include <algorithm>
#include <utility>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"
#include "protocols/mime/header.h"
#include "protocols/report/report.h"

namespace posthouse::report {
namespace {

// "*-type;" before the value                                                                   RFC 3464 2.1.2
std::pair<std::string_view, std::string_view> split_type(std::string_view value) {
    constexpr std::size_t kTypeOctetsMax = 40;
    const std::size_t semicolon = value.substr(0, kTypeOctetsMax).find(';');
    if (semicolon == std::string_view::npos) return {{}, ascii::trim(value)};
    const std::string_view type = ascii::trim(value.substr(0, semicolon));
    const bool is_token = std::ranges::all_of(type, [](char c) { return ascii::is_alnum(c) || c == '-' || c == '_'; });
    if (!is_token) return {{}, ascii::trim(value)};
    return {type, ascii::trim(value.substr(semicolon + 1))};
}

std::string address_of(std::string_view value) {
    const auto [type, rest] = split_type(value);
    std::string_view address = rest;
    if (address.starts_with('<') && address.ends_with('>')) address = address.substr(1, address.size() - 2);
    if (ascii::equals_ci(type, "utf-8")) return decode_utf8_address(address);
    return std::string(address);
}

std::string first_word(std::string_view value) {
    const std::size_t end = std::min(value.find_first_of(" \t(;"), value.size());
    return std::string(value.substr(0, end));
}

void take_field(DeliveryStatus& out, RecipientFields& one, std::string_view name, const std::string& value) {
    if (ascii::equals_ci(name, "reporting-mta")) {
        if (out.reporting_mta.empty()) out.reporting_mta = first_word(split_type(value).second);
    } else if (ascii::equals_ci(name, "original-envelope-id")) {
        if (out.envelope_id.empty()) out.envelope_id = ascii::trim(value);
    } else if (ascii::equals_ci(name, "final-recipient")) {
        one.final_recipient = address_of(value);
    } else if (ascii::equals_ci(name, "original-recipient")) {
        one.original_recipient = address_of(value);
    } else if (ascii::equals_ci(name, "action")) {
        one.action = ascii::to_lower(first_word(value));
    } else if (ascii::equals_ci(name, "status")) {
        one.status = first_word(value);
    } else if (ascii::equals_ci(name, "diagnostic-code")) {
        one.diagnostic = split_type(value).second;
    } else if (ascii::equals_ci(name, "remote-mta")) {
        one.remote_mta = first_word(split_type(value).second);
    }
}

}  // namespace

std::string decode_utf8_address(std::string_view text) {
    std::string out;
    for (Cursor in(text); !in.at_end();) {
        if (!in.take("\\x{")) {
            out.push_back(in.peek());
            in.take_octets(1);
            continue;
        }
        const std::string_view digits = in.take_while([](char c) { return ascii::hex_value(c) >= 0; });
        std::uint32_t code = 0;
        for (const char c : digits.substr(0, 6)) code = code * 16 + static_cast<std::uint32_t>(ascii::hex_value(c));
        in.take('}');
        if (code < 0x80) {
            out.push_back(static_cast<char>(code));
        } else if (code < 0x800) {
            out.push_back(static_cast<char>(0xC0U | code >> 6U));
            out.push_back(static_cast<char>(0x80U | (code & 0x3FU)));
        } else if (code < 0x10000) {
            out.push_back(static_cast<char>(0xE0U | code >> 12U));
            out.push_back(static_cast<char>(0x80U | (code >> 6U & 0x3FU)));
            out.push_back(static_cast<char>(0x80U | (code & 0x3FU)));
        } else if (code < 0x110000) {
            out.push_back(static_cast<char>(0xF0U | code >> 18U));
            out.push_back(static_cast<char>(0x80U | (code >> 12U & 0x3FU)));
            out.push_back(static_cast<char>(0x80U | (code >> 6U & 0x3FU)));
            out.push_back(static_cast<char>(0x80U | (code & 0x3FU)));
        }
    }
    return out;
}

DeliveryStatus parse_delivery_status(std::string_view text) {
    DeliveryStatus out;
    while (!text.empty() && out.recipients.size() < kRecipientsMax) {
        std::size_t octets = 0;
        const mime::Fields fields = mime::parse_fields(text, &octets);
        RecipientFields one;
        for (const mime::Field& field : fields) {
            const bool starts_another = ascii::equals_ci(field.name, "final-recipient") && !one.final_recipient.empty();
            if (starts_another) out.recipients.push_back(std::exchange(one, {}));
            take_field(out, one, field.name, mime::unfold(field.raw_value));
        }
        if (one.final_recipient.empty() && !one.action.empty()) one.final_recipient = one.original_recipient;
        if (!one.final_recipient.empty()) out.recipients.push_back(std::move(one));
        text.remove_prefix(std::min(std::max<std::size_t>(octets, 1), text.size()));
    }
    return out;
}

}  // namespace posthouse::report
