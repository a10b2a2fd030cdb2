#include "protocols/base/submission_key.h"

#include <algorithm>

#include "protocols/base/ascii.h"

namespace posthouse {

bool is_submission_key(std::string_view text) {
    return !text.empty() && text.size() <= kSubmissionKeyOctetsMax && std::ranges::all_of(text, ascii::is_printable);
}

// sf-string = DQUOTE *chr DQUOTE;  chr = unescaped / escaped             RFC 8941 3.3.3
std::optional<std::string> parse_submission_key(std::string_view field_value) {
    std::string_view text = ascii::trim(field_value);
    std::string out;
    if (text.size() < 2 || !text.starts_with('"') || !text.ends_with('"')) {
        out = text;
    } else {
        text = text.substr(1, text.size() - 2);
        for (std::size_t at = 0; at < text.size(); ++at) {
            const bool escapes = text[at] == '\\';
            if (text[at] == '"' || (escapes && at + 1 == text.size())) return std::nullopt;
            if (escapes) ++at;
            if (escapes && text[at] != '"' && text[at] != '\\') return std::nullopt;
            out += text[at];
        }
    }
    return is_submission_key(out) ? std::optional(out) : std::nullopt;
}

}  // namespace posthouse
