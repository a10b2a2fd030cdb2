#include "protocols/mime/html_text.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdint>
#include <optional>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"

namespace posthouse::mime {
namespace {

struct Reference {
    std::string_view name;
    std::uint32_t code = 0;
};

// The named references that mail programs write, by name (bytewise).
constexpr std::array kReferences = std::to_array<Reference>({
    {"AElig", 0xc6},   {"Aacute", 0xc1},  {"Acirc", 0xc2},   {"Agrave", 0xc0},   {"Aring", 0xc5},   {"Atilde", 0xc3},
    {"Auml", 0xc4},    {"Ccedil", 0xc7},  {"ETH", 0xd0},     {"Eacute", 0xc9},   {"Ecirc", 0xca},   {"Egrave", 0xc8},
    {"Euml", 0xcb},    {"Iacute", 0xcd},  {"Icirc", 0xce},   {"Igrave", 0xcc},   {"Iuml", 0xcf},    {"Ntilde", 0xd1},
    {"OElig", 0x152},  {"Oacute", 0xd3},  {"Ocirc", 0xd4},   {"Ograve", 0xd2},   {"Oslash", 0xd8},  {"Otilde", 0xd5},
    {"Ouml", 0xd6},    {"Scaron", 0x160}, {"THORN", 0xde},   {"Uacute", 0xda},   {"Ucirc", 0xdb},   {"Ugrave", 0xd9},
    {"Uuml", 0xdc},    {"Yacute", 0xdd},  {"aacute", 0xe1},  {"acirc", 0xe2},    {"acute", 0xb4},   {"aelig", 0xe6},
    {"agrave", 0xe0},  {"amp", 0x26},     {"apos", 0x27},    {"aring", 0xe5},    {"atilde", 0xe3},  {"auml", 0xe4},
    {"bdquo", 0x201e}, {"bull", 0x2022},  {"ccedil", 0xe7},  {"cent", 0xa2},     {"copy", 0xa9},    {"deg", 0xb0},
    {"eacute", 0xe9},  {"ecirc", 0xea},   {"egrave", 0xe8},  {"eth", 0xf0},      {"euml", 0xeb},    {"euro", 0x20ac},
    {"frac12", 0xbd},  {"frac14", 0xbc},  {"gt", 0x3e},      {"hellip", 0x2026}, {"iacute", 0xed},  {"icirc", 0xee},
    {"iexcl", 0xa1},   {"igrave", 0xec},  {"iquest", 0xbf},  {"iuml", 0xef},     {"laquo", 0xab},   {"ldquo", 0x201c},
    {"lsquo", 0x2018}, {"lt", 0x3c},      {"mdash", 0x2014}, {"micro", 0xb5},    {"middot", 0xb7},  {"nbsp", 0x20},
    {"ndash", 0x2013}, {"ntilde", 0xf1},  {"oacute", 0xf3},  {"ocirc", 0xf4},    {"oelig", 0x153},  {"ograve", 0xf2},
    {"ordf", 0xaa},    {"ordm", 0xba},    {"oslash", 0xf8},  {"otilde", 0xf5},   {"ouml", 0xf6},    {"para", 0xb6},
    {"plusmn", 0xb1},  {"pound", 0xa3},   {"quot", 0x22},    {"raquo", 0xbb},    {"rdquo", 0x201d}, {"reg", 0xae},
    {"rsquo", 0x2019}, {"scaron", 0x161}, {"sect", 0xa7},    {"shy", 0xad},      {"sup2", 0xb2},    {"sup3", 0xb3},
    {"szlig", 0xdf},   {"thorn", 0xfe},   {"times", 0xd7},   {"trade", 0x2122},  {"uacute", 0xfa},  {"ucirc", 0xfb},
    {"ugrave", 0xf9},  {"uuml", 0xfc},    {"yacute", 0xfd},  {"yen", 0xa5},      {"yuml", 0xff},    {"zwnj", 0x200c},
});
static_assert(std::ranges::is_sorted(kReferences, {}, &Reference::name));

// Tags that run on within a word; all others part what stands before them from what stands after.
constexpr std::array<std::string_view, 22> kInline = {"a",    "abbr",   "acronym", "b",   "bdi", "bdo", "big", "code",
                                                      "del",  "em",     "font",    "i",   "ins", "kbd", "s",   "small",
                                                      "span", "strike", "strong",  "sub", "sup", "u"};
constexpr std::size_t kReferenceOctetsMax = 12;

void append_utf8(std::string& out, std::uint32_t code) {
    const auto put = [&](std::uint32_t octet) { out += static_cast<char>(octet); };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xc0 | (code >> 6));
        put(0x80 | (code & 0x3f));
    } else if (code < 0x10000) {
        put(0xe0 | (code >> 12));
        put(0x80 | ((code >> 6) & 0x3f));
        put(0x80 | (code & 0x3f));
    } else {
        put(0xf0 | (code >> 18));
        put(0x80 | ((code >> 12) & 0x3f));
        put(0x80 | ((code >> 6) & 0x3f));
        put(0x80 | (code & 0x3f));
    }
}

// "#233", "#xE9", "eacute"
std::optional<std::uint32_t> code_of(std::string_view name) {
    if (name.starts_with('#')) {
        name.remove_prefix(1);
        const bool hex = name.starts_with('x') || name.starts_with('X');
        if (hex) name.remove_prefix(1);
        std::uint32_t code = 0;
        const auto [end, failed] = std::from_chars(name.data(), name.data() + name.size(), code, hex ? 16 : 10);
        const bool read = failed == std::errc() && end == name.data() + name.size() && !name.empty();
        const bool surrogate = code >= 0xd800 && code < 0xe000;
        if (!read || code == 0 || code > 0x10ffff || surrogate) return std::nullopt;
        return code;
    }
    const auto at = std::ranges::lower_bound(kReferences, name, {}, &Reference::name);
    if (at == kReferences.end() || at->name != name) return std::nullopt;
    return at->code;
}

/// Where a word may be broken into lines, or not: nobody sees or types it, and i;unicode-casemap knows of no such.
struct Hint {
    std::uint32_t code;
    std::string_view octets;
};
constexpr auto kHints = std::to_array<Hint>({
    {0xad, "\xc2\xad"},        // soft hyphen
    {0x200b, "\xe2\x80\x8b"},  // zero width space
    {0x2060, "\xe2\x81\xa0"},  // word joiner
    {0xfeff, "\xef\xbb\xbf"},  // the same of old, and byte order mark
});

class Reader {
 public:
    explicit Reader(std::string_view html) : in_(html) { out_.reserve(html.size() / 2); }

    std::string run() {
        while (at_ < in_.size()) {
            const char c = in_[at_];
            if (c == '<' && take_markup()) continue;
            if (c == '&' && take_reference()) continue;
            if (ascii::is_8bit(c) && take_hint()) continue;
            ++at_;
            put(c);
        }
        return std::move(out_);
    }

 private:
    void put(char c) {
        if (c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\f') return blank();
        out_ += c;
    }
    void blank() {
        if (!out_.empty() && out_.back() != ' ') out_ += ' ';
    }

    bool take_markup() {
        const std::string_view rest = in_.substr(at_);
        if (rest.starts_with("<!--")) return skip_behind("-->");
        if (rest.size() < 2) return false;
        const char next = rest[1];
        if (next == '!' || next == '?') return skip_behind(">");
        if (next != '/' && !ascii::is_alpha(next)) return false;
        return take_tag();
    }

    // A mark that was not found once is nowhere further on: looking again would be quadratic.
    bool skip_behind(std::string_view mark) {
        bool& missing = mark.size() == 1 ? no_close_ : no_comment_end_;
        const std::size_t end = missing ? std::string_view::npos : in_.find(mark, at_);
        missing = end == std::string_view::npos;
        if (missing) return false;
        at_ = end + mark.size();
        return true;
    }

    // "<" ["/"] name attributes ">"; a ">" between quotes does not end it.
    bool take_tag() {
        if (no_close_) return false;
        std::size_t end = at_ + 1;
        for (char quote = '\0'; end < in_.size(); ++end) {
            const char c = in_[end];
            if (quote != '\0') {
                if (c == quote) quote = '\0';
            } else if (c == '>') {
                break;
            } else if ((c == '"' || c == '\'') && in_[end - 1] == '=') {
                quote = c;
            }
        }
        if (end == in_.size()) {
            no_close_ = true;
            return false;
        }
        std::string_view tag = in_.substr(at_ + 1, end - at_ - 1);
        const bool closing = tag.starts_with('/');
        if (closing) tag.remove_prefix(1);
        const std::string name = ascii::to_lower(tag.substr(0, tag.find_first_of(" \t\r\n/")));
        at_ = end + 1;
        if (!closing && (name == "script" || name == "style")) skip_element(name);
        if (std::ranges::find(kInline, name) == kInline.end()) blank();
        return true;
    }

    // To the end tag of script or style, whose text is no text; where there is none, to the end.
    void skip_element(const std::string& name) {
        for (std::size_t at = in_.find("</", at_); at != std::string_view::npos; at = in_.find("</", at + 2)) {
            if (!ascii::starts_with_ci(in_.substr(at + 2), name)) continue;
            at_ = at;
            return;
        }
        at_ = in_.size();
    }

    bool take_reference() {
        const std::string_view near = in_.substr(at_ + 1, kReferenceOctetsMax);
        const std::size_t end = near.find(';');
        if (end == std::string_view::npos) return false;
        const auto code = code_of(near.substr(0, end));
        if (!code) return false;
        at_ += end + 2;
        // A no-break space must not part what a reader would search for.
        if (*code < 0x80 || *code == 0xa0)
            put(*code == 0xa0 ? ' ' : static_cast<char>(*code));
        else if (std::ranges::find(kHints, *code, &Hint::code) == kHints.end())
            append_utf8(out_, *code);
        return true;
    }

    bool take_hint() {
        const std::string_view rest = in_.substr(at_);
        const auto hint = std::ranges::find_if(kHints, [&](const Hint& one) { return rest.starts_with(one.octets); });
        if (hint == kHints.end()) return false;
        at_ += hint->octets.size();
        return true;
    }

    std::string_view in_;
    std::size_t at_ = 0;
    std::string out_;
    bool no_close_ = false;
    bool no_comment_end_ = false;
};

}  // namespace

std::string html_text(std::string_view html) { return Reader(html).run(); }

}  // namespace posthouse::mime
