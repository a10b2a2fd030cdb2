#pragma once
/// protocols/bounce: the text of a reply as words, and which phrases of the rules stand in it.
///   "550-5.7.1 [192.0.2.1] Block-listed, see http://www.spamhaus.org"
///     -> " 550 5.7.1 192.0.2.1 block listed see http www spamhaus org "
/// Words are letters and digits in lower case; a dot stays between digits, an apostrophe goes without a trace, 8-bit
/// octets are letters. A phrase is words with single blanks; "word*" at its end is the beginning of a word,
/// "word$" the end of the text.
/// Threads: pure; the index is built once and read only.
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace posthouse::bounce {

/// At most kReplyTextMax octets of `text` are looked at.
std::string words_of(std::string_view text);

/// Phrases, numbered as they are added; found all at once in one pass over the words.
class PhraseIndex {
 public:
    /// The number of this phrase, the same one for the same words. At least four octets, or a whole word.
    std::uint16_t add(std::string_view phrase);
    std::size_t size() const { return phrases_.size(); }
    /// One flag a phrase.
    std::vector<bool> find(std::string_view words) const;

 private:
    static std::uint32_t key_of(std::string_view word);

    std::vector<std::string> phrases_;
    std::unordered_map<std::uint32_t, std::vector<std::uint16_t>> by_start_;
};

}  // namespace posthouse::bounce
