#pragma once
/// storage/who (internal): "a7" the account, "c3" the relay client: how events and figures name who handed mail in.
/// Threads: as the connection.
#include <string>
#include <string_view>

#include "protocols/base/result.h"

namespace posthouse::storage {

class Connection;

/// Of an account's address or a relay client's name. Errc::not_found with the sentence to show.
Result<std::string> find_who(Connection& db, std::string_view name);
/// Back again: "alice@example.org", "account 7 (removed)"; "" for nobody, and what is none as it is.
Result<std::string> name_who(Connection& db, std::string_view who);

}  // namespace posthouse::storage
