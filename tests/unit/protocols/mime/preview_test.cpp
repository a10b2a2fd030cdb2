#include "protocols/mime/preview.h"

#include <doctest/doctest.h>

#include "protocols/mime/encoding.h"

using namespace posthouse::mime;

namespace {

std::string preview_of(std::string_view message) {
    const Structure structure = parse_structure(message);
    const Part* part = preview_part(structure);
    if (part == nullptr) return "(none)";
    return preview_text(message.substr(part->body_offset, part->body_octets), *part);
}

}  // namespace

TEST_CASE("previews: the first words that a person wrote") {
    CHECK(preview_of("Subject: x\r\n\r\n  Hello,\r\n\r\n> you wrote\r\nworld\t!\r\n-- \r\nsignature\r\n") ==
          "Hello, world !");
    CHECK(preview_of("Content-Type: text/html\r\n\r\n<style>p{}</style><p>One <b>two</b></p><p>three</p>") ==
          "One two three");
    CHECK(preview_of("Content-Type: text/plain; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n"
                     "\r\nGr=FC=DFe") ==
          "Gr\xc3\xbc\xc3\x9f"
          "e");
    // The plain one of two, and never an attachment.
    CHECK(preview_of("Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n"
                     "<p>html</p>\r\n--b\r\nContent-Type: text/plain\r\n\r\nplain\r\n--b--\r\n") == "plain");
    CHECK(preview_of("Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Disposition: attachment\r\n\r\n"
                     "notes\r\n--b--\r\n") == "(none)");
    CHECK(preview_of("Content-Type: multipart/encrypted; boundary=b\r\n\r\n--b\r\n\r\nx\r\n--b--\r\n") == "(none)");
    CHECK(preview_of("Content-Type: image/png\r\n\r\nx") == "(none)");
    CHECK(preview_of("Subject: x\r\n\r\n") == "");
    std::string wide = "Content-Type: text/plain; charset=utf-8\r\n\r\n";
    for (int i = 0; i < 500; ++i) wide += "\xc3\xbc";
    CHECK(preview_of(wide).size() == 2 * kPreviewCharactersMax);
}

TEST_CASE("a transfer encoding undone in pieces gives what it gives at once") {
    std::string data;
    for (int i = 0; i < 3000; ++i) data += static_cast<char>(i * 7919 >> 3);
    std::string folded = encode_base64(data, 76);
    std::string odd = folded;
    odd.insert(100, "==!");
    std::string endless(200'000, 'a');
    for (std::size_t i = 0; i < endless.size(); i += 97) endless.replace(i, 3, "=41");
    const std::string texts[] = {folded,
                                 odd,
                                 folded.substr(0, 1001),
                                 encode_quoted_printable(data),
                                 "blanks  \t \r\nand=\r\nsoft= \r\nbad=G1 end=",
                                 endless,
                                 std::string(100'000, ' ') + "=41" + std::string(100'000, ' ') + "\r\nend",
                                 std::string(65'534, 'a') + "  \r\n" + std::string(65'535, 'b') + "=\r\nend",
                                 ""};
    for (const std::string& text : texts) {
        for (const TransferEncoding encoding :
             {TransferEncoding::base64, TransferEncoding::quoted_printable, TransferEncoding::identity}) {
            const Decoded whole = decode_transfer(text, encoding);
            for (const std::size_t step : {1UL, 2UL, 3UL, 76UL, 1000UL, 70'000UL}) {
                TransferDecoder decoder(encoding);
                std::string out;
                for (std::size_t at = 0; at < text.size(); at += step) {
                    out += decoder.feed(std::string_view(text).substr(at, step));
                }
                out += decoder.finish();
                CHECK(out == whole.data);
                CHECK(decoder.damaged() == whole.damaged);
            }
        }
    }
}
