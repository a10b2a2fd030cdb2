#pragma once
/// admin/cli/quota: limits as people read and type them, for accounts and domains alike.
#include <cstdint>
#include <string>

#include "admin/cli/command.h"

namespace posthouse::admin {

/// "5.0 GiB, 100000 messages" or "no limit".
std::string quota_text(std::uint64_t octets, std::uint64_t messages);
/// Takes --size and --messages of the call where they were given. Errc::invalid with the sentence to show.
Result<> read_quota(const Invocation& call, std::uint64_t& octets, std::uint64_t& messages);

}  // namespace posthouse::admin
