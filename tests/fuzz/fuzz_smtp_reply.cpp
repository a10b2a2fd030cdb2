/// What a server says, read as a client reads it.
#include <cstdint>
#include <string_view>

#include "protocols/smtp/capabilities.h"
#include "protocols/smtp/reply.h"

using namespace posthouse;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    std::string_view rest(reinterpret_cast<const char*>(data), size);
    smtp::ReplyParser parser;
    while (!rest.empty()) {
        const std::size_t end = rest.find('\n');  // as LineEnds::lf_too
        std::string_view line = rest.substr(0, end);
        if (line.ends_with('\r')) line.remove_suffix(1);
        const auto last = parser.add_line(line);
        if (!last) return 0;
        if (*last) {
            const smtp::Reply reply = parser.take();
            (void)smtp::parse_capabilities(reply);
            (void)smtp::format_reply(reply);
            (void)reply.to_string();
        }
        rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    }
    return 0;
}
