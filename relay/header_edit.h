#pragma once
/// relay/header_edit: what a way changes in a header before it is signed: fields meant for other services go (a tag or
/// a token is nobody else's business), the way's own are set. Pure.
#include <string>
#include <string_view>

namespace posthouse::relay {

struct HeaderEdit {
    std::string preset;   ///< of the way; "" for none
    std::string headers;  ///< "Name: value" lines to set; {queue} stands for `message_key`
    std::string message_key;

    HeaderEdit() = default;
};

/// `header` is a whole block with its empty line, CRLF throughout.
std::string edit_header(std::string_view header, const HeaderEdit& edit);

}  // namespace posthouse::relay
