#include "admin/cli/quota.h"

#include <fmt/format.h>

#include "protocols/base/ascii.h"

namespace posthouse::admin {

std::string quota_text(std::uint64_t octets, std::uint64_t messages) {
    if (octets == 0 && messages == 0) return "no limit";
    std::string out;
    if (octets != 0) out = format_octets(octets);
    if (messages != 0) out += fmt::format("{}{} messages", out.empty() ? "" : ", ", messages);
    return out;
}

Result<> read_quota(const Invocation& call, std::uint64_t& octets, std::uint64_t& messages) {
    if (call.has("--size") && !parse_octets(call.get("--size"), octets)) {
        return Error(Errc::invalid,
                     fmt::format("\"{}\" is no size; write for example 5G, 200M or none", call.get("--size")));
    }
    if (!call.has("--messages")) return {};
    const std::string text = call.get("--messages");
    const auto number = ascii::parse_number(text == "none" ? "0" : text);
    if (!number || *number > 1'000'000'000) {
        return Error(Errc::invalid,
                     fmt::format("\"{}\" is no number of messages; write for example 100000 or none", text));
    }
    messages = *number;
    return {};
}

}  // namespace posthouse::admin
