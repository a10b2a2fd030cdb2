// Header blocks of any octets: fields lie one after the other inside the block, selecting and removing keep the rest.
#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "protocols/mime/build.h"
#include "protocols/mime/encoding.h"
#include "protocols/mime/envelope.h"
#include "protocols/mime/header.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace posthouse;
    const std::string_view text(reinterpret_cast<const char*>(data), size);

    std::size_t header_octets = 0;
    const auto fields = mime::parse_fields(text, &header_octets);
    ASSERT(header_octets <= text.size() && header_octets == mime::find_header_end(text));
    std::size_t next = 0;
    for (const mime::Field& field : fields) {
        ASSERT(field.offset >= next && field.length > 0);
        next = field.offset + field.length;
        ASSERT(next <= header_octets && !field.name.empty());
    }
    static_cast<void>(mime::format_imap_envelope(mime::envelope_from(fields)));

    const std::vector<std::string> names = {"Subject", "From"};
    const std::string only = mime::select_fields(text.substr(0, header_octets), names, mime::Matching::only);
    ASSERT(only.ends_with("\r\n") && only.size() <= header_octets + 4);
    const std::array<std::string_view, 1> bcc = {"Bcc"};
    const std::string removed = mime::remove_fields(text, bcc);
    ASSERT(removed.size() <= text.size());

    const std::string lines = mime::normalise_crlf(text);
    ASSERT(mime::has_only_crlf(lines) && mime::normalise_crlf(lines) == lines);
    ASSERT(mime::decode_base64(mime::encode_base64(text, 76)).data == text);
    ASSERT(mime::decode_quoted_printable(mime::encode_quoted_printable(text)).data == text);
    static_cast<void>(mime::decode_base64(text));
    static_cast<void>(mime::decode_quoted_printable(text));
    const std::string field = mime::format_field("Subject", mime::HeaderValue::cleaned(text));
    ASSERT(mime::parse_fields(field).size() == 1 && mime::has_only_crlf(field));
    return 0;
}
