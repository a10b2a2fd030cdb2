#include "protocols/mime/parameter.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <optional>

#include "protocols/base/ascii.h"
#include "protocols/mime/charset.h"
#include "protocols/mime/encoded_word.h"
#include "protocols/mime/tokens.h"

namespace posthouse::mime {
namespace {

constexpr std::size_t kSegmentsMax = 64;

/// "name*3*" taken apart (RFC 2231 3).
struct Segment {
    std::string name;
    std::size_t index = 0;
    bool extended = false;
    std::string value;
};

/// Nothing where the name is not that of a continuation.
std::optional<Segment> split_segment(const Parameter& parameter) {
    const std::string_view name = parameter.name;
    const auto star = name.find('*');
    if (star == std::string_view::npos || star == 0 || star + 1 == name.size()) return std::nullopt;
    Segment segment;
    segment.name = name.substr(0, star);
    std::string_view index = name.substr(star + 1);
    if (index.ends_with('*')) {
        segment.extended = true;
        index.remove_suffix(1);
    }
    const auto number = ascii::parse_number(index);
    if (!number || *number >= kSegmentsMax) return std::nullopt;
    segment.index = static_cast<std::size_t>(*number);
    segment.value = parameter.value;
    return segment;
}

/// Plain text as it must stand inside an extended value (attribute-char, RFC 2231 7).
void append_percent_encoded(std::string& out, std::string_view text) {
    for (const char c : text) {
        if (is_token_char(c) && c != '*' && c != '\'' && c != '%' && !ascii::is_8bit(c))
            out.push_back(c);
        else
            out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
}

/// One parameter out of its segments, as RFC 2231 3 joins them; a gap in the numbers ends it.
Parameter join(std::vector<Segment>& segments) {
    std::sort(segments.begin(), segments.end(), [](const Segment& a, const Segment& b) { return a.index < b.index; });
    const bool extended = std::any_of(segments.begin(), segments.end(), [](const Segment& s) { return s.extended; });
    Parameter joined{.name = segments.front().name, .value = {}};
    if (extended) {
        joined.name.push_back('*');
        if (!segments.front().extended) joined.value = "''";
    }
    for (std::size_t i = 0; i < segments.size() && segments[i].index == i; ++i) {
        if (extended && !segments[i].extended)
            append_percent_encoded(joined.value, segments[i].value);
        else
            joined.value += segments[i].value;
    }
    return joined;
}

/// Joins name*0, name*1* ... where the first of them stands.
std::vector<Parameter> join_continuations(std::vector<Parameter> raw) {
    std::vector<Parameter> out;
    std::vector<bool> used(raw.size(), false);
    for (std::size_t i = 0; i < raw.size(); ++i) {
        if (used[i]) continue;
        auto first = split_segment(raw[i]);
        if (!first) {
            out.push_back(std::move(raw[i]));
            continue;
        }
        std::vector<Segment> segments{*first};
        for (std::size_t k = i + 1; k < raw.size(); ++k) {
            auto next = used[k] ? std::nullopt : split_segment(raw[k]);
            if (!next || !ascii::equals_ci(next->name, first->name)) continue;
            used[k] = true;
            segments.push_back(*std::move(next));
        }
        out.push_back(join(segments));
    }
    return out;
}

/// Up to ';'. Unquoted values of real mail hold any octet; blanks belong to the value ("name=my file.txt") unless
/// what follows them is the next parameter with its ';' forgotten.
std::string take_unquoted(Cursor& in) {
    std::string value;
    while (!in.at_end() && in.peek() != ';') {
        if (in.peek() == '(' || is_blank_or_line_end(in.peek())) {
            skip_cfws(in);
            const auto word = Cursor(in).take_while([](char c) { return c != ';' && !is_blank_or_line_end(c); });
            if (word.empty()) break;
            if (!value.empty() && word.contains('=')) {
                in.take_while([](char c) { return c != ';'; });
                break;
            }
            if (!value.empty()) value.push_back(' ');
            continue;
        }
        value += in.take_while([](char c) { return c != ';' && c != '(' && !is_blank_or_line_end(c); });
    }
    return value;
}

/// *(";" parameter), RFC 2045 5.1
std::vector<Parameter> take_parameters(Cursor& in, const Limits& limits) {
    std::vector<Parameter> out;
    while (!in.at_end() && out.size() < limits.params_max) {
        skip_cfws(in);
        if (in.take(';')) continue;
        Parameter parameter;
        parameter.name = in.take_while(
            [](char c) { return c != '=' && c != ';' && c != '"' && c != '(' && !is_blank_or_line_end(c); });
        skip_cfws(in);
        if (!in.take('=')) {  // no parameter: skip to the next one
            in.take_octets(1);
            in.take_while([](char c) { return c != ';'; });
            continue;
        }
        skip_cfws(in);
        if (in.peek() == '"') {
            parameter.value = take_quoted(in);
            in.take_while([](char c) { return c != ';'; });
        } else {
            parameter.value = take_unquoted(in);
        }
        if (!parameter.name.empty()) out.push_back(std::move(parameter));
    }
    return join_continuations(std::move(out));
}

/// The octet of "%XX" at `at`, or -1.
int percent_octet(std::string_view text, std::size_t at) {
    if (at + 2 >= text.size() || text[at] != '%') return -1;
    const int high = ascii::hex_value(text[at + 1]);
    const int low = ascii::hex_value(text[at + 2]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/// charset'language'%XX text, RFC 2231 4.
std::string decode_extended(std::string_view value) {
    std::string_view charset;
    const auto first = value.find('\'');
    const auto second = first == std::string_view::npos ? first : value.find('\'', first + 1);
    if (second != std::string_view::npos) {
        charset = value.substr(0, first);
        value = value.substr(second + 1);
    }
    std::string octets;
    for (std::size_t i = 0; i < value.size(); ++i) {
        const int octet = percent_octet(value, i);
        octets.push_back(octet < 0 ? value[i] : static_cast<char>(octet));
        if (octet >= 0) i += 2;
    }
    return to_utf8(octets, charset.empty() ? "utf-8" : charset).value_or(repair_utf8(octets));
}

/// The parameter in its plain or its extended (name*) form.
const Parameter* find_parameter(const std::vector<Parameter>& parameters, std::string_view name, bool extended) {
    for (const Parameter& p : parameters) {
        const std::string_view has = p.name;
        if (extended ? has.ends_with('*') && ascii::equals_ci(has.substr(0, has.size() - 1), name)
                     : ascii::equals_ci(has, name))
            return &p;
    }
    return nullptr;
}

}  // namespace

ContentValue parse_content_type(std::string_view field_value, const Limits& limits) {
    ContentValue out;
    Cursor in(field_value);
    skip_cfws(in);
    out.type = in.take_while(is_token_char);
    skip_cfws(in);
    if (in.take('/')) {
        skip_cfws(in);
        out.subtype = in.take_while(is_token_char);
        skip_cfws(in);
    }
    in.take_while([](char c) { return c != ';'; });
    out.parameters = take_parameters(in, limits);
    return out;
}

ContentValue parse_content_disposition(std::string_view field_value, const Limits& limits) {
    ContentValue out;
    Cursor in(field_value);
    skip_cfws(in);
    out.type = in.take_while(is_token_char);
    in.take_while([](char c) { return c != ';'; });
    out.parameters = take_parameters(in, limits);
    return out;
}

std::string parse_token_value(std::string_view field_value) {
    Cursor in(field_value);
    skip_cfws(in);
    std::string token(in.take_while(is_token_char));
    skip_cfws(in);
    return in.at_end() ? token : std::string();
}

std::string parameter_value(const std::vector<Parameter>& parameters, std::string_view name) {
    if (const Parameter* extended = find_parameter(parameters, name, true)) return decode_extended(extended->value);
    const Parameter* plain = find_parameter(parameters, name, false);
    if (plain == nullptr) return {};
    if (plain->value.contains("=?")) return decode_encoded_words(plain->value);
    return to_utf8(plain->value, "").value_or(std::string());
}

std::string_view raw_parameter(const std::vector<Parameter>& parameters, std::string_view name) {
    const Parameter* plain = find_parameter(parameters, name, false);
    if (plain == nullptr) plain = find_parameter(parameters, name, true);
    return plain == nullptr ? std::string_view() : std::string_view(plain->value);
}

}  // namespace posthouse::mime
