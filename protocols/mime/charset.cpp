#include "protocols/mime/charset.h"

#include <unicode/ucnv.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <memory>

#include "protocols/base/ascii.h"

namespace posthouse::mime {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";  // U+FFFD
constexpr std::size_t kNameOctetsMax = 40;
constexpr std::size_t kPivotUnits = 2048;

struct Alias {
    std::string_view name;
    std::string_view icu;
};
/// Names of mail that ICU does not know, and those whose senders mean the vendor's superset.
constexpr Alias kAliases[] = {
    {"iso-8859-1", "windows-1252"},
    {"latin1", "windows-1252"},
    {"iso8859-1", "windows-1252"},
    {"iso_8859-1", "windows-1252"},
    {"l1", "windows-1252"},
    {"cp-1252", "windows-1252"},
    {"iso-8859-9", "windows-1254"},
    {"iso-8859-11", "windows-874"},
    {"iso-8859-8-i", "iso-8859-8"},
    {"iso-8859-8-e", "iso-8859-8"},
    {"ks_c_5601-1987", "windows-949"},
    {"ks_c_5601", "windows-949"},
    {"euc-kr", "windows-949"},
    {"gb2312", "gb18030"},
    {"gbk", "gb18030"},
    {"x-gbk", "gb18030"},
    {"shift_jis", "windows-31j"},
    {"shift-jis", "windows-31j"},
    {"x-sjis", "windows-31j"},
    {"sjis", "windows-31j"},
    {"unicode-1-1-utf-7", "utf-7"},
    {"x-mac-roman", "macintosh"},
};

/// Names of UTF-8 that mail uses; none of them needs ICU.
bool is_utf8_name(std::string_view name) {
    return ascii::equals_ci(name, "utf-8") || ascii::equals_ci(name, "utf8") ||
           ascii::equals_ci(name, "unicode-1-1-utf-8") || ascii::equals_ci(name, "utf8mb4");
}

bool is_ascii_name(std::string_view name) {
    return name.empty() || ascii::equals_ci(name, "us-ascii") || ascii::equals_ci(name, "ascii") ||
           ascii::equals_ci(name, "ansi_x3.4-1968") || ascii::equals_ci(name, "ansi_x3.110-1983");
}

struct Close {
    void operator()(UConverter* converter) const { ucnv_close(converter); }
};
using Converter = std::unique_ptr<UConverter, Close>;

/// Only plain names reach ICU: it would take options after a comma and look for files by name.
Converter open_converter(std::string_view charset) {
    const bool sane = charset.size() <= kNameOctetsMax && std::all_of(charset.begin(), charset.end(), [](char c) {
                          return ascii::is_alnum(c) || c == '-' || c == '_' || c == '.' || c == ':' || c == '+';
                      });
    if (!sane) return nullptr;
    for (const Alias& alias : kAliases) {
        if (!ascii::equals_ci(alias.name, charset)) continue;
        charset = alias.icu;
        break;
    }
    const std::string name(charset);
    UErrorCode status = U_ZERO_ERROR;
    // A name outside ICU's table would send it to the file system, once for each word of a hostile header.
    if (ucnv_countAliases(name.c_str(), &status) == 0 || U_FAILURE(status)) return nullptr;
    status = U_ZERO_ERROR;
    Converter converter(ucnv_open(name.c_str(), &status));
    if (U_FAILURE(status)) return nullptr;
    return converter;
}

void append_code_point(std::string& out, std::uint32_t code) {
    const auto put = [&](std::uint32_t octet) { out.push_back(static_cast<char>(octet)); };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xc0U | (code >> 6U));
        put(0x80U | (code & 0x3fU));
    } else if (code < 0x10000) {
        put(0xe0U | (code >> 12U));
        put(0x80U | ((code >> 6U) & 0x3fU));
        put(0x80U | (code & 0x3fU));
    } else {
        put(0xf0U | (code >> 18U));
        put(0x80U | ((code >> 12U) & 0x3fU));
        put(0x80U | ((code >> 6U) & 0x3fU));
        put(0x80U | (code & 0x3fU));
    }
}

/// Appends UTF-16 as UTF-8; `high` carries a high surrogate from one call to the next.
void append_utf16(std::string& out, const UChar* from, const UChar* end, std::uint32_t& high) {
    for (; from < end; ++from) {
        const auto unit = static_cast<std::uint32_t>(*from);
        const bool low = unit >= 0xdc00 && unit < 0xe000;
        if (high != 0 && low)
            append_code_point(out, 0x10000 + ((high - 0xd800) << 10U) + (unit - 0xdc00));
        else if (high != 0 || low)
            out += kReplacement;
        if (high != 0 && low) {
            high = 0;
            continue;
        }
        high = unit >= 0xd800 && unit < 0xdc00 ? unit : 0;
        if (high == 0 && !low) append_code_point(out, unit);
    }
}

/// Converts through a fixed buffer, so that a short text in a wide charset cannot ask for a large allocation.
std::string convert(UConverter* converter, std::string_view text, std::size_t octets_max) {
    std::string out;
    out.reserve(std::min(text.size() + text.size() / 4, octets_max));
    const char* source = text.data();
    const char* const source_end = source + text.size();
    std::array<UChar, kPivotUnits> pivot;
    std::uint32_t high = 0;
    while (out.size() <= octets_max) {
        UChar* target = pivot.data();
        UErrorCode status = U_ZERO_ERROR;
        ucnv_toUnicode(converter, &target, pivot.data() + pivot.size(), &source, source_end, nullptr, true, &status);
        append_utf16(out, pivot.data(), target, high);
        if (status != U_BUFFER_OVERFLOW_ERROR) break;  // done; wrong octets were replaced on the way
    }
    if (high != 0) out += kReplacement;
    return std::string(cut_utf8(out, octets_max));
}

/// ICU turns the minus sign of JIS X 0208 (row 1, cell 61) into its full-width twin; the standard says U+2212.
void restore_minus(std::string& utf8) {
    constexpr std::string_view kFullWidth = "\xEF\xBC\x8D";
    constexpr std::string_view kMinus = "\xE2\x88\x92";
    for (auto at = utf8.find(kFullWidth); at != std::string::npos; at = utf8.find(kFullWidth, at))
        utf8.replace(at, kMinus.size(), kMinus);
}

/// Octets of the well-formed UTF-8 sequence at the start of `text`, or 0 (RFC 3629 4).
std::size_t sequence_octets(std::string_view text) {
    const auto lead = static_cast<unsigned char>(text.front());
    if (lead < 0x80) return 1;
    const std::size_t length = lead >= 0xf0 ? 4 : (lead >= 0xe0 ? 3 : 2);
    return ascii::is_valid_utf8(text.substr(0, length)) && text.size() >= length ? length : 0;
}

}  // namespace

std::optional<std::string> to_utf8(std::string_view text, std::string_view charset, std::size_t octets_max) {
    charset = ascii::trim(charset);
    if (is_utf8_name(charset)) return std::string(cut_utf8(repair_utf8(cut_utf8(text, octets_max)), octets_max));
    if (is_ascii_name(charset)) {
        if (!ascii::has_8bit(text)) return std::string(text.substr(0, octets_max));
        // Undeclared 8-bit text is UTF-8 today, else the western code page.
        if (ascii::is_valid_utf8(text)) return std::string(cut_utf8(text, octets_max));
        charset = "windows-1252";
    }
    const Converter converter = open_converter(charset);
    if (!converter) return std::nullopt;
    std::string out = convert(converter.get(), text, octets_max);
    if (ascii::starts_with_ci(charset, "iso-2022-jp")) restore_minus(out);
    return out;
}

bool is_known_charset(std::string_view charset) {
    return is_utf8_name(charset) || is_ascii_name(charset) || open_converter(charset) != nullptr;
}

std::string repair_utf8(std::string_view text) {
    if (ascii::is_valid_utf8(text)) return std::string(text);
    std::string out;
    out.reserve(text.size() + 16);
    while (!text.empty()) {
        const std::size_t good = sequence_octets(text);
        if (good > 0)
            out += text.substr(0, good);
        else
            out += kReplacement;
        text.remove_prefix(std::max<std::size_t>(good, 1));
    }
    return out;
}

std::string_view cut_utf8(std::string_view utf8, std::size_t octets_max) {
    if (utf8.size() <= octets_max) return utf8;
    std::size_t end = octets_max;
    for (int back = 0; back < 3 && end > 0 && (static_cast<unsigned char>(utf8[end]) & 0xc0U) == 0x80; ++back) --end;
    return utf8.substr(0, end);
}

}  // namespace posthouse::mime
