#pragma once
/// admin/cli/secret: passwords on their way in. From a file ("-" is standard input), the environment, or a prompt
/// without echo; never from an argument, which every user of the machine can read.
#include <string>
#include <string_view>

#include "protocols/base/result.h"

namespace posthouse::admin {

inline constexpr std::size_t kSecretOctetsMax = 4096;

/// `file` where not empty, else `environment` where set, else a prompt (asked twice) where standard input is a
/// terminal, else Errc::invalid. The line end is not part of the secret; an empty secret is Errc::invalid.
Result<std::string> read_secret(const std::string& file, const char* environment, std::string_view prompt);
/// The first two ways only; Errc::not_found where neither is given.
Result<std::string> read_given_secret(const std::string& file, const char* environment);
/// For a password that exists already: as read_secret, but the prompt asks once.
Result<std::string> read_known_secret(const std::string& file, const char* environment, std::string_view prompt);
/// 100 random bits in four groups, fit for the telephone: "abcde-fghij-klmno-pqrst".
std::string generate_password();

}  // namespace posthouse::admin
