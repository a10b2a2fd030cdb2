#pragma once
/// server/imap/metadata_response: annotations as METADATA responses tell them (RFC 5464 4.4), for GETMETADATA and for
/// LIST's METADATA return option (RFC 9590). Pure.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "protocols/imap/mailbox_name.h"
#include "protocols/imap/metadata.h"
#include "storage/annotations.h"

namespace posthouse::server::imap {

/// "/shared/comment", "/private/comment".
std::string full_entry(const storage::Annotation& annotation);

/// "METADATA name (entry value ...)"; empty where there is nothing to tell. An entry that was asked for by its very
/// name and has no value is NIL. `octets_left_out` becomes the size of the largest value left out.
std::string format_metadata(std::string_view name, posthouse::imap::NameForm form,
                            const posthouse::imap::GetMetadata& wanted,
                            std::span<const storage::Annotation> annotations, std::size_t& octets_left_out);

}  // namespace posthouse::server::imap
