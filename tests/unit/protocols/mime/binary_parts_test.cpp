#include "protocols/mime/binary_parts.h"

#include <doctest/doctest.h>

#include <string>

#include "protocols/mime/encoding.h"
#include "protocols/mime/structure.h"

using namespace posthouse;
using namespace posthouse::mime;
using namespace std::string_literals;

namespace {

std::string rewritten(const std::string& message) {
    std::string out;
    const auto append = [&](std::string_view piece) -> Result<> {
        out += piece;
        return {};
    };
    REQUIRE(write_binary_as_base64(message, append));
    return out;
}

}  // namespace

TEST_CASE("RFC 3516 4.4: a binary part becomes base64, and nothing of it is lost") {
    const std::string octets = "a\0b\nc\r\n\rd"s + std::string(300, '\xff');
    const std::string message =
        "Content-Type: multipart/mixed; boundary=b\r\n\r\nintro\r\n"
        "--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\n"
        "Content-Type: application/octet-stream\r\nContent-transfer-encoding:\r\n  BINARY\r\nX-After: 1\r\n\r\n" +
        octets + "\r\n--b--\r\nend\r\n";
    const std::string kept = rewritten(message);
    CHECK(kept.find('\0') == std::string::npos);
    const Structure structure = parse_structure(kept);
    REQUIRE(structure.root.children.size() == 2);
    const Part& part = structure.root.children[1];
    CHECK(part.encoding == "base64");
    CHECK(kept.find("X-After: 1\r\n") != std::string::npos);
    CHECK(kept.find("BINARY") == std::string::npos);
    const auto body = kept.substr(part.body_offset, part.body_octets);
    CHECK(body.find("\r\n\r\n") == std::string::npos);
    CHECK(decode_base64(body).data == octets);
    CHECK(kept.ends_with("\r\n--b--\r\nend\r\n"));
}

TEST_CASE("a message that is one binary part, and what has none") {
    const std::string octets = std::string(200'000, '\0') + "\n";
    const std::string kept = rewritten("Content-Transfer-Encoding: binary\r\nSubject: x\r\n\r\n" + octets);
    CHECK(kept.starts_with("Content-Transfer-Encoding: base64\r\nSubject: x\r\n\r\nAAAA"));
    CHECK(kept.ends_with("\r\n"));
    CHECK(decode_base64(kept.substr(kept.find("\r\n\r\n") + 4)).data == octets);
    for (const std::string& same :
         {"Subject: x\r\n\r\na\0b\r\n"s, "Content-Transfer-Encoding: 8bit\r\n\r\na\0b\r\n"s, ""s}) {
        CAPTURE(same);
        CHECK(rewritten(same) == same);
    }
}
