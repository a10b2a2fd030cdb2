#include "protocols/sasl/saslname.h"

#include "protocols/base/cursor.h"

namespace posthouse::sasl {

Result<std::string> decode_saslname(std::string_view text) {
    std::string out;
    Cursor in(text);
    while (!in.at_end()) {
        if (in.take("=2C")) {
            out += ',';
        } else if (in.take("=3D")) {
            out += '=';
        } else if (in.peek() == '=') {
            return Error(Errc::invalid, "a login is wrongly escaped");
        } else {
            out += in.take_octets(1);
        }
    }
    return out;
}

std::string encode_saslname(std::string_view name) {
    std::string out;
    for (const char c : name) {
        if (c == ',') {
            out += "=2C";
        } else if (c == '=') {
            out += "=3D";
        } else {
            out += c;
        }
    }
    return out;
}

}  // namespace posthouse::sasl
