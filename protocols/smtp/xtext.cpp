#include "protocols/smtp/xtext.h"

#include "protocols/base/ascii.h"

namespace posthouse::smtp {

// xtext = *( xchar / hexchar );  xchar = "!"-"~" except "+" and "="; hexchar = "+" and two upper case digits
std::string encode_xtext(std::string_view octets) {
    constexpr std::string_view kHex = "0123456789ABCDEF";
    std::string out;
    for (const char c : octets) {
        if (c > 0x20 && c < 0x7f && c != '+' && c != '=') {
            out.push_back(c);
        } else {
            const auto value = static_cast<unsigned char>(c);
            out.push_back('+');
            out.push_back(kHex[value >> 4U]);
            out.push_back(kHex[value & 0x0fU]);
        }
    }
    return out;
}

Result<std::string> decode_xtext(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (c <= 0x20 || c == 0x7f || c == '=' || ascii::is_8bit(c)) return Error(Errc::invalid, "bad octet in xtext");
        if (c != '+') {
            out.push_back(c);
            continue;
        }
        if (text.size() - i < 3) return Error(Errc::invalid, "xtext ends in the middle of an octet");
        const int high = ascii::hex_value(text[i + 1]);
        const int low = ascii::hex_value(text[i + 2]);
        if (high < 0 || low < 0 || high + low == 0) return Error(Errc::invalid, "bad encoded octet in xtext");
        out.push_back(static_cast<char>(high * 16 + low));
        i += 2;
    }
    return out;
}

}  // namespace posthouse::smtp
