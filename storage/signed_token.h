#pragma once
/// storage/signed_token: tokens of links that leave by mail: who has one may do the one thing that it says. Pure.
#include <cstddef>
#include <string>
#include <string_view>

namespace posthouse::storage {

inline constexpr std::size_t kTokenSignatureOctets = 12;  ///< 24 hexadecimal digits

/// `head`, and a signature of `about` with a key that the store's secret gives for `purpose` alone. `about` says all
/// that the token is good for: a head by itself could be another's.
std::string signed_token(std::string_view sealing_key, std::string_view purpose, std::string_view head,
                         std::string_view about);
/// In constant time.
bool is_same_token(std::string_view made, std::string_view given);

}  // namespace posthouse::storage
