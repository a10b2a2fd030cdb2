#include "protocols/net/url.h"

#include "protocols/base/ascii.h"
#include "protocols/net/address.h"

namespace posthouse::net {

Result<std::string> percent_decode(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        char c = text[i];
        if (c == '%') {
            if (i + 2 >= text.size() || !ascii::is_hex(text[i + 1]) || !ascii::is_hex(text[i + 2])) {
                return Error(Errc::invalid, "a % must be followed by two hexadecimal digits");
            }
            c = static_cast<char>(ascii::hex_value(text[i + 1]) * 16 + ascii::hex_value(text[i + 2]));
            i += 2;
        }
        if (ascii::is_control(c)) return Error(Errc::invalid, "the user must not hold control characters");
        out.push_back(c);
    }
    return out;
}

Result<HostPort> parse_host_port(std::string_view text) {
    std::string_view host = text;
    std::string_view port;
    if (text.starts_with('[')) {
        const std::size_t close = text.find(']');
        if (close == std::string_view::npos) return Error(Errc::invalid, "a '[' without its ']'");
        host = text.substr(1, close - 1);
        port = text.substr(close + 1);
        if (!port.empty() && !port.starts_with(':')) return Error(Errc::invalid, "something stands behind ']'");
        if (!IpAddress::parse(host)) return Error(Errc::invalid, "no IP address between the brackets");
    } else if (const std::size_t colon = text.rfind(':'); colon != std::string_view::npos) {
        host = text.substr(0, colon);
        port = text.substr(colon);
    }
    HostPort out;
    out.host = ascii::to_lower(host);
    if (port.empty()) return out;
    const auto number = ascii::parse_number(port.substr(1));
    if (!number || *number == 0 || *number > 65535) return Error(Errc::invalid, "the port is not 1 to 65535");
    out.port = static_cast<std::uint16_t>(*number);
    return out;
}

}  // namespace posthouse::net
