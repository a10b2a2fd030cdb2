#pragma once
/// protocols/crypto/stream_seal: authenticated encryption of long octets with a 32-octet key, piece by piece
/// (libsodium's secretstream, XChaCha20-Poly1305).
///
///   box = header(24), then pieces: ciphertext of at most kStreamPieceOctets of text + 17 octets of tag
/// Invariants  1. Every piece but the last holds exactly kStreamPieceOctets; the last carries the tag FINAL: a box
///                that was cut, at the edge of a piece too, does not open.
///             2. `purpose` is bound to every piece: a box made for one purpose opens for no other.
/// Threads: all functions are pure but for the random header.  Limits: the whole box is in memory.
#include <cstddef>
#include <string>
#include <string_view>

#include "protocols/base/result.h"

namespace posthouse::crypto {

inline constexpr std::size_t kStreamKeyOctets = 32;
inline constexpr std::size_t kStreamPieceOctets = 64 * 1024;

/// Octets of the box that holds `octets` of text.
std::size_t sealed_stream_octets(std::size_t octets);
std::string seal_stream(std::string_view key32, std::string_view purpose, std::string_view text);
/// Errc::corrupt for a wrong key or purpose, a changed octet, a box that was cut or has something behind its end.
Result<std::string> open_stream(std::string_view key32, std::string_view purpose, std::string_view box);

}  // namespace posthouse::crypto
