#include "protocols/mailauth/tag_list.h"

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"

namespace posthouse::mailauth {

namespace {

bool is_fws(char c) { return ascii::is_space(c) || c == '\r' || c == '\n'; }
// tag-name = ALPHA *ALNUMPUNC
bool is_tag_name(std::string_view name) {
    return !name.empty() && ascii::is_alpha(name.front()) &&
           std::ranges::all_of(name, [](char c) { return ascii::is_alnum(c) || c == '_'; });
}
// tval = 1*VALCHAR; VALCHAR = %x21-3A / %x3C-7E, and UTF-8 where RFC 6532 and RFC 8616 let it in.
bool is_value_octet(char c) { return is_fws(c) || (ascii::is_printable(c) && c != ';') || ascii::is_8bit(c); }

}  // namespace

// tag-list = tag-spec *( ";" tag-spec ) [ ";" ]; tag-spec = [FWS] tag-name [FWS] "=" [FWS] tag-value [FWS]
Result<TagList> TagList::parse(std::string_view text) {
    TagList list;
    Cursor in(text);
    while (!in.at_end()) {
        const std::string_view spec = in.take_until(';');
        in.take(';');
        // Blanks after the last semicolon are no tag.
        if (ascii::trim(spec).empty() && in.at_end() && !list.tags_.empty()) break;
        const std::size_t equals = spec.find('=');
        if (equals == std::string_view::npos) return Error(Errc::invalid, "a tag has no value");
        Tag tag;
        tag.name = ascii::trim(spec.substr(0, equals));
        tag.whole = spec.substr(equals + 1);
        tag.value = ascii::trim(tag.whole);
        if (!is_tag_name(tag.name)) return Error(Errc::invalid, "a tag has no proper name");
        if (!std::ranges::all_of(tag.whole, is_value_octet)) return Error(Errc::invalid, "a tag holds a control octet");
        if (list.find(tag.name) != nullptr) return Error(Errc::invalid, "a tag is given twice");
        if (list.tags_.size() == kTagsMax) return Error(Errc::invalid, "there are too many tags");
        list.tags_.push_back(tag);
    }
    if (list.tags_.empty()) return Error(Errc::invalid, "there is no tag");
    return list;
}

const Tag* TagList::find(std::string_view name) const {
    const auto found = std::ranges::find(tags_, name, &Tag::name);
    return found == tags_.end() ? nullptr : &*found;
}

std::optional<std::string_view> TagList::value(std::string_view name) const {
    const Tag* tag = find(name);
    if (tag == nullptr) return std::nullopt;
    return tag->value;
}

std::string without_fws(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (const char c : text) {
        if (!is_fws(c)) out += c;
    }
    return out;
}

std::vector<std::string_view> split_colons(std::string_view text) {
    std::vector<std::string_view> parts;
    if (ascii::trim(text).empty()) return parts;
    for (;;) {
        const std::size_t colon = text.find(':');
        parts.push_back(ascii::trim(text.substr(0, colon)));
        if (colon == std::string_view::npos) return parts;
        text.remove_prefix(colon + 1);
    }
}

}  // namespace posthouse::mailauth
