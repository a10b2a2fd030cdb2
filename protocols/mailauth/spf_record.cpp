#include "protocols/mailauth/spf_record.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"

namespace posthouse::mailauth {

std::string_view to_string(SpfResult result) {
    constexpr std::array<std::string_view, 7> kNames = {"none",     "neutral",   "pass",     "fail",
                                                        "softfail", "temperror", "permerror"};
    return kNames[static_cast<std::size_t>(result)];
}

bool is_spf_record(std::string_view text) {
    return ascii::starts_with_ci(text, "v=spf1") && (text.size() == 6 || text[6] == ' ');
}

namespace {

struct Mechanism {
    std::string_view name;
    SpfTerm::Kind kind;
};
constexpr Mechanism kMechanisms[] = {{"all", SpfTerm::Kind::all}, {"include", SpfTerm::Kind::include},
                                     {"a", SpfTerm::Kind::a},     {"mx", SpfTerm::Kind::mx},
                                     {"ptr", SpfTerm::Kind::ptr}, {"ip4", SpfTerm::Kind::ip4},
                                     {"ip6", SpfTerm::Kind::ip6}, {"exists", SpfTerm::Kind::exists}};

Error bad(std::string_view term, std::string_view why) {
    return Error(Errc::invalid, fmt::format("\"{}\": {}", term.substr(0, 80), why));
}

// ip4-cidr-length = "/" ("0" / %x31-39 0*1DIGIT)    ip6-cidr-length = "/" ("0" / %x31-39 0*2DIGIT)   RFC 7208 5.6
// Takes the number behind the last slash off `text`; nothing where there is none, Errc::invalid where it is no length.
Result<std::optional<unsigned>> take_bits(std::string_view& text, std::string_view slash, unsigned most) {
    const std::size_t digits = text.size() - (text.find_last_not_of("0123456789") + 1);
    const std::string_view number = text.substr(text.size() - digits);
    const std::string_view before = text.substr(0, text.size() - digits);
    if (!before.ends_with(slash)) return std::optional<unsigned>();
    if (number.empty() || (number.size() > 1 && number.front() == '0'))
        return Error(Errc::invalid, "bad prefix length");
    const auto value = ascii::parse_number(number);
    if (!value || *value > most) return Error(Errc::invalid, "the prefix length is too large");
    text = before.substr(0, before.size() - slash.size());
    return std::optional<unsigned>(static_cast<unsigned>(*value));
}

// [ip4-cidr-length] ["/" ip6-cidr-length]
Result<> take_dual_bits(std::string_view& text, SpfTerm& term) {
    TRY(const auto six, take_bits(text, "//", 128));
    if (six) term.bits6 = *six;
    TRY(const auto four, take_bits(text, "/", 32));
    if (four) term.bits4 = *four;
    return {};
}

Result<SpfTerm> parse_network(SpfTerm term, std::string_view arguments) {
    const bool four = term.kind == SpfTerm::Kind::ip4;
    if (!arguments.starts_with(':')) return bad(term.text, "an address is missing");
    arguments.remove_prefix(1);
    auto bits = take_bits(arguments, "/", four ? 32 : 128);
    if (!bits) return bad(term.text, bits.error().context);
    const auto address = net::IpAddress::parse(arguments);
    if (!address) return bad(term.text, "not an address");
    // An IPv4-mapped address under ip6: can match no client, as clients are unmapped first (RFC 7208 5).
    const bool is_four = address->family() == net::IpAddress::Family::v4;
    if (four != is_four && (four || !arguments.contains(':'))) return bad(term.text, "an address of the other family");
    term.network = *address;
    (four ? term.bits4 : term.bits6) = bits->value_or(four ? 32 : 128);
    return term;
}

Result<SpfTerm> parse_mechanism(std::string_view text) {
    SpfTerm term;
    term.text = text;
    constexpr std::string_view kQualifiers = "+-?~";
    constexpr SpfResult kResults[] = {SpfResult::pass, SpfResult::fail, SpfResult::neutral, SpfResult::softfail};
    std::string_view rest = text;
    if (const std::size_t at = kQualifiers.find(rest.front()); at != std::string_view::npos) {
        term.result = kResults[at];
        rest.remove_prefix(1);
    }
    const std::string_view name = rest.substr(0, rest.find_first_of(":/"));
    std::string_view arguments = rest.substr(name.size());
    const auto* const known =
        std::ranges::find_if(kMechanisms, [&](const Mechanism& m) { return ascii::equals_ci(m.name, name); });
    if (known == std::end(kMechanisms)) return bad(text, "no such mechanism");
    term.kind = known->kind;
    using Kind = SpfTerm::Kind;
    if (term.kind == Kind::ip4 || term.kind == Kind::ip6) return parse_network(std::move(term), arguments);
    if (term.kind == Kind::all) {
        if (!arguments.empty()) return bad(text, "\"all\" takes nothing");
        return term;
    }
    if (term.kind == Kind::a || term.kind == Kind::mx) {
        if (const auto taken = take_dual_bits(arguments, term); !taken) return bad(text, taken.error().context);
    }
    const bool required = term.kind == Kind::include || term.kind == Kind::exists;
    if (arguments.empty() && !required) return term;
    if (!arguments.starts_with(':')) return bad(text, required ? "a domain is missing" : "bad arguments");
    arguments.remove_prefix(1);
    if (!is_spf_macro_string(arguments, SpfMacroUse::domain)) return bad(text, "not a domain");
    term.domain = arguments;
    return term;
}

// modifier = name "=" macro-string;  name = ALPHA *( ALPHA / DIGIT / "-" / "_" / "." )          RFC 7208 4.6.1
bool is_modifier(std::string_view term) {
    const std::size_t equals = term.find('=');
    if (equals == std::string_view::npos || equals == 0 || !ascii::is_alpha(term.front())) return false;
    return std::ranges::all_of(term.substr(0, equals),
                               [](char c) { return ascii::is_alnum(c) || c == '-' || c == '_' || c == '.'; });
}

Result<> add_modifier(SpfRecord& record, std::string_view term) {
    const std::string_view name = term.substr(0, term.find('='));
    const std::string_view value = term.substr(name.size() + 1);
    auto* const place = ascii::equals_ci(name, "redirect") ? &record.redirect
                        : ascii::equals_ci(name, "exp")    ? &record.explanation
                                                           : nullptr;
    if (place == nullptr) {
        if (!is_spf_macro_string(value, SpfMacroUse::explanation)) return bad(term, "bad macro");
        return {};  // RFC 7208 6: unknown ones are ignored
    }
    if (*place) return bad(term, "given twice");
    if (!is_spf_macro_string(value, SpfMacroUse::domain)) return bad(term, "not a domain");
    *place = std::string(value);
    return {};
}

// toplabel = ( *alphanum ALPHA *alphanum ) / ( 1*alphanum "-" *( alphanum / "-" ) alphanum )    RFC 7208 7.1
bool is_top_label(std::string_view label) {
    if (label.empty() || label.front() == '-' || label.back() == '-') return false;
    if (!std::ranges::all_of(label, [](char c) { return ascii::is_alnum(c) || c == '-'; })) return false;
    return !std::ranges::all_of(label, ascii::is_digit);
}

// One macro behind "%{": letter, digits, "r", delimiters.
struct Macro {
    char letter = 0;
    std::size_t digits = 0;  // 0: all
    bool reversed = false;
    std::string delimiters;
};

// macro-expand = ( "%{" macro-letter transformers *delimiter "}" )
std::optional<Macro> take_macro(Cursor& in, SpfMacroUse use) {
    Macro out;
    out.letter = in.peek();
    const std::string_view letters = use == SpfMacroUse::domain ? "slodiphv" : "slodiphvcrt";
    if (!letters.contains(ascii::lower(out.letter)) || !in.take(out.letter)) return std::nullopt;
    const std::string_view digits = in.take_while(ascii::is_digit);
    if (!digits.empty()) {
        const auto count = ascii::parse_number(digits);
        if (!count || *count == 0) return std::nullopt;
        out.digits = static_cast<std::size_t>(std::min<std::uint64_t>(*count, 128));
    }
    if (in.peek() == 'r' || in.peek() == 'R') out.reversed = in.take(in.peek());
    out.delimiters = in.take_while([](char c) { return std::string_view(".-+,/_=").contains(c) && c != '\0'; });
    if (!in.take('}')) return std::nullopt;
    return out;
}

std::string escape_url(std::string_view text) {
    std::string out;
    for (const char c : text) {
        const bool plain = ascii::is_alnum(c) || c == '-' || c == '.' || c == '_' || c == '~';
        out += plain ? std::string(1, c) : fmt::format("%{:02X}", static_cast<unsigned char>(c));
    }
    return out;
}

// IPv6 as nibbles with dots (RFC 7208 7.3).
std::string dotted(const net::IpAddress& address) {
    if (address.family() == net::IpAddress::Family::v4) return address.to_string();
    std::string out;
    for (const std::uint8_t octet : address.octets()) {
        out += fmt::format("{}{:X}.{:X}", out.empty() ? "" : ".", octet >> 4U, octet & 15U);
    }
    return out;
}

std::string value_of(char letter, const SpfMacroValues& values) {
    switch (letter) {
        case 's': return values.sender_local + "@" + values.sender_domain;
        case 'l': return values.sender_local;
        case 'o': return values.sender_domain;
        case 'd': return values.domain;
        case 'i': return dotted(values.client);
        case 'p': return values.client_name;
        case 'h': return values.helo;
        case 'v': return values.client.family() == net::IpAddress::Family::v4 ? "in-addr" : "ip6";
        case 'c': return values.client.to_string();
        case 'r': return values.receiver;
        case 't': return std::to_string(values.now_seconds);
        default: return "";
    }
}

std::string transform(const Macro& macro, std::string value) {
    if (macro.digits == 0 && !macro.reversed && macro.delimiters.empty()) return value;
    const std::string delimiters = macro.delimiters.empty() ? "." : macro.delimiters;
    std::vector<std::string> parts(1);
    for (const char c : value) {
        if (delimiters.contains(c))
            parts.emplace_back();
        else
            parts.back() += c;
    }
    if (macro.reversed) std::ranges::reverse(parts);
    const std::size_t skipped = macro.digits == 0 || macro.digits >= parts.size() ? 0 : parts.size() - macro.digits;
    std::string out;
    for (std::size_t i = skipped; i < parts.size(); ++i) out += (i == skipped ? "" : ".") + parts[i];
    return out;
}

}  // namespace

bool is_spf_macro_string(std::string_view text, SpfMacroUse use) {
    bool ends_with_macro = false;
    for (Cursor in(text); !in.at_end();) {
        ends_with_macro = false;
        const char c = in.peek();
        if (in.take("%{")) {
            if (!take_macro(in, use)) return false;
            ends_with_macro = true;
        } else if (in.take('%')) {
            const char second = in.peek();
            if ((second != '%' && second != '_' && second != '-') || !in.take(second)) return false;
            ends_with_macro = true;
        } else {
            const bool visible = c > 0x20 && c <= 0x7e;
            if (!visible && !(use == SpfMacroUse::explanation && c == ' ')) return false;
            in.take(c);
        }
    }
    if (use == SpfMacroUse::explanation || ends_with_macro) return true;
    if (text.ends_with('.')) text.remove_suffix(1);
    const std::size_t dot = text.rfind('.');
    return dot != std::string_view::npos && is_top_label(text.substr(dot + 1));
}

std::string expand_spf_macros(std::string_view text, const SpfMacroValues& values, SpfMacroUse use) {
    std::string out;
    for (Cursor in(text); !in.at_end();) {
        if (in.take("%{")) {
            const auto macro = take_macro(in, use);
            if (!macro) return out;
            const std::string value = transform(*macro, value_of(ascii::lower(macro->letter), values));
            out += ascii::is_upper(macro->letter) ? escape_url(value) : value;
        } else if (in.take("%%")) {
            out += '%';
        } else if (in.take("%_")) {
            out += ' ';
        } else if (in.take("%-")) {
            out += "%20";
        } else {
            out += in.take_octets(1);
        }
    }
    if (use == SpfMacroUse::explanation) return out;
    if (out.ends_with('.')) out.pop_back();
    while (out.size() > 253 && out.contains('.')) out.erase(0, out.find('.') + 1);
    return out;
}

bool wants_client_name(std::string_view text) { return ascii::find_ci(text, "%{p") != std::string_view::npos; }

Result<SpfRecord> parse_spf_record(std::string_view text) {
    if (!is_spf_record(text)) return Error(Errc::invalid, "it is no SPF record");
    if (text.size() > kSpfRecordOctetsMax) return Error(Errc::invalid, "the SPF record is too long");
    SpfRecord out;
    std::size_t count = 0;
    for (Cursor in(text.substr(6)); !in.at_end();) {
        in.take_while([](char c) { return c == ' '; });
        const std::string_view term = in.take_until(' ');
        if (term.empty()) continue;
        if (++count > kSpfTermsMax) return Error(Errc::invalid, "the SPF record has too many terms");
        if (is_modifier(term)) {
            TRY_VOID(add_modifier(out, term));
            continue;
        }
        TRY(SpfTerm mechanism, parse_mechanism(term));
        out.terms.push_back(std::move(mechanism));
    }
    return out;
}

}  // namespace posthouse::mailauth
