#include "protocols/crypto/stream_seal.h"

#include <sodium.h>

#include <algorithm>

namespace posthouse::crypto {
namespace {

constexpr std::size_t kHeaderOctets = crypto_secretstream_xchacha20poly1305_HEADERBYTES;
constexpr std::size_t kTagOctets = crypto_secretstream_xchacha20poly1305_ABYTES;
static_assert(crypto_secretstream_xchacha20poly1305_KEYBYTES == kStreamKeyOctets);

using State = crypto_secretstream_xchacha20poly1305_state;

const unsigned char* octets_of(std::string_view text) { return reinterpret_cast<const unsigned char*>(text.data()); }
unsigned char* octets_of(std::string& text, std::size_t at) {
    return reinterpret_cast<unsigned char*>(text.data()) + at;
}

/// The subkeys of a stream, wiped when it ends.
struct Wiped {
    State state;
    ~Wiped() { sodium_memzero(&state, sizeof state); }
};

}  // namespace

std::size_t sealed_stream_octets(std::size_t octets) {
    // An empty text is one empty piece: there is always a FINAL tag.
    const std::size_t pieces = octets == 0 ? 1 : (octets + kStreamPieceOctets - 1) / kStreamPieceOctets;
    return kHeaderOctets + octets + pieces * kTagOctets;
}

std::string seal_stream(std::string_view key32, std::string_view purpose, std::string_view text) {
    ASSERT(key32.size() == kStreamKeyOctets);
    std::string box(sealed_stream_octets(text.size()), '\0');
    Wiped stream;
    crypto_secretstream_xchacha20poly1305_init_push(&stream.state, octets_of(box, 0), octets_of(key32));
    std::size_t at = kHeaderOctets;
    for (bool last = false; !last;) {
        const std::string_view piece = text.substr(0, kStreamPieceOctets);
        text.remove_prefix(piece.size());
        last = text.empty();
        const unsigned char tag = last ? crypto_secretstream_xchacha20poly1305_TAG_FINAL : 0;
        unsigned long long written = 0;
        crypto_secretstream_xchacha20poly1305_push(&stream.state, octets_of(box, at), &written, octets_of(piece),
                                                   piece.size(), octets_of(purpose), purpose.size(), tag);
        at += written;
    }
    ASSERT(at == box.size());
    return box;
}

Result<std::string> open_stream(std::string_view key32, std::string_view purpose, std::string_view box) {
    if (key32.size() != kStreamKeyOctets) return Error(Errc::invalid, "the key does not have 32 octets");
    if (box.size() < kHeaderOctets + kTagOctets) return Error(Errc::corrupt, "these are no sealed octets");
    Wiped stream;
    if (crypto_secretstream_xchacha20poly1305_init_pull(&stream.state, octets_of(box), octets_of(key32)) != 0) {
        return Error(Errc::corrupt, "these are no sealed octets");
    }
    box.remove_prefix(kHeaderOctets);
    std::string text;
    text.resize(box.size());
    std::size_t at = 0;
    for (;;) {
        const std::string_view piece = box.substr(0, kStreamPieceOctets + kTagOctets);
        box.remove_prefix(piece.size());
        unsigned long long written = 0;
        unsigned char tag = 0;
        const int opened = piece.size() < kTagOctets
                               ? -1
                               : crypto_secretstream_xchacha20poly1305_pull(
                                     &stream.state, octets_of(text, at), &written, &tag, octets_of(piece), piece.size(),
                                     octets_of(purpose), purpose.size());
        if (opened != 0)
            return Error(Errc::corrupt, "sealed octets do not open: wrong key, or they were changed or cut");
        at += written;
        // The tag decides where the text ends, and so do the octets: both must agree.
        if ((tag == crypto_secretstream_xchacha20poly1305_TAG_FINAL) != box.empty()) {
            return Error(Errc::corrupt, "sealed octets were cut or have something behind their end");
        }
        if (box.empty()) break;
    }
    text.resize(at);
    return text;
}

}  // namespace posthouse::crypto
