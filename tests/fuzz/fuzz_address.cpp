// Address lists, dates, parameters and encoded words of any octets; what we write of them is read back.
#include <cstdint>
#include <string_view>

#include "protocols/base/ascii.h"
#include "protocols/base/result.h"
#include "protocols/mime/address.h"
#include "protocols/mime/date.h"
#include "protocols/mime/encoded_word.h"
#include "protocols/mime/parameter.h"
#include "protocols/mime/text.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace posthouse;
    const std::string_view text(reinterpret_cast<const char*>(data), size);

    const auto list = mime::parse_address_list(text);
    ASSERT(list.size() <= mime::kLimits.addresses_max + 1);
    int open = 0;  // groups do not nest
    for (const mime::Address& address : list) {
        open += address.kind == mime::Address::Kind::group_start ? 1 : 0;
        open -= address.kind == mime::Address::Kind::group_end ? 1 : 0;
        ASSERT(open == 0 || open == 1);
    }
    if (const auto one = mime::parse_single_mailbox(text)) {
        ASSERT(!one->domain.empty());
        // Quoting drops what no header can carry, so only text without controls must come back as it was.
        bool clean = true;
        for (const char c : one->local_part) clean = clean && !ascii::is_control(c);
        for (const char c : one->domain) clean = clean && !ascii::is_control(c) && c != '\\' && c != '[';
        const auto again = mime::parse_single_mailbox(one->spec());
        if (clean) ASSERT(again.has_value() && again->local_part == one->local_part && again->domain == one->domain);
        ASSERT(mime::format_address(*one).find_first_of(std::string_view("\r\n\0", 3)) == std::string::npos || !clean);
    }
    const std::string decoded = mime::decode_encoded_words(text);
    ASSERT(ascii::is_valid_utf8(decoded));
    ASSERT(decoded.find_first_of("\r\n") == std::string::npos);
    const std::string words = mime::encode_words(text);
    ASSERT(words.find_first_of("\r\n") == std::string::npos && !ascii::has_8bit(words));
    ASSERT(mime::parse_content_type(text).parameters.size() <= mime::kLimits.params_max);
    const auto disposition = mime::parse_content_disposition(text);
    ASSERT(ascii::is_valid_utf8(mime::parameter_value(disposition.parameters, "filename")));
    static_cast<void>(mime::parse_date(text));
    static_cast<void>(mime::base_subject(text));
    ASSERT(ascii::is_valid_utf8(mime::fold_for_search(text)));
    return 0;
}
