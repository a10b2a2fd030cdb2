#pragma once
/// protocols/mime/preview: the first words of a message as a list of messages shows them (RFC 8970 3). Pure.
#include <cstddef>
#include <string>
#include <string_view>

#include "protocols/mime/structure.h"

namespace posthouse::mime {

inline constexpr std::size_t kPreviewCharactersMax = 200;  ///< RFC 8970 3.3: at most 256
inline constexpr std::size_t kPreviewReadOctetsMax =
    16'384;  ///< of the part's body: enough behind any style sheet seen

/// The part whose words are shown: the first text/plain that is no attachment, else the first text/html. nullptr where
/// there is none, and where the message is encrypted.
const Part* preview_part(const Structure& structure);
/// UTF-8, one line, without quoted lines, signature and markup; "" where nothing is left. `body` is the beginning of
/// the part's body as it was sent.
std::string preview_text(std::string_view body, const Part& part);

}  // namespace posthouse::mime
