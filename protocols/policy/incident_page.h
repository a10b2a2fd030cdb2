#pragma once
/// protocols/policy/incident_page: the page behind the link in the mail about an incident: what is held, why, what to
/// do, and a button that says it is mended. A GET changes nothing: link scanners follow every address in a mail. Pure.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "protocols/policy/page.h"

namespace posthouse::policy {

/// Path of the page, before the token.
inline constexpr std::string_view kIncidentTarget = "/incident/";

/// All of it text, of any octets.
struct IncidentFacts {
    std::int64_t number = 0;
    std::string what;     ///< "google refuses mail from 192.0.2.7"
    std::string since;
    std::string remote;   ///< who said it, or ""
    std::string reply;    ///< in which words, or ""
    std::string advice;
    std::optional<std::uint64_t> held;  ///< recipients; none: nothing is held for such
    bool is_open = true;
    std::string ended;    ///< where it is over: when
    std::string because;  ///< likewise: why
    IncidentFacts() = default;
};

std::string incident_page(const IncidentFacts& facts);
/// Behind the button. `why`: where it is not over, what is still so.
std::string incident_fixed_page(const IncidentFacts& facts, std::uint64_t released, std::string_view why);
std::string incident_unknown_page();

}  // namespace posthouse::policy
