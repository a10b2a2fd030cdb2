#include "protocols/mime/address.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "protocols/base/ascii.h"
#include "protocols/mime/encoded_word.h"
#include "protocols/mime/tokens.h"

namespace posthouse::mime {
namespace {

/// Reads one address list leniently. Each step consumes at least one octet, so the whole is linear.
class ListReader {
 public:
    ListReader(std::string_view text, const Limits& limits) : text_(text), in_(text), limits_(limits) {}

    std::vector<Address> read() {
        while (!in_.at_end() && out_.size() < limits_.addresses_max) read_one();
        if (in_group_) end_group();
        return std::move(out_);
    }

 private:
    /// CFWS; the text of a comment is kept, since old software puts the name there (RFC 822 era).
    bool skip() {
        const std::size_t start = in_.position();
        while (!in_.at_end()) {
            if (in_.peek() == '(')
                comment_ = take_comment(in_);
            else if (is_blank_or_line_end(in_.peek()))
                in_.take_while(is_blank_or_line_end);
            else
                break;
        }
        return in_.position() != start;
    }

    /// address = mailbox / group, or whatever stands between two separators.
    void read_one() {
        phrase_.clear();
        local_.clear();
        comment_.clear();
        skip();
        if (in_.take(',')) return;
        if (in_.take(';')) {
            if (in_group_) end_group();
            return;
        }
        start_ = in_.position();
        read_phrase();
        finish_one();
    }

    /// Words up to a delimiter. `phrase_` keeps one blank where there was white space; `local_` holds only what may
    /// be a local part: words joined by dots, the latest run of them.
    void read_phrase() {
        bool gap = false;
        bool dot = true;
        while (!in_.at_end()) {
            const char c = in_.peek();
            if (c == '<' || c == '@' || c == ',' || c == ';' || c == ':') return;
            if (skip()) {
                gap = true;
                continue;
            }
            std::string word;
            if (c == '"')
                word = take_quoted(in_);
            else if (is_atext(c))
                word = in_.take_while(is_atext);
            else
                word = in_.take_octets(1);
            if (gap && !phrase_.empty()) phrase_.push_back(' ');
            if (gap && !dot && word != ".") local_.clear();
            dot = word == "." && c == '.';
            phrase_ += word;
            local_ += word;
            gap = false;
        }
    }

    /// A delimiter follows the words in `phrase_`: it says what they were.
    void finish_one() {
        if (in_.take(':')) {
            if (!in_group_ && !phrase_.empty()) start_group();
            return;
        }
        Address address;
        if (in_.take('@')) {
            address.local_part = std::move(local_);
            address.domain = take_domain();
            const std::size_t end = in_.position();
            skip();
            if (in_.peek() == '<') {  // an unquoted address as the name of another: info@a.example <b@c.example>
                phrase_ = text_.substr(start_, end - start_);
                address = Address{};
            } else {
                phrase_.clear();
            }
        }
        if (in_.take('<')) {
            read_angle(address);
            address.display_name = std::move(phrase_);
            if (in_.at_end() || in_.peek() != ',') skip();
        } else if (address.domain.empty() && address.local_part.empty()) {
            if (phrase_.empty()) return skip_to_separator();  // only a comment or blanks
            // No address at all: one word may be a local name, several are a name without an address.
            if (phrase_.find(' ') == std::string::npos)
                address.local_part = std::move(phrase_);
            else
                address.display_name = std::move(phrase_);
        }
        skip_to_separator();
        if (address.display_name.empty()) address.display_name = std::move(comment_);
        out_.push_back(std::move(address));
    }

    /// obs-angle-addr, RFC 5322 4.4: "<" [route] addr-spec ">".
    void read_angle(Address& address) {
        skip();
        if (in_.peek() == '@') {
            const std::string_view route = in_.take_while([](char c) { return c != ':' && c != '>' && c != '<'; });
            if (in_.take(':')) {
                for (const char c : route)
                    if (!is_blank_or_line_end(c)) address.route.push_back(c);
            } else {  // no colon: what looked like a route is an address without a local part
                address.domain = ascii::trim(route.substr(1));
            }
        }
        while (!in_.at_end() && in_.peek() != '>' && in_.peek() != '@' && in_.peek() != ',') {
            if (skip()) continue;
            if (in_.peek() == '"')
                address.local_part += take_quoted(in_);
            else
                address.local_part += in_.take_octets(1);
        }
        if (in_.take('@')) address.domain = take_domain();
        in_.take_while([](char c) { return c != '>' && c != ',' && c != '<'; });
        in_.take('>');
    }

    /// domain = dot-atom / domain-literal / obs-domain (RFC 5322 3.4.1, 4.4), comments and blanks removed.
    std::string take_domain() {
        std::string domain;
        skip();
        if (in_.peek() == '[') {
            domain = in_.take_while([](char c) { return c != ']' && c != ',' && c != '>'; });
            if (in_.take(']')) domain.push_back(']');
            std::erase_if(domain, is_blank_or_line_end);
            return domain;
        }
        while (!in_.at_end()) {
            domain += in_.take_while(is_atext);
            const Cursor after_atom = in_;
            std::string comment = comment_;
            skip();
            if (!in_.take('.')) {  // the blanks and the comment belong to what follows the address
                in_ = after_atom;
                comment_ = std::move(comment);
                break;
            }
            domain.push_back('.');
            skip();
        }
        return domain;
    }

    /// What is left of a broken address. Quoted strings and comments may hold separators of their own.
    void skip_to_separator() {
        while (!in_.at_end() && in_.peek() != ',' && in_.peek() != ';') {
            if (skip()) continue;
            if (in_.peek() == '"')
                take_quoted(in_);
            else
                in_.take_octets(1);
        }
        if (in_.peek() == ',') in_.take(',');
    }

    void start_group() {
        in_group_ = true;
        Address group;
        group.display_name = std::move(phrase_);
        group.kind = Address::Kind::group_start;
        out_.push_back(std::move(group));
    }
    void end_group() {
        in_group_ = false;
        Address end;
        end.kind = Address::Kind::group_end;
        out_.push_back(std::move(end));
    }

    std::string_view text_;
    Cursor in_;
    const Limits& limits_;
    std::vector<Address> out_;
    std::string phrase_;
    std::string local_;
    std::string comment_;
    std::size_t start_ = 0;
    bool in_group_ = false;
};

/// Cuts a list at its separators, which stand in no quoted string, comment, angle or domain literal.
class ListSplitter {
 public:
    ListSplitter(std::string_view text, bool with_groups) : rest_(text), with_groups_(with_groups) {}

    /// The next element, blanks and all; nothing at the end. The name of a group is none.
    std::optional<std::string_view> next() {
        if (is_done_) return std::nullopt;
        for (std::size_t at = 0; at < rest_.size(); ++at) {
            const char c = rest_[at];
            if (c == '\\' && (quoted_ || depth_ > 0)) {
                ++at;
                continue;
            }
            if (!is_plain(c)) continue;
            if (with_groups_ && c == ':' && !in_group_) {
                in_group_ = true;
                rest_.remove_prefix(at + 1);
                return next();
            }
            const bool ends_group = c == ';' && in_group_;
            if (c != ',' && !ends_group) continue;
            if (ends_group) in_group_ = false;
            const std::string_view out = rest_.substr(0, at);
            rest_.remove_prefix(at + 1);
            return out;
        }
        is_done_ = true;
        return rest_;
    }
    bool in_group() const { return in_group_; }

 private:
    // Follows what the character opens and closes; true where it may separate.
    bool is_plain(char c) {
        if (quoted_) {
            quoted_ = c != '"';
            return false;
        }
        if (c == '(') ++depth_;
        if (depth_ > 0) {
            if (c == ')') --depth_;
            return false;
        }
        if (c == '"') quoted_ = true;
        if (c == '<' || c == '[') ++inside_;
        if ((c == '>' || c == ']') && inside_ > 0) --inside_;
        return !quoted_ && inside_ == 0;
    }

    std::string_view rest_;
    bool with_groups_;
    bool in_group_ = false;
    bool quoted_ = false;
    bool is_done_ = false;
    std::size_t depth_ = 0;   // of comments
    std::size_t inside_ = 0;  // of <> and []
};

/// The strict grammar of one mailbox, RFC 5322 3.4 and 4.4. Every method says false where the grammar is broken.
class MailboxReader {
 public:
    explicit MailboxReader(std::string_view text) : in_(text) {}

    /// mailbox = addr-spec / name-addr. The shorter form first: a phrase can look like the start of it.
    bool read(Address& address) {
        if (!skip()) return false;
        const Cursor start = in_;
        if (read_addr_spec(address) && skip() && in_.at_end()) return true;
        in_ = start;
        address = Address{};
        return read_phrase(address.display_name) && in_.take('<') && read_angle(address) && skip() && in_.at_end();
    }

 private:
    static constexpr std::size_t kDepthMax = 16;

    /// CFWS with closed comments. A folded line must hold more than blanks, but obs-FWS allows that too.
    bool skip() {
        while (!in_.at_end()) {
            if (in_.peek() == '(') {
                std::size_t depth = 0;
                const std::size_t from = in_.position();
                const std::string_view rest = in_.rest();
                take_comment(in_, &depth);
                if (depth == 0 || depth > kDepthMax) return false;
                if (has_stray_control(rest.substr(0, in_.position() - from))) return false;
            } else if (in_.peek() == '\r' || in_.peek() == '\n') {
                in_.take('\r');
                if (!in_.take('\n') || !ascii::is_space(in_.peek())) return false;  // FWS: a blank follows the fold
            } else if (ascii::is_space(in_.peek())) {
                in_.skip_blanks();
            } else {
                break;
            }
        }
        return true;
    }

    /// A CR or LF that is no fold, or a raw NUL (obs-ctext and obs-qtext allow the other controls).
    static bool has_stray_control(std::string_view text) {
        for (std::size_t i = 0; i < text.size(); ++i) {
            if (text[i] == '\0') return true;
            if (text[i] == '\r' && (i + 1 == text.size() || text[i + 1] != '\n')) return true;
            if (text[i] == '\n' && (i + 1 == text.size() || !ascii::is_space(text[i + 1]))) return true;
        }
        return false;
    }

    /// quoted-string, RFC 5322 3.2.4
    bool read_quoted(std::string& out) {
        const std::string_view rest = in_.rest();
        const std::size_t from = in_.position();
        bool closed = false;
        out += take_quoted(in_, &closed);
        return closed && !has_stray_control(rest.substr(0, in_.position() - from));
    }

    /// word = atom / quoted-string
    bool read_word(std::string& out) {
        if (!skip()) return false;
        if (in_.peek() == '"') return read_quoted(out) && skip();
        const std::string_view atom = in_.take_while(is_atext);
        out += atom;
        return !atom.empty() && skip();
    }

    /// phrase / obs-phrase = word *(word / "." / CFWS)
    bool read_phrase(std::string& out) {
        while (!in_.at_end() && in_.peek() != '<') {
            if (in_.peek() == '.' && !out.empty()) {
                out += in_.take_octets(1);
                if (!skip()) return false;
                continue;
            }
            if (!out.empty()) out.push_back(' ');
            if (!read_word(out)) return false;
        }
        return true;
    }

    /// addr-spec = local-part "@" domain, obs-local-part = word *("." word)
    bool read_addr_spec(Address& address) {
        if (!read_word(address.local_part)) return false;
        while (in_.take('.')) {
            address.local_part.push_back('.');
            if (!read_word(address.local_part)) return false;
        }
        return in_.take('@') && skip() && read_domain(address.domain);
    }

    /// domain, RFC 5322 3.4.1, 4.4; labels do not start or end with a hyphen (RFC 1123 2.1)
    bool read_domain(std::string& domain) {
        if (in_.peek() == '[') return read_literal(domain);
        while (true) {
            const std::string_view atom = in_.take_while(is_atext);
            if (atom.empty() || atom.front() == '-' || atom.back() == '-') return false;
            domain += atom;
            if (!skip()) return false;
            if (!in_.take('.')) return true;
            domain.push_back('.');
            if (!skip()) return false;
        }
    }

    /// domain-literal = "[" *([FWS] dtext) [FWS] "]"; obs-dtext allows quoted-pairs
    bool read_literal(std::string& domain) {
        const std::string_view rest = in_.rest();
        domain += in_.take_octets(1);
        while (!in_.at_end() && in_.peek() != ']') {
            if (in_.peek() == '[' || in_.peek() == '\0') return false;
            if (in_.take('\\') && in_.at_end()) return false;
            const char c = in_.take_octets(1).front();
            if (!is_blank_or_line_end(c)) domain.push_back(c);
        }
        if (has_stray_control(rest.substr(0, rest.size() - in_.rest().size())) || !in_.take(']')) return false;
        domain.push_back(']');
        return skip();
    }

    /// obs-angle-addr after its "<": a source route is read and kept apart, never obeyed (RFC 5321 appendix C)
    bool read_angle(Address& address) {
        if (!skip()) return false;
        if (in_.peek() == '@') {  // obs-route
            const std::string_view route = in_.take_while([](char c) { return c != ':' && c != '>'; });
            if (!in_.take(':')) return false;
            for (const char c : route)
                if (!is_blank_or_line_end(c)) address.route.push_back(c);
        }
        return read_addr_spec(address) && skip() && in_.take('>');
    }

    Cursor in_;
};

}  // namespace

std::string Address::spec() const {
    std::string out = quote_local_part(local_part);
    if (!domain.empty()) {
        out.push_back('@');
        out += domain;
    }
    return out;
}

std::vector<Address> parse_address_list(std::string_view field_value, const Limits& limits) {
    return ListReader(field_value, limits).read();
}

Result<std::vector<Address>> parse_mailbox_list(std::string_view text, bool with_groups) {
    std::vector<Address> out;
    ListSplitter splitter(text, with_groups);
    while (const auto element = splitter.next()) {
        if (std::ranges::all_of(*element, is_blank_or_line_end)) continue;
        TRY(Address address, parse_single_mailbox(*element));
        out.push_back(std::move(address));
    }
    if (splitter.in_group()) return Error(Errc::invalid, "a group has no end");
    return out;
}

Result<Address> parse_single_mailbox(std::string_view field_value) {
    Address address;
    if (!MailboxReader(field_value).read(address))
        return {Errc::invalid, "the field does not hold exactly one mailbox"};
    // The name may be raw 8-bit text of old software; the address is what decisions hang on.
    if (!ascii::is_valid_utf8(address.spec())) return {Errc::invalid, "the address is not UTF-8"};
    return address;
}

std::string format_address(const Address& address) {
    if (address.display_name.empty()) return address.spec();
    return encode_phrase(address.display_name) + " <" + address.spec() + ">";
}

std::string quote_local_part(std::string_view local_part) {
    if (is_dot_atom(local_part)) return std::string(local_part);
    std::string out = "\"";
    for (const char c : local_part) {
        if (c == '"' || c == '\\') out.push_back('\\');
        if (c != '\r' && c != '\n' && c != '\0') out.push_back(c);
    }
    return out += '"';
}

bool is_dot_atom(std::string_view text) {
    if (text.empty() || text.front() == '.' || text.back() == '.') return false;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '.' ? text[i - 1] == '.' : !is_atext(text[i])) return false;
    }
    return true;
}

}  // namespace posthouse::mime
