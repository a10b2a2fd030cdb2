#include "relay/header_edit.h"

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/smtp/presets.h"

namespace posthouse::relay {

namespace {

// The field at the start of `rest` with its folded lines; "" at the empty line or the end.
std::string_view take_field(std::string_view& rest) {
    if (rest.empty() || rest.starts_with("\r\n")) return {};
    std::size_t end = rest.find('\n');
    while (end != std::string_view::npos && end + 1 < rest.size() && ascii::is_space(rest[end + 1])) {
        end = rest.find('\n', end + 1);
    }
    const std::string_view out = rest.substr(0, end == std::string_view::npos ? rest.size() : end + 1);
    rest.remove_prefix(out.size());
    return out;
}

std::string_view name_of(std::string_view field) { return ascii::trim(field.substr(0, field.find(':'))); }

bool sets(std::string_view headers, std::string_view name) {
    while (!headers.empty()) {
        const std::size_t end = std::min(headers.find('\n'), headers.size());
        if (ascii::equals_ci(name_of(headers.substr(0, end)), name)) return true;
        headers.remove_prefix(std::min(end + 1, headers.size()));
    }
    return false;
}

}  // namespace

std::string edit_header(std::string_view header, const HeaderEdit& edit) {
    std::string out;
    std::string_view lines = edit.headers;
    while (!lines.empty()) {
        const std::size_t end = std::min(lines.find('\n'), lines.size());
        std::string line(ascii::trim(lines.substr(0, end)));
        lines.remove_prefix(std::min(end + 1, lines.size()));
        if (line.empty()) continue;
        if (const auto at = line.find("{queue}"); at != std::string::npos) line.replace(at, 7, edit.message_key);
        out += line + "\r\n";
    }
    std::string_view rest = header;
    for (;;) {
        const std::string_view field = take_field(rest);
        if (field.empty()) break;
        const std::string_view name = name_of(field);
        // What the way sets stands alone: two of a kind would be read either way.
        if (smtp::is_foreign_header(name, edit.preset) || sets(edit.headers, name)) continue;
        out += field;
    }
    out += rest;
    return out;
}

}  // namespace posthouse::relay
