#include "protocols/bounce/reply_text.h"

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/bounce/reply_class.h"

namespace posthouse::bounce {

std::string words_of(std::string_view text) {
    text = text.substr(0, kReplyTextMax);
    std::string out = " ";
    out.reserve(text.size() + 2);
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        const bool between_digits =
            i > 0 && i + 1 < text.size() && ascii::is_digit(text[i - 1]) && ascii::is_digit(text[i + 1]);
        if (ascii::is_alnum(c) || ascii::is_8bit(c) || (c == '.' && between_digits)) {
            out.push_back(ascii::lower(c));
        } else if (c != '\'' && out.back() != ' ') {
            out.push_back(' ');
        }
    }
    if (out.back() != ' ') out.push_back(' ');
    return out;
}

// The first four octets: enough to leave a handful of phrases for each word.
std::uint32_t PhraseIndex::key_of(std::string_view word) {
    std::uint32_t key = 0;
    for (std::size_t i = 0; i < 4; ++i) {
        const bool inside = i < word.size() && word[i] != ' ' && word[i] != '*' && word[i] != '$';
        if (!inside) break;
        key = key << 8U | static_cast<unsigned char>(word[i]);
    }
    return key;
}

std::uint16_t PhraseIndex::add(std::string_view phrase) {
    const auto known = std::ranges::find(phrases_, phrase);
    if (known != phrases_.end()) return static_cast<std::uint16_t>(known - phrases_.begin());
    const auto number = static_cast<std::uint16_t>(phrases_.size());
    phrases_.emplace_back(phrase);
    by_start_[key_of(phrase)].push_back(number);
    return number;
}

std::vector<bool> PhraseIndex::find(std::string_view words) const {
    std::vector<bool> found(phrases_.size());
    for (std::size_t at = 0; at + 1 < words.size();) {
        const std::string_view rest = words.substr(at + 1);  // `at` is the blank before a word
        if (const auto candidates = by_start_.find(key_of(rest)); candidates != by_start_.end()) {
            for (const std::uint16_t number : candidates->second) {
                std::string_view phrase = phrases_[number];
                const bool open_end = phrase.ends_with('*');
                const bool at_end = phrase.ends_with('$');
                if (open_end || at_end) phrase.remove_suffix(1);
                // words ends with a blank, so a whole phrase is followed by one
                if (at_end && rest.size() != phrase.size() + 1) continue;
                if (rest.starts_with(phrase) && (open_end || rest.substr(phrase.size()).starts_with(' '))) {
                    found[number] = true;
                }
            }
        }
        const std::size_t blank = words.find(' ', at + 1);
        if (blank == std::string_view::npos) break;
        at = blank;
    }
    return found;
}

}  // namespace posthouse::bounce
