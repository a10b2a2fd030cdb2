#include "protocols/imap/object_id.h"

#include <fmt/format.h>

#include <charconv>

namespace posthouse::imap {

std::string format_email_id(std::uint64_t message) { return fmt::format("M{:x}", message); }

std::optional<std::uint64_t> parse_email_id(std::string_view id) {
    if (!id.starts_with('M')) return std::nullopt;
    std::uint64_t message = 0;
    const auto read = std::from_chars(id.data() + 1, id.data() + id.size(), message, 16);
    if (read.ec != std::errc() || format_email_id(message) != id) return std::nullopt;
    return message;
}

}  // namespace posthouse::imap
