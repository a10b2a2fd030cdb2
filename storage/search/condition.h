#pragma once
/// storage/search/condition: what a search asks of the text of messages, as far as an index can help.
/// Threads: values.
#include <string>
#include <utility>
#include <vector>

namespace posthouse::storage::search {

struct Condition {
    enum class Kind {
        met,       ///< known to hold for every message asked about
        unknown,   ///< the index cannot tell
        text,      ///< `needle` stands `where`
        narrowed,  ///< only where `needle` stands `where`, but that alone is not enough
        all_of,
        any_of,
        none_of,
    };
    enum class Where { anywhere, header, body };
    Kind kind = Kind::unknown;
    Where where = Where::anywhere;
    std::string needle;  ///< folded (mime::fold_for_search)
    std::vector<Condition> of;

    Condition() = default;
    explicit Condition(Kind k) : kind(k) {}
    Condition(Kind k, std::string text, Where w = Where::anywhere) : kind(k), where(w), needle(std::move(text)) {}
    Condition(Kind k, std::vector<Condition> conditions) : kind(k), of(std::move(conditions)) {}
};

/// What the index says of a message.
enum class Verdict : unsigned char {
    no,       ///< it does not match
    yes,      ///< it matches
    in_text,  ///< to be judged by what Texts gives of it
    in_mail,  ///< not in the index, or not with its text: to be judged by reading the message
};

}  // namespace posthouse::storage::search
