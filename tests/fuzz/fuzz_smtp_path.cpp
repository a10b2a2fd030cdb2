/// Paths, parameters, xtext and EHLO lines: what parses prints back to what parses the same.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "protocols/smtp/parameters.h"
#include "protocols/smtp/path.h"
#include "protocols/smtp/xtext.h"

using namespace posthouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view input(reinterpret_cast<const char*>(data), size);
    Cursor in(input);
    if (const auto path = smtp::take_reverse_path(in); path && !path->is_null()) {
        const auto again = smtp::parse_mailbox(path->spec());
        // A path may be at its length limit before quoting makes it longer; otherwise it must come back.
        if (again && !(*again == *path)) std::abort();
    }
    Cursor forward(input);
    (void)smtp::take_forward_path(forward);
    Cursor tail(input);
    (void)smtp::take_parameters(tail);
    (void)smtp::parse_orcpt(input);
    (void)smtp::parse_notify(input);
    (void)smtp::parse_chunk_header(input);
    if (const auto decoded = smtp::decode_xtext(input)) {
        const auto again = smtp::decode_xtext(smtp::encode_xtext(*decoded));
        if (!again || *again != *decoded) std::abort();
    }
    return 0;
}
