#include "protocols/smtp/capabilities.h"

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"

namespace posthouse::smtp {

namespace {

constexpr std::size_t kMechanismsMax = 32;

std::string_view take_word(Cursor& in) {
    in.skip_blanks();
    return in.take_while([](char c) { return !ascii::is_space(c); });
}

void read_auth(Capabilities& out, Cursor& in) {
    for (std::string_view word = take_word(in); !word.empty(); word = take_word(in)) {
        std::string name = ascii::to_upper(word);
        if (out.auth.size() < kMechanismsMax && !out.has_auth(name)) out.auth.push_back(std::move(name));
    }
}

// LIMITS MAILMAX=100 RCPTMAX=1000                                    RFC 9422 4
void read_limits(Capabilities& out, Cursor& in) {
    for (std::string_view word = take_word(in); !word.empty(); word = take_word(in)) {
        const std::size_t equals = word.find('=');
        if (equals == std::string_view::npos) continue;
        const auto value = ascii::parse_number(word.substr(equals + 1));
        if (!value || *value == 0) continue;
        if (ascii::equals_ci(word.substr(0, equals), "MAILMAX")) out.mail_max = *value;
        if (ascii::equals_ci(word.substr(0, equals), "RCPTMAX")) out.recipients_max = *value;
    }
}

struct FlagKeyword {
    std::string_view keyword;
    bool Capabilities::* member;
};
constexpr FlagKeyword kFlags[] = {
    {"PIPELINING", &Capabilities::pipelining},
    {"8BITMIME", &Capabilities::eight_bit_mime},
    {"SMTPUTF8", &Capabilities::smtputf8},
    {"CHUNKING", &Capabilities::chunking},
    {"BINARYMIME", &Capabilities::binary_mime},
    {"STARTTLS", &Capabilities::starttls},
    {"DSN", &Capabilities::dsn},
    {"ENHANCEDSTATUSCODES", &Capabilities::enhanced_status_codes},
    {"REQUIRETLS", &Capabilities::require_tls},
};

void read_line(Capabilities& out, std::string_view line) {
    Cursor in(line);
    if (in.take_word("AUTH=")) return read_auth(out, in);  // before RFC 4954, still spoken
    const std::string_view keyword = take_word(in);
    for (const FlagKeyword& row : kFlags) {
        if (ascii::equals_ci(keyword, row.keyword)) out.*row.member = true;
    }
    if (ascii::equals_ci(keyword, "SIZE")) {
        out.size = true;
        out.size_octets_max = ascii::parse_number(take_word(in)).value_or(0);
    }
    if (ascii::equals_ci(keyword, "AUTH")) read_auth(out, in);
    if (ascii::equals_ci(keyword, "LIMITS")) read_limits(out, in);
}

}  // namespace

bool Capabilities::has_auth(std::string_view mechanism) const {
    return std::ranges::any_of(auth, [&](const std::string& name) { return ascii::equals_ci(name, mechanism); });
}

Capabilities parse_capabilities(const Reply& reply) {
    Capabilities out;
    for (std::size_t i = 0; i < reply.lines.size(); ++i) {
        if (i == 0) {
            out.greeting = reply.lines[0];
        } else {
            read_line(out, reply.lines[i]);
        }
    }
    return out;
}

}  // namespace posthouse::smtp
