#pragma once
/// protocols/mime/casemap: the collation i;unicode-casemap (RFC 5051), by which SEARCH, SORT and THREAD compare texts
/// (I18NLEVEL=1, RFC 5255 4.2): each character to titlecase by its simple mapping, then to its full decomposition, of
/// compatibility too. So an accent follows its letter ("cafe" is in "caf\u00E9"), the dotless i is an "i", a final
/// sigma a sigma, a full-width A an "a"; but "ss" is no sharp s, what is invisible counts, and a ligature is the small
/// letters that it decomposes to, which no letter typed alone is compared to ("fi" is not in "\uFB01").
/// Marks that stand on one letter in no order come into the canonical one (RFC 5051 4 allows an NFKD that does).
/// Threads: pure; the table of the first planes' characters is made at the first text that needs it.
#include <string>
#include <string_view>

namespace posthouse::mime {

/// Octets that compare as the texts do: for equality, order and substrings. `utf8` must be valid; what is none is a
/// matter of the caller (RFC 5051 2, step 1b).
std::string casemap(std::string_view utf8);

}  // namespace posthouse::mime
