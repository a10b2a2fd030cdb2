#include "protocols/mime/preview.h"

#include <vector>

#include "protocols/base/ascii.h"
#include "protocols/mime/html_text.h"
#include "protocols/mime/text.h"

namespace posthouse::mime {

namespace {

bool is_html(const Part& part) { return ascii::equals_ci(part.subtype, "html"); }

bool is_shown_text(const Part& part) {
    if (!part.children.empty() || !ascii::equals_ci(part.type, "text")) return false;
    if (part.disposition && ascii::equals_ci(*part.disposition, "attachment")) return false;
    return is_html(part) || ascii::equals_ci(part.subtype, "plain");
}

// Without lines that quote somebody else, up to the signature (RFC 3676 4.3, 4.5).
std::string own_lines(std::string_view text) {
    std::string out;
    while (!text.empty()) {
        const std::size_t end = text.find('\n');
        std::string_view line = text.substr(0, end);
        text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
        if (line.ends_with('\r')) line.remove_suffix(1);
        if (line == "-- ") break;
        if (line.starts_with('>')) continue;
        out += line;
        out += ' ';
    }
    return out;
}

bool is_blank(char c) { return static_cast<unsigned char>(c) <= ' ' || c == '\x7f'; }
bool begins_character(char c) { return (static_cast<unsigned char>(c) & 0xc0U) != 0x80U; }

}  // namespace

const Part* preview_part(const Structure& structure) {
    const Part* html = nullptr;
    std::vector<const Part*> waiting = {&structure.root};
    while (!waiting.empty()) {
        const Part& part = *waiting.back();
        waiting.pop_back();
        if (is_encrypted(part)) return nullptr;
        if (is_shown_text(part)) {
            if (!is_html(part)) return &part;
            if (html == nullptr) html = &part;
        }
        for (auto child = part.children.rbegin(); child != part.children.rend(); ++child) waiting.push_back(&*child);
    }
    return html;
}

std::string preview_text(std::string_view body, const Part& part) {
    Part whole = part;
    whole.children.clear();
    whole.body_offset = 0;
    whole.body_octets = body.size();
    const std::string decoded = decoded_text(body, whole);
    const std::string text = is_html(part) ? html_text(decoded) : own_lines(decoded);
    std::string out;
    std::size_t characters = 0;
    bool blank = false;
    for (const char c : text) {
        if (is_blank(c)) {
            blank = !out.empty();
            continue;
        }
        if (begins_character(c)) {
            const std::size_t more = blank ? 2 : 1;
            if (characters + more > kPreviewCharactersMax) break;
            characters += more;
            if (blank) out += ' ';
            blank = false;
        }
        out += c;
    }
    return out;
}

}  // namespace posthouse::mime
