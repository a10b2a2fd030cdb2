#include "protocols/mime/header.h"

#include <algorithm>
#include <limits>

#include "protocols/base/ascii.h"

namespace posthouse::mime {
namespace {

/// One past the line end of the line that starts at `from`.
std::size_t next_line(std::string_view text, std::size_t from) {
    const auto at = text.find('\n', from);
    return at == std::string_view::npos ? text.size() : at + 1;
}

/// The line that ends a header (RFC 5322 2.1), not the end of the message.
bool is_empty_line(std::string_view text, std::size_t from) {
    if (from >= text.size()) return false;
    return text[from] == '\n' || (text[from] == '\r' && from + 1 < text.size() && text[from + 1] == '\n');
}

std::string_view without_line_end(std::string_view line) {
    if (line.ends_with('\n')) line.remove_suffix(1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    return line;
}

/// field-name, RFC 5322 2.2: printable ASCII without blank and colon. RFC 6532 leaves names as they are.
bool is_field_name(std::string_view name) {
    return !name.empty() && std::all_of(name.begin(), name.end(), [](char c) { return c > 0x20 && c < 0x7f; });
}

bool is_wanted(std::string_view name, std::span<const std::string> names) {
    return std::any_of(names.begin(), names.end(), [&](const std::string& n) { return ascii::equals_ci(n, name); });
}

/// Reads the field that lies in `whole`; false where it is none.
bool read_field(std::string_view whole, const Limits& limits, Field& field, Fields& fields) {
    const std::size_t first_line_octets = next_line(whole, 0);
    // Only the first line can hold the colon; a name is never folded.
    const auto colon = whole.substr(0, first_line_octets).find(':');
    // A continuation of nothing, or text that is no field at all (RFC 5322 2.2).
    if (colon == std::string_view::npos || ascii::is_space(whole.front())) return false;
    std::string_view name = whole.substr(0, colon);
    while (!name.empty() && ascii::is_space(name.back())) name.remove_suffix(1);  // obs-optional, RFC 5322 4.5
    if (name.empty()) return false;
    if (!is_field_name(name)) fields.damaged = true;
    field.name = name;
    field.raw_value = without_line_end(whole).substr(std::min(colon + 1, without_line_end(whole).size()));
    if (field.raw_value.size() > limits.field_octets_max) {
        field.raw_value = field.raw_value.substr(0, limits.field_octets_max);
        fields.truncated = true;
    }
    return true;
}

}  // namespace

Fields parse_fields(std::string_view message, std::size_t* header_octets, const Limits& limits) {
    Fields fields;
    std::size_t at = 0;
    while (at < message.size() && !is_empty_line(message, at)) {
        // A field goes on for as long as lines start with a blank, even one that is nothing but blanks (obs-FWS, 4.2).
        std::size_t end = next_line(message, at);
        while (end < message.size() && ascii::is_space(message[end])) end = next_line(message, end);
        if (fields.list.size() >= limits.fields_max || at >= limits.header_octets_max) {
            fields.truncated = true;
            at = header_octets == nullptr ? message.size() : at + find_header_end(message.substr(at));
            if (header_octets != nullptr) *header_octets = at;
            return fields;
        }
        Field field{.name = {}, .raw_value = {}, .offset = at, .length = end - at};
        if (read_field(message.substr(at, end - at), limits, field, fields)) {
            fields.list.push_back(field);
        } else {
            fields.damaged = true;
        }
        at = end;
    }
    if (header_octets != nullptr) *header_octets = at < message.size() ? next_line(message, at) : message.size();
    return fields;
}

std::size_t find_header_end(std::string_view message) {
    std::size_t at = 0;
    while (at < message.size() && !is_empty_line(message, at)) at = next_line(message, at);
    return at < message.size() ? next_line(message, at) : message.size();
}

std::string unfold(std::string_view raw_value) {
    std::string out;
    raw_value = ascii::trim(raw_value);
    out.reserve(raw_value.size());
    for (std::size_t i = 0; i < raw_value.size(); ++i) {
        const char c = raw_value[i];
        if (c == '\n' || (c == '\r' && i + 1 < raw_value.size() && raw_value[i + 1] == '\n')) continue;
        out.push_back(c);
    }
    return out;
}

std::optional<std::string_view> find_first(const Fields& fields, std::string_view name) {
    for (const Field& field : fields)
        if (ascii::equals_ci(field.name, name)) return field.raw_value;
    return std::nullopt;
}

std::vector<std::string_view> find_all(const Fields& fields, std::string_view name) {
    std::vector<std::string_view> out;
    for (const Field& field : fields)
        if (ascii::equals_ci(field.name, name)) out.push_back(field.raw_value);
    return out;
}

std::string select_fields(std::string_view header_block, std::span<const std::string> names, Matching matching) {
    constexpr std::size_t kNoLimit = std::numeric_limits<std::size_t>::max();
    Limits limits;  // the client sees every field, whatever the other readers look at
    limits.fields_max = limits.header_octets_max = limits.field_octets_max = kNoLimit;
    std::string out;
    for (const Field& field : parse_fields(header_block, nullptr, limits)) {
        if (is_wanted(field.name, names) != (matching == Matching::only)) continue;
        out += header_block.substr(field.offset, field.length);
        if (!out.ends_with('\n')) out += "\r\n";
    }
    return out += "\r\n";
}

}  // namespace posthouse::mime
