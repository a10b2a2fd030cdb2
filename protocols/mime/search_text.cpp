#include "protocols/mime/search_text.h"

#include <unicode/uchar.h>
#include <unicode/uversion.h>

#include <cstring>
#include <vector>

#include "protocols/base/ascii.h"
#include "protocols/mime/encoded_word.h"
#include "protocols/mime/header.h"
#include "protocols/mime/html_text.h"
#include "protocols/mime/structure.h"
#include "protocols/mime/text.h"

namespace posthouse::mime {
namespace {

constexpr const char* kOwnVersion = "2";  // raise it with every change of what is found

void append_header(std::string& out, std::string_view header) {
    for (const Field& field : parse_fields(header)) {
        out += field.name;
        out += ": ";
        out += decode_encoded_words(field.raw_value);  // without line ends: a line is a field
        out += '\n';
    }
}

void append_text(std::string& out, std::string_view message, const Part& part) {
    const std::string text = decoded_text(message, part);
    out += ascii::equals_ci(part.subtype, "html") ? html_text(text) : text;
    out += '\n';
}

// Texts of all leaves and the headers of contained messages, with a stack of our own.
std::string read_body(std::string_view message, bool& has_encrypted) {
    const Structure structure = parse_structure(message);
    std::string out;
    std::vector<const Part*> waiting = {&structure.root};
    while (!waiting.empty() && out.size() < kSearchTextOctetsMax) {
        const Part& part = *waiting.back();
        waiting.pop_back();
        has_encrypted = has_encrypted || is_encrypted(part);
        if (part.is_message_rfc822 && !part.children.empty()) {
            const Part& inner = part.children.front();
            append_header(out, message.substr(inner.header_offset, inner.header_octets));
        }
        if (part.children.empty() && ascii::equals_ci(part.type, "text")) append_text(out, message, part);
        for (auto child = part.children.rbegin(); child != part.children.rend(); ++child) waiting.push_back(&*child);
    }
    return fold_for_search(out);
}

}  // namespace

std::string search_header(std::string_view header_block) {
    std::string out;
    append_header(out, header_block);
    return fold_for_search(out);
}

std::string search_body(std::string_view message) {
    bool ignored = false;
    return read_body(message, ignored);
}

SearchText search_text(std::string_view message, std::size_t header_octets) {
    SearchText out;
    out.header = search_header(message.substr(0, header_octets));
    out.body = read_body(message, out.has_encrypted);
    return out;
}

bool search_field_holds(std::string_view header, std::string_view name, std::string_view needle) {
    const std::string folded_name = fold_for_search(name);
    while (!header.empty()) {
        const std::size_t end = header.find('\n');
        const std::string_view line = header.substr(0, end);
        header.remove_prefix(end == std::string_view::npos ? header.size() : end + 1);
        const std::size_t colon = line.find(": ");  // a field name holds no colon (RFC 5322 3.6.8)
        if (colon == std::string_view::npos || line.substr(0, colon) != folded_name) continue;
        if (search_holds(line.substr(colon + 2), needle)) return true;
    }
    return false;
}

bool search_holds(std::string_view text, std::string_view needle) {
    // Not string_view::find, which stops at every occurrence of the first octet.
    return needle.empty() || ::memmem(text.data(), text.size(), needle.data(), needle.size()) != nullptr;
}

std::string search_text_version() {
    return std::string(kOwnVersion) + " ICU " + U_ICU_VERSION + " Unicode " + U_UNICODE_VERSION;
}

}  // namespace posthouse::mime
