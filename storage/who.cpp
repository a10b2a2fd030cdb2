#include "storage/who.h"

#include <fmt/format.h>

#include "protocols/base/ascii.h"
#include "storage/sqlite.h"

namespace posthouse::storage {

Result<std::string> find_who(Connection& db, std::string_view name) {
    const std::string wanted = ascii::to_lower(name);
    {
        Query q = db.query("SELECT id FROM accounts WHERE address = ?1");
        TRY(const bool found, q.bind(wanted).row());
        if (found) return fmt::format("a{}", q.i64(0));
    }
    Query q = db.query("SELECT id FROM relay_clients WHERE name = ?1");
    TRY(const bool found, q.bind(wanted).row());
    if (found) return fmt::format("c{}", q.i64(0));
    return Error(Errc::not_found,
                 fmt::format("there is no account or relay client {}; posthouse account list shows them", name));
}

Result<std::string> name_who(Connection& db, std::string_view who) {
    const auto number = who.empty() ? std::nullopt : ascii::parse_number(who.substr(1));
    if (!number) return std::string(who);
    const bool is_account = who.front() == 'a';
    const auto id = static_cast<std::int64_t>(*number);
    Query q = is_account ? db.query("SELECT address FROM accounts WHERE id = ?1")
                         : db.query("SELECT name FROM relay_clients WHERE id = ?1");
    TRY(const bool found, q.bind(id).row());
    if (found) return q.text(0);
    return fmt::format("{} {} (removed)", is_account ? "account" : "client", id);
}

}  // namespace posthouse::storage
