#pragma once
/// storage/search/trigram (internal): how text becomes the terms of the index. A term is three characters in a row; of
/// the last two characters of a text there are the shorter ones, so that every occurrence of any string up to three
/// characters is the start of a term, and "all terms that start so" finds exactly those texts that hold it.
///
/// Text is taken as it comes (folded, UTF-8). Damaged UTF-8 is harmless: a character is a lead octet and the
/// continuation octets behind it, at most three, which is read alike in a text and in a needle.
/// Threads: tokenizers belong to their connection.
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "storage/sqlite.h"

namespace posthouse::storage::search {

/// The name of the tokenizer in the schema.
inline constexpr const char* kTokenizer = "posthouse_trigram";

/// Teaches the FTS5 of this connection the tokenizer.
Result<> add_tokenizer(Connection& db);

/// The characters of `text`.
std::vector<std::string_view> characters(std::string_view text);

/// The terms of `needle`, each once; none where it has fewer than three characters. Those with NUL are left out: FTS5
/// reads a C string.
std::vector<std::string_view> terms_of(std::string_view needle);
/// Asks FTS5 for the texts that have all of `terms`, of which there is one at least.
std::string match_all(std::span<const std::string_view> terms);

/// What to ask of FTS5 for `needle`: its result holds all texts with the needle, and no others where `exact`.
struct Expression {
    std::string match;
    bool exact = false;
};
/// Nothing where the index cannot help: an empty needle, or NUL in all its terms.
std::optional<Expression> expression_for(std::string_view needle);

}  // namespace posthouse::storage::search
