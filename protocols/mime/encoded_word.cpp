#include "protocols/mime/encoded_word.h"

#include <algorithm>
#include <cstddef>
#include <optional>

#include "protocols/base/ascii.h"
#include "protocols/mime/charset.h"
#include "protocols/mime/encoding.h"
#include "protocols/mime/header.h"
#include "protocols/mime/tokens.h"

namespace posthouse::mime {
namespace {

constexpr std::size_t kCharsetOctetsMax = 64;
constexpr std::size_t kWordOctetsMax = 75;  // RFC 2047 2
constexpr std::string_view kWordStart = "=?UTF-8?";

/// One encoded-word as it stands in the text.
struct Word {
    std::string_view charset;
    std::string octets;
    std::size_t length = 0;
};

/// The "Q" encoding, RFC 2047 4.2: '_' is a blank.
std::string decode_q(std::string_view text) {
    std::string out;
    out.reserve(text.size());
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '_') {
            out.push_back(' ');
        } else if (text[i] == '=' && i + 2 < text.size() && ascii::is_hex(text[i + 1]) && ascii::is_hex(text[i + 2])) {
            out.push_back(static_cast<char>(ascii::hex_value(text[i + 1]) * 16 + ascii::hex_value(text[i + 2])));
            i += 2;
        } else {
            out.push_back(text[i]);
        }
    }
    return out;
}

/// Walks one unfolded value. `close_` remembers where the next "?=" lies, so that unclosed words cost no rescans.
class Decoder {
 public:
    explicit Decoder(std::string_view text) : text_(text) {}

    std::string decode() {
        std::size_t at = 0;
        while (at < text_.size()) {
            const auto start = text_.find("=?", at);
            if (start == std::string_view::npos) break;
            auto word = may_start_at(start, at) ? read_word(start) : std::nullopt;
            if (!word) {
                append_plain(text_.substr(at, start + 2 - at));
                at = start + 2;
                continue;
            }
            const std::string_view between = text_.substr(at, start - at);
            // White space between two encoded words is not shown (RFC 2047 6.2).
            const bool adjacent = after_word_ && between.find_first_not_of(" \t") == std::string_view::npos;
            if (!adjacent) append_plain(between);
            // A character may be split over two words against RFC 2047 5 (3): join before converting.
            if (!ascii::equals_ci(word->charset, charset_)) flush();
            charset_ = word->charset;
            pending_ += word->octets;
            after_word_ = true;
            at = start + word->length;
        }
        append_plain(text_.substr(std::min(at, text_.size())));
        flush();
        return std::move(out_);
    }

 private:
    /// An encoded-word is set off by white space or stands in a comment or list (RFC 2047 5).
    bool may_start_at(std::size_t start, std::size_t at) const {
        if (start == 0 || (after_word_ && start == at)) return true;
        const char before = text_[start - 1];
        return ascii::is_space(before) || before == '(' || before == ',' || before == '<' || before == '[' ||
               before == ']' || before == ':' || before == ';';
    }

    /// encoded-word = "=?" charset ["*" language] "?" encoding "?" encoded-text "?="
    std::optional<Word> read_word(std::size_t start) {
        const std::string_view head = text_.substr(start + 2, kCharsetOctetsMax + 4);
        const auto mark = head.find('?');
        if (mark == std::string_view::npos || mark == 0 || mark + 2 >= head.size() || head[mark + 2] != '?')
            return std::nullopt;
        const char encoding = ascii::lower(head[mark + 1]);
        if (encoding != 'q' && encoding != 'b') return std::nullopt;
        const std::size_t body = start + 2 + mark + 3;
        if (close_ < body) close_ = text_.find("?=", body);
        if (close_ == std::string_view::npos) return std::nullopt;
        Word word;
        word.charset = head.substr(0, mark);
        word.charset = word.charset.substr(0, word.charset.find('*'));  // language, RFC 2231 5
        const std::string_view encoded = text_.substr(body, close_ - body);
        word.octets = encoding == 'q' ? decode_q(encoded) : decode_base64(encoded).data;
        word.length = close_ + 2 - start;
        if (!ascii::equals_ci(word.charset, "utf-8") && !is_known_charset(word.charset)) return std::nullopt;
        return word;
    }

    /// Text between words. Raw 8-bit octets have no declared charset; to_utf8() guesses.
    void append_plain(std::string_view text) {
        if (text.empty()) return;
        flush();
        after_word_ = false;
        if (!ascii::has_8bit(text))
            out_ += text;
        else
            out_ += to_utf8(text, "").value_or(std::string());
    }

    /// Converts what adjacent words gave. Line ends smuggled in by an encoded-word become blanks: decoded text is shown
    /// on one line and may end in a header again.
    void flush() {
        if (pending_.empty()) return;
        std::string utf8 = to_utf8(pending_, charset_).value_or(repair_utf8(pending_));
        std::replace_if(utf8.begin(), utf8.end(), [](char c) { return c == '\r' || c == '\n' || c == '\0'; }, ' ');
        out_ += utf8;
        pending_.clear();
    }

    std::string_view text_;
    std::string out_;
    std::string pending_;  ///< octets of adjacent words in `charset_`
    std::string_view charset_;
    std::size_t close_ = 0;
    bool after_word_ = false;
};

/// What may stand as it is in the Q encoding inside a phrase, the narrowest place (RFC 2047 5 (3)).
bool is_q_plain(char c) { return ascii::is_alnum(c) || c == '!' || c == '*' || c == '+' || c == '-' || c == '/'; }

std::size_t q_octets(std::string_view text) {
    std::size_t octets = 0;
    for (const char c : text) octets += is_q_plain(c) || c == ' ' ? 1 : 3;
    return octets;
}

void append_q(std::string& out, std::string_view text) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    for (const char c : text) {
        if (c == ' ') {
            out.push_back('_');
        } else if (is_q_plain(c)) {
            out.push_back(c);
        } else {
            out.push_back('=');
            out.push_back(kHex[static_cast<unsigned char>(c) >> 4U]);
            out.push_back(kHex[static_cast<unsigned char>(c) & 0x0fU]);
        }
    }
}

/// The longest prefix of whole characters that takes at most `room` octets in the Q encoding; one character at least.
std::string_view q_piece(std::string_view utf8, std::size_t room) {
    std::size_t taken = 0;
    std::size_t octets = 0;
    while (taken < utf8.size()) {
        std::size_t next = taken + 1;
        while (next < utf8.size() && (static_cast<unsigned char>(utf8[next]) & 0xc0U) == 0x80) ++next;
        octets += q_octets(utf8.substr(taken, next - taken));
        if (taken > 0 && octets > room) break;
        taken = next;
    }
    return utf8.substr(0, taken);
}

/// Encoded-words separated by blanks; a character is never split over two (RFC 2047 5 (3)).
std::string to_words(std::string_view utf8) {
    const bool q = q_octets(utf8) <= utf8.size() * 4 / 3 + 4;  // else base64 is shorter
    const std::size_t room = kWordOctetsMax - kWordStart.size() - 4;
    std::string out;
    while (!utf8.empty()) {
        const std::string_view piece = q ? q_piece(utf8, room) : cut_utf8(utf8, room / 4 * 3);
        if (!out.empty()) out.push_back(' ');
        out += kWordStart;
        out += q ? "Q?" : "B?";
        if (q)
            append_q(out, piece);
        else
            out += encode_base64(piece);
        out += "?=";
        utf8.remove_prefix(piece.size());
    }
    return out;
}

/// Valid UTF-8 without controls: what goes into a header must not end it.
std::string clean(std::string_view utf8) {
    std::string out = repair_utf8(utf8);
    std::replace_if(out.begin(), out.end(), ascii::is_control, ' ');
    return out;
}

}  // namespace

std::string decode_encoded_words(std::string_view field_value) {
    std::string text = unfold(field_value);
    std::replace_if(text.begin(), text.end(), [](char c) { return c == '\r' || c == '\0'; }, ' ');
    return Decoder(text).decode();
}

std::string encode_words(std::string_view utf8) {
    std::string text = clean(utf8);
    if (!ascii::has_8bit(text) && text.find("=?") == std::string::npos) return text;
    return to_words(text);
}

std::string encode_phrase(std::string_view utf8) {
    const std::string text = clean(utf8);
    if (ascii::has_8bit(text) || text.find("=?") != std::string::npos) return to_words(text);
    const bool atoms = !text.empty() &&
                       std::all_of(text.begin(), text.end(), [](char c) { return is_atext(c) || c == ' '; }) &&
                       text.front() != ' ' && text.back() != ' ';
    if (atoms) return text;
    std::string out = "\"";
    for (const char c : text) {
        if (c == '"' || c == '\\') out.push_back('\\');
        out.push_back(c);
    }
    return out += '"';
}

}  // namespace posthouse::mime
