#include "protocols/policy/page.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"

namespace posthouse::policy {

std::string html_page(std::string_view title, std::string_view body) {
    return fmt::format(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
        "content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\"><title>{}</title></head>\n"
        "<body><h1>{}</h1>\n{}\n</body></html>\n",
        title, title, body);
}

std::string escape_html(std::string_view text) {
    std::string out;
    for (const char c : text) {
        switch (c) {
            case '&': out += "&amp;"; break;
            case '<': out += "&lt;"; break;
            case '>': out += "&gt;"; break;
            case '"': out += "&quot;"; break;
            case '\'': out += "&#39;"; break;
            default: out += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? ' ' : c;
        }
    }
    return out;
}

bool is_page_token(std::string_view text) {
    return !text.empty() && text.size() <= kPageTokenOctetsMax && std::ranges::all_of(text, ascii::is_alnum);
}

std::optional<std::string> token_behind(std::string_view prefix, std::string_view target) {
    if (!target.starts_with(prefix)) return std::nullopt;
    target.remove_prefix(prefix.size());
    const std::string token = ascii::to_lower(target.substr(0, target.find('?')));
    return is_page_token(token) ? std::optional(token) : std::nullopt;
}

std::string_view without_token(std::string_view target) {
    constexpr std::size_t kDigitsMax = 31;
    std::size_t digits = 0;
    for (std::size_t at = 0; at < target.size(); ++at) {
        digits = ascii::is_hex(target[at]) ? digits + 1 : 0;
        if (digits > kDigitsMax) return target.substr(0, at - kDigitsMax);
    }
    return target;
}

}  // namespace posthouse::policy
