#pragma once
/// protocols/mailauth/tag_list: "name=value; name=value", the form of DKIM signatures and key records (RFC 6376 3.2).
/// Threads: pure functions.   Limits: kTagsMax; a longer list is Errc::invalid.
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"

namespace posthouse::mailauth {

inline constexpr std::size_t kTagsMax = 64;

struct Tag {
    std::string_view name;   ///< case matters (RFC 6376 3.2)
    std::string_view value;  ///< without outer folding white space
    std::string_view whole;  ///< all between "=" and ";", white space included
};

/// The tags of one list; views into the text that was given to parse().
class TagList {
 public:
    /// Errc::invalid for an empty or repeated tag, an octet outside the grammar, or a tag without "=".
    static Result<TagList> parse(std::string_view text);

    const Tag* find(std::string_view name) const;
    /// The value, or nothing where the tag is not there.
    std::optional<std::string_view> value(std::string_view name) const;
    const std::vector<Tag>& tags() const { return tags_; }

 private:
    std::vector<Tag> tags_;
};

/// `text` without any folding white space: base64 and other values that may be folded anywhere.
std::string without_fws(std::string_view text);
/// The parts of "a : b:c", trimmed. An empty text has no parts.
std::vector<std::string_view> split_colons(std::string_view text);

}  // namespace posthouse::mailauth
