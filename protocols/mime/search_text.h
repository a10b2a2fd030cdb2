#pragma once
/// protocols/mime/search_text: what of a message can be found by searching (RFC 3501 6.4.4). The full scan and the
/// index of storage/search both read messages through here, so that they cannot disagree.
///   header: one line a field, "name: value" LF, encoded words decoded (RFC 2047)
///   body:   the texts of all text/* parts, transfer encoding and charset undone, HTML as its reader sees it, and the
///           headers of contained messages
/// Both are folded by fold_for_search(). Encrypted parts (RFC 1847 2.2, RFC 8551 3.5) have no text.
/// Threads: pure.   Limits: kSearchTextOctetsMax and header.h.
#include <cstddef>
#include <string>
#include <string_view>

namespace posthouse::mime {

/// Decoded text of one message; parts behind it are not searched, by anyone.
inline constexpr std::size_t kSearchTextOctetsMax = 16UL * 1024 * 1024;

struct SearchText {
    std::string header;
    std::string body;
    bool has_encrypted = false;  ///< there is a part that only its reader can open
};

/// `header_block` with or without its empty line.
std::string search_header(std::string_view header_block);
/// The body alone of `message`, which starts with its header.
std::string search_body(std::string_view message);
/// Both. `header_octets`: of the header block with the empty line.
SearchText search_text(std::string_view message, std::size_t header_octets);

/// Whether a field `name` of search_header() holds the folded `needle`; with an empty needle whether the field is
/// there.
bool search_field_holds(std::string_view header, std::string_view name, std::string_view needle);
/// Whether `text` holds `needle`: the one comparison of octets that search knows.
bool search_holds(std::string_view text, std::string_view needle);

/// Changes whenever the functions above or the tables beneath them (ICU, Unicode) could give other octets: what was
/// kept of them under another version is worth nothing.
std::string search_text_version();

}  // namespace posthouse::mime
