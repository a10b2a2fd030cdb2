#include "storage/incident_link.h"

#include <fmt/format.h>

#include <charconv>

#include "protocols/base/ascii.h"
#include "storage/signed_token.h"

namespace posthouse::storage {
namespace {

constexpr std::size_t kNumberDigits = 16;
constexpr std::size_t kHourDigits = 8;
constexpr std::int64_t kHourMs = 3'600'000;

std::int64_t last_hour(Time now) { return to_unix_ms(now + Milliseconds(kIncidentLinkLasts)) / kHourMs; }

// With when it began: a store that was restored gives the same number to another one.
std::string make_token(std::string_view sealing_key, const Incident& one, std::int64_t hour) {
    return signed_token(sealing_key, "incident fixed",
                        fmt::format("{:0{}x}{:0{}x}", raw(one.id), kNumberDigits, hour, kHourDigits),
                        fmt::format("{}\n{}\n{}", raw(one.id), hour, to_unix_ms(one.since)));
}

std::optional<std::int64_t> take_hex(std::string_view& text, std::size_t digits) {
    std::int64_t out = 0;
    const char* const end = text.data() + digits;
    const auto read = std::from_chars(text.data(), end, out, 16);
    if (read.ec != std::errc() || read.ptr != end || out <= 0) return std::nullopt;
    text.remove_prefix(digits);
    return out;
}

}  // namespace

std::string incident_token(const Incident& incident, std::string_view sealing_key, Time now) {
    if (incident.key.kind == IncidentKind::account) return "";
    return make_token(sealing_key, incident, last_hour(now));
}

Time incident_token_ends(Time now) { return from_unix_ms((last_hour(now) + 1) * kHourMs); }

Result<std::optional<Incident>> open_incident_token(const IncidentView& view, std::string_view token,
                                                    std::string_view sealing_key, Time now) {
    const std::optional<Incident> nothing;
    const std::string given = ascii::to_lower(token);
    if (given.size() != kNumberDigits + kHourDigits + 2 * kTokenSignatureOctets) return nothing;
    std::string_view rest = given;
    const auto number = take_hex(rest, kNumberDigits);
    const auto hour = number ? take_hex(rest, kHourDigits) : std::nullopt;
    if (!hour || to_unix_ms(now) / kHourMs > *hour) return nothing;
    auto incident = view.by_id(static_cast<IncidentId>(*number));
    if (!incident && incident.error().code == Errc::not_found) return nothing;
    if (!incident) return Error(incident.error());
    const bool is_ours = incident->key.kind != IncidentKind::account &&
                         is_same_token(make_token(sealing_key, *incident, *hour), given);
    return is_ours ? std::optional(*std::move(incident)) : nothing;
}

}  // namespace posthouse::storage
