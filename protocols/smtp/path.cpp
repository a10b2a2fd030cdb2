#include "protocols/smtp/path.h"

#include "protocols/net/address.h"
#include "protocols/smtp/limits.h"

namespace posthouse::smtp {

namespace {

// atext of RFC 5322 3.2.3; UTF8-non-ascii is added by RFC 6531 3.3.
constexpr bool is_atext(char c) {
    return ascii::is_alnum(c) || ascii::is_8bit(c) || std::string_view("!#$%&'*+-/=?^_`{|}~").contains(c);
}

Error bad(std::string_view what) { return Error(Errc::invalid, std::string(what)); }

// Quoted-string  = DQUOTE *QcontentSMTP DQUOTE                       RFC 5321 4.1.2
// qtextSMTP      = %d32-33 / %d35-91 / %d93-126 / UTF8-non-ascii
// quoted-pairSMTP = %d92 %d32-126
Result<std::string> take_quoted(Cursor& in) {
    Cursor at = in;
    if (!at.take('"')) return bad("no quoted string");
    std::string out;
    while (!at.at_end()) {
        char c = at.take_octets(1).front();
        if (c == '"') {
            in = at;
            return out;
        }
        if (c == '\\') {
            if (!ascii::is_printable(at.peek())) return bad("a backslash quotes nothing printable");
            c = at.take_octets(1).front();
        } else if (!ascii::is_printable(c) && !ascii::is_8bit(c)) {
            return bad("a control octet in a quoted string");
        }
        out.push_back(c);
        if (out.size() > kPathOctetsMax) return bad("the local part is too long");
    }
    return bad("a quoted string does not end");
}

// Local-part = Dot-string / Quoted-string
Result<std::string> take_local_part(Cursor& in) {
    if (in.peek() == '"') return take_quoted(in);
    const std::string_view text = in.take_while([](char c) { return is_atext(c) || c == '.'; });
    if (!is_dot_string(text)) return bad("the local part is no dot-string");
    return std::string(text);
}

// ( Domain / address-literal )
Result<std::string> take_host(Cursor& in) {
    if (in.peek() == '[') {
        const std::string_view rest = in.rest();
        const std::size_t end = rest.find(']');
        if (end == std::string_view::npos || !is_address_literal(rest.substr(0, end + 1))) {
            return bad("a bad address literal");
        }
        return std::string(in.take_octets(end + 1));
    }
    const std::string_view text =
        in.take_while([](char c) { return ascii::is_alnum(c) || ascii::is_8bit(c) || c == '-' || c == '.'; });
    if (!is_domain(text)) return bad("a bad domain");
    return std::string(text);
}

// Mailbox = Local-part "@" ( Domain / address-literal )
Result<Path> take_mailbox(Cursor& in) {
    const std::size_t start = in.position();
    TRY(std::string local, take_local_part(in));
    // Counted as written, quotes and backslashes included.
    if (in.position() - start > kLocalPartOctetsMax) return bad("the local part is longer than 64 octets");
    if (!in.take('@')) return bad("an address without a domain");
    TRY(std::string domain, take_host(in));
    if (in.position() - start > kPathOctetsMax - 2) return bad("the path is longer than 256 octets");
    return Path(std::move(local), std::move(domain));
}

// A-d-l = At-domain *( "," At-domain ), then ":"; accepted and ignored (RFC 5321 appendix C).
Result<> skip_route(Cursor& in) {
    if (in.peek() != '@') return {};
    const std::size_t start = in.position();
    do {
        if (!in.take('@')) return bad("a bad source route");
        TRY_VOID(take_host(in));
        if (in.position() - start > kRouteOctetsMax) return bad("the source route is too long");
    } while (in.take(','));
    if (!in.take(':')) return bad("a source route without a colon");
    return {};
}

Result<Path> take_path(Cursor& in) {
    Cursor at = in;
    if (!at.take('<')) return bad("a path begins with <");
    TRY_VOID(skip_route(at));
    TRY(Path path, take_mailbox(at));
    if (!at.take('>')) return bad("a path ends with >");
    if (!ascii::is_valid_utf8(path.local_part) || !ascii::is_valid_utf8(path.domain))
        return bad("the path is no UTF-8");
    in = at;
    return path;
}

}  // namespace

bool Path::has_utf8() const { return ascii::has_8bit(local_part) || ascii::has_8bit(domain); }

std::string Path::spec() const {
    if (is_null()) return {};
    if (domain.empty()) return local_part;
    return quote_local_part(local_part) + "@" + domain;
}

Result<Path> take_reverse_path(Cursor& in) {
    if (in.take("<>")) return Path();
    return take_path(in);
}

Result<Path> take_forward_path(Cursor& in) {
    // "<Postmaster>" without a domain, in any case (RFC 5321 4.1.1.3).
    if (in.take_word("<postmaster>")) return Path("postmaster", "");
    return take_path(in);
}

Result<Path> parse_mailbox(std::string_view text) {
    Cursor in(text);
    TRY(Path path, take_mailbox(in));
    if (!in.at_end()) return bad("octets behind the address");
    if (!ascii::is_valid_utf8(text)) return bad("the address is no UTF-8");
    return path;
}

// Domain = sub-domain *("." sub-domain);  sub-domain = Let-dig [Ldh-str] / U-label
bool is_domain(std::string_view text) {
    if (text.empty() || text.size() > kDomainOctetsMax) return false;
    while (true) {
        const std::size_t dot = text.find('.');
        const std::string_view label = text.substr(0, dot);
        if (label.empty() || label.size() > kLabelOctetsMax) return false;
        if (label.front() == '-' || label.back() == '-') return false;
        for (const char c : label) {
            if (!ascii::is_alnum(c) && c != '-' && !ascii::is_8bit(c)) return false;
        }
        if (dot == std::string_view::npos) return true;
        text.remove_prefix(dot + 1);
    }
}

bool is_address_literal(std::string_view text) {
    if (text.size() < 3 || text.front() != '[' || text.back() != ']') return false;
    text = text.substr(1, text.size() - 2);
    const bool v6 = ascii::starts_with_ci(text, "IPv6:");
    if (v6) text.remove_prefix(5);
    // RFC 5321 4.1.3: IPv6-comp has at most six groups beside "::", which so stands for two groups at least.
    if (v6 && text.contains("::")) {
        std::size_t groups = 0;
        for (std::size_t at = 0; at < text.size(); ++at) {
            if (text[at] != ':' && (at == 0 || text[at - 1] == ':')) ++groups;
        }
        if (text.contains('.')) ++groups;  // a dotted quad is two groups
        if (groups > 6) return false;
    }
    // IPv4 has no colon and no tag.
    return text.contains(':') == v6 && net::IpAddress::parse(text).has_value();
}

std::string quote_local_part(std::string_view local_part) {
    if (is_dot_string(local_part)) return std::string(local_part);
    std::string out = "\"";
    for (const char c : local_part) {
        if (c == '"' || c == '\\') out.push_back('\\');
        out.push_back(c);
    }
    out.push_back('"');
    return out;
}

bool is_dot_string(std::string_view text) {
    if (text.empty() || text.front() == '.' || text.back() == '.' || text.contains("..")) return false;
    for (const char c : text) {
        if (!is_atext(c) && c != '.') return false;
    }
    return true;
}

}  // namespace posthouse::smtp
