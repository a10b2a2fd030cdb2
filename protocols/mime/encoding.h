#pragma once
/// protocols/mime/encoding: base64 and quoted-printable (RFC 2045 6.7, 6.8). Decoders never fail: they skip what does
/// not belong, decode what they can and report the damage.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace posthouse::mime {

struct Decoded {
    std::string data;
    bool damaged = false;  ///< octets outside the alphabet, a cut quantum, a bad =XX
};

/// `line_octets` > 0 breaks lines with CRLF after that many characters (76 for a body, RFC 2045 6.8); the text ends
/// with CRLF then.
std::string encode_base64(std::string_view data, std::size_t line_octets = 0);
Decoded decode_base64(std::string_view text);

/// Text with CRLF line ends to lines of at most 76 characters; a lone CR or LF is encoded.
std::string encode_quoted_printable(std::string_view data);
Decoded decode_quoted_printable(std::string_view text);

enum class TransferEncoding { identity, quoted_printable, base64, unknown };
/// By the value of Content-Transfer-Encoding: 7bit, 8bit, binary and an empty one are identity.
TransferEncoding transfer_encoding(std::string_view token);
/// Undoes a transfer encoding; an unknown one leaves the octets as they are and says damaged.
Decoded decode_transfer(std::string_view body, TransferEncoding encoding);

/// decode_transfer() a piece at a time: whatever the pieces, together they give the same octets.
class TransferDecoder {
 public:
    explicit TransferDecoder(TransferEncoding encoding) : encoding_(encoding) {}
    /// What `piece` brings out, which may be nothing yet.
    std::string feed(std::string_view piece);
    /// The rest. Nothing may be fed afterwards.
    std::string finish();
    bool damaged() const { return damaged_; }

 private:
    void take_base64(std::string& out, char c);
    void end_base64(std::string& out);

    TransferEncoding encoding_;
    std::string held_;        // quoted-printable: a line that is not whole yet
    std::uint32_t bits_ = 0;  // base64
    unsigned digits_ = 0;     // held in bits_
    unsigned pads_ = 0;
    bool damaged_ = false;
};

}  // namespace posthouse::mime
