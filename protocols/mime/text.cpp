#include "protocols/mime/text.h"

#include <unicode/normalizer2.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/mime/casemap.h"
#include "protocols/mime/charset.h"
#include "protocols/mime/encoded_word.h"
#include "protocols/mime/encoding.h"
#include "protocols/mime/tokens.h"

namespace posthouse::mime {
namespace {

/// Longer subjects are compared by their start: taking artifacts off is quadratic in their number.
constexpr std::size_t kSubjectOctetsMax = 2048;

/// Reads and removes what RFC 5256 2.1 calls subject artifacts. `text_` only ever shrinks.
class SubjectReader {
 public:
    explicit SubjectReader(std::string_view text) : text_(text) {}

    /// Steps 2 to 6 of RFC 5256 2.1.
    std::string_view base() {
        while (true) {
            while (take_trailer()) {
            }
            bool again = true;
            while (again) {
                again = take_leader();
                again = take_blob_before_text() || again;
            }
            if (!take_forward_wrapper()) return text_;
        }
    }
    bool is_reply() const { return reply_; }

 private:
    /// subj-trailer = "(fwd)" / WSP
    bool take_trailer() {
        if (text_.ends_with(' ') || text_.ends_with('\t')) {
            text_.remove_suffix(1);
            return true;
        }
        if (!ascii::ends_with_ci(text_, "(fwd)")) return false;
        text_.remove_suffix(5);
        return reply_ = true;
    }

    /// subj-blob = "[" *BLOBCHAR "]" *WSP, octets of it at the start of `text` or 0
    static std::size_t blob_octets(std::string_view text) {
        if (!text.starts_with('[')) return 0;
        const auto stop = text.find_first_of("[]", 1);
        if (stop == std::string_view::npos || text[stop] != ']') return 0;
        return std::min(text.find_first_not_of(" \t", stop + 1), text.size());
    }

    /// subj-leader = (*subj-blob subj-refwd) / WSP; subj-refwd = ("re" / ("fw" ["d"])) *WSP [subj-blob] ":"
    bool take_leader() {
        if (text_.starts_with(' ') || text_.starts_with('\t')) {
            text_.remove_prefix(1);
            return true;
        }
        std::string_view rest = text_;
        while (const std::size_t blob = blob_octets(rest)) rest.remove_prefix(blob);
        if (ascii::starts_with_ci(rest, "fwd"))
            rest.remove_prefix(3);
        else if (ascii::starts_with_ci(rest, "re") || ascii::starts_with_ci(rest, "fw"))
            rest.remove_prefix(2);
        else
            return false;
        rest.remove_prefix(std::min(rest.find_first_not_of(" \t"), rest.size()));
        rest.remove_prefix(blob_octets(rest));
        if (!rest.starts_with(':')) return false;
        text_ = rest.substr(1);
        return reply_ = true;
    }

    /// Step 4: a blob goes as long as something is left after it.
    bool take_blob_before_text() {
        const std::size_t blob = blob_octets(text_);
        if (blob == 0 || blob == text_.size()) return false;
        text_.remove_prefix(blob);
        return true;
    }

    /// subj-fwd = "[fwd:" subject "]"
    bool take_forward_wrapper() {
        if (!ascii::starts_with_ci(text_, "[fwd:") || !text_.ends_with(']')) return false;
        text_ = text_.substr(5, text_.size() - 6);
        return reply_ = true;
    }

    std::string_view text_;
    bool reply_ = false;
};

/// Step 1: decoded, tabs and runs of blanks made one blank.
std::string squeezed_subject(std::string_view raw_subject) {
    std::string out;
    const std::string decoded = decode_encoded_words(raw_subject);
    for (const char c : cut_utf8(decoded, kSubjectOctetsMax)) {
        const char shown = c == '\t' ? ' ' : c;
        if (shown != ' ' || !out.ends_with(' ')) out.push_back(shown);
    }
    return out;
}

/// The part's octets; empty where the part is not of this message.
std::string_view body_of(std::string_view message, const Part& part) {
    if (part.body_offset > message.size()) return {};
    return message.substr(static_cast<std::size_t>(part.body_offset), static_cast<std::size_t>(part.body_octets));
}

}  // namespace

BaseSubject read_subject(std::string_view raw_subject) {
    const std::string text = squeezed_subject(raw_subject);
    SubjectReader reader(text);
    BaseSubject out;
    out.text = reader.base();
    out.is_reply = reader.is_reply();
    return out;
}

std::string base_subject(std::string_view raw_subject) { return read_subject(raw_subject).text; }

bool is_reply_subject(std::string_view raw_subject) { return read_subject(raw_subject).is_reply; }

std::vector<std::string> message_ids(std::string_view raw_value) {
    std::vector<std::string> out;
    Cursor in(raw_value);
    while (!in.at_end() && out.size() < kMessageIdsMax) {
        if (in.peek() == '(') {
            take_comment(in);
            continue;
        }
        if (in.peek() == '"') {  // the words of In-Reply-To in old mail
            take_quoted(in);
            continue;
        }
        if (!in.take('<')) {
            in.take_octets(1);
            continue;
        }
        std::string id;
        while (!in.at_end() && in.peek() != '>' && in.peek() != '<') {
            if (is_blank_or_line_end(in.peek()))
                in.take_octets(1);
            else if (in.peek() == '"')
                id += take_quoted(in);
            else
                id += in.take_octets(1);
        }
        if (in.take('>') && id.find('@') != std::string::npos) out.push_back(std::move(id));
    }
    return out;
}

std::string decoded_text(std::string_view message, const Part& part, const Limits& limits) {
    // Encoded text is at least as long as what it stands for, but base64 needs a third more and line ends.
    const std::string_view body = body_of(message, part).substr(0, limits.text_octets_max * 3);
    const Decoded decoded = decode_transfer(body, transfer_encoding(part.encoding));
    const std::string_view charset = raw_parameter(part.params, "charset");
    if (auto text = to_utf8(decoded.data, charset, limits.text_octets_max)) return *std::move(text);
    return to_utf8(decoded.data, "utf-8", limits.text_octets_max).value_or(std::string());
}

std::string decoded_body(std::string_view message, const Part& part) {
    // A message in a message must not be encoded (RFC 2046 5.2.1); where it is, its octets are what they are.
    if (part.is_message_rfc822) return std::string(body_of(message, part));
    return decode_transfer(body_of(message, part), transfer_encoding(part.encoding)).data;
}

std::string fold_for_search(std::string_view utf8) {
    return ascii::is_valid_utf8(utf8) ? casemap(utf8) : casemap(repair_utf8(utf8));
}

bool is_composed(std::string_view utf8) {
    if (!ascii::has_8bit(utf8)) return true;
    UErrorCode status = U_ZERO_ERROR;
    const icu::Normalizer2* compose = icu::Normalizer2::getNFCInstance(status);
    if (U_FAILURE(status) || utf8.size() > INT32_MAX) return false;
    const bool composed =
        compose->isNormalizedUTF8(icu::StringPiece(utf8.data(), static_cast<std::int32_t>(utf8.size())), status) != 0;
    return U_SUCCESS(status) && composed;
}

std::string collation_key(std::string_view utf8) {
    return ascii::is_valid_utf8(utf8) ? casemap(utf8) : std::string(utf8);
}

}  // namespace posthouse::mime
