#pragma once
/// server/imap/fetch_sections: FETCH items that are octets of the message: which they are, and how they are told.
/// Threads: pure.
#include <cstddef>
#include <optional>
#include <string>

#include "protocols/imap/fetch.h"
#include "protocols/mime/encoding.h"
#include "protocols/mime/structure.h"

namespace posthouse::server::imap {

/// One item of one message.
struct WantedSection {
    std::optional<mime::Extent> extent;  ///< nothing: NIL
    std::size_t range = 0;               ///< index among the ranges read together
    bool streamed = false;
    const mime::Part* part = nullptr;  ///< of a preview; in the message's structure
    mime::TransferEncoding encoding = mime::TransferEncoding::identity;
};

/// HEADER.FIELDS and HEADER.FIELDS.NOT: read whole, told in part.
bool chooses_fields(const posthouse::imap::Section& section);
/// Which octets of the message an item wants; none of an item that is no section. `range` and `streamed` stay as made.
WantedSection want_section(const posthouse::imap::FetchUse& use, const posthouse::imap::FetchSource& source);
/// Appends an item whose octets are at hand.
void write_section(std::string& out, const posthouse::imap::FetchUse& use, const WantedSection& wanted,
                   std::string octets);

}  // namespace posthouse::server::imap
