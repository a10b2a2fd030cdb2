#include "storage/relay_clients.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/crypto/crypto.h"
#include "storage/catalog_impl.h"
#include "storage/context.h"

namespace posthouse::storage {
namespace {

constexpr std::size_t kClientNameMax = 64;

// The name is a login as well: without '@' it can never be an account's.
bool is_name(std::string_view name) {
    const auto fits = [](char c) { return ascii::is_alnum(c) || c == '-' || c == '_' || c == '.'; };
    return !name.empty() && name.size() <= kClientNameMax && std::ranges::all_of(name, fits);
}

std::string join(const std::vector<std::string>& items) {
    std::string out;
    for (const std::string& item : items) out += (out.empty() ? "" : " ") + item;
    return out;
}

std::vector<std::string> split(std::string_view text) {
    std::vector<std::string> out;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(' '), text.size());
        if (end > 0) out.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
}

std::int64_t day_of(Time now) { return std::chrono::floor<std::chrono::days>(now).time_since_epoch().count(); }
Time minute_of(Time now) { return std::chrono::floor<std::chrono::minutes>(now); }

#define CLIENT_COLUMNS                                                                                         \
    "id, name, password_digest, addresses, sender_domains, minute_max, day_max, class, disabled, created_ms, " \
    "minute_ms, minute_used, day, day_used, distrust, stream"

RelayClient client_of(const Query& row) {
    RelayClient out;
    out.id = row.id<RelayClientId>(0);
    out.name = row.text(1);
    out.password_digest = row.text(2);
    out.addresses = split(row.view(3));
    out.sender_domains = split(row.view(4));
    out.minute_max = row.u32(5);
    out.day_max = row.u32(6);
    out.mail_class = static_cast<std::uint8_t>(row.u32(7));
    out.disabled = row.flag(8);
    out.created = row.time(9);
    out.minute = row.time(10);
    out.minute_used = row.u64(11);
    out.day = row.i64(12);
    out.day_used = row.u64(13);
    out.distrust = row.text(14);
    out.stream = row.text(15);
    return out;
}

}  // namespace

std::string client_password_digest(std::string_view password) { return crypto::hex(crypto::sha256(password)); }

std::uint64_t used_this_minute(const RelayClient& client, Time now) {
    const std::int64_t minutes = std::chrono::floor<std::chrono::minutes>(now - client.minute).count();
    if (minutes < 0) return 0;  // the clock was set back
    if (minutes == 0 || client.minute_max == 0) return minutes == 0 ? client.minute_used : 0;
    const auto passed = static_cast<std::uint64_t>(minutes);
    if (passed > client.minute_used / client.minute_max) return 0;
    return client.minute_used - passed * client.minute_max;
}

std::optional<std::string> never_fits(const RelayClient& client, std::uint64_t recipients) {
    if (client.day_max == 0 || recipients <= client.day_max) return std::nullopt;
    return fmt::format(
        "{} may send to {} recipients a day, and this message alone is for {}: send it to fewer at a time", client.name,
        client.day_max, recipients);
}

std::optional<std::string> over_limit(const RelayClient& client, std::uint64_t recipients, Time now) {
    const std::uint64_t in_minute = used_this_minute(client, now);
    const std::uint64_t in_day = client.day == day_of(now) ? client.day_used : 0;
    if (client.day_max != 0 && in_day + recipients > client.day_max) {
        const auto left = std::chrono::floor<std::chrono::days>(now) + std::chrono::days(1) - now;
        return fmt::format("{} may send to {} recipients a day and has sent to {}; try again in {} minutes",
                           client.name, client.day_max, in_day, std::chrono::ceil<std::chrono::minutes>(left).count());
    }
    // What fits into no minute needs a place in one.
    const std::uint64_t needs = recipients > client.minute_max ? 1 : recipients;
    if (client.minute_max != 0 && in_minute + needs > client.minute_max) {
        const std::uint64_t minutes = (in_minute + needs - 1) / client.minute_max;
        const auto left = minute_of(now) + std::chrono::minutes(static_cast<std::int64_t>(minutes)) - now;
        return fmt::format("{} may send to {} recipients a minute and has sent to {}; try again in {} seconds",
                           client.name, client.minute_max, in_minute,
                           std::chrono::ceil<std::chrono::seconds>(left).count());
    }
    return std::nullopt;
}

RelayClientView::RelayClientView(const Snapshot& snapshot) : db_(context_of(snapshot).db) {}
RelayClientView::RelayClientView(Tx& tx) : db_(context_of(tx).db) {}

Result<std::vector<RelayClient>> RelayClientView::list() const {
    std::vector<RelayClient> out;
    Query q = db_.query("SELECT " CLIENT_COLUMNS " FROM relay_clients ORDER BY name");
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        out.push_back(client_of(q));
    }
}

Result<RelayClient> RelayClientView::by_name(std::string_view name) const {
    const std::string key = ascii::to_lower(name);
    Query q = db_.query("SELECT " CLIENT_COLUMNS " FROM relay_clients WHERE name = ?1");
    TRY(const bool found, q.bind(key).row());
    if (!found) return Error(Errc::not_found, fmt::format("there is no relay client {}", name));
    return client_of(q);
}

Result<RelayClient> RelayClientView::by_id(RelayClientId id) const {
    Query q = db_.query("SELECT " CLIENT_COLUMNS " FROM relay_clients WHERE id = ?1");
    TRY(const bool found, q.bind(id).row());
    if (!found) return Error(Errc::not_found, "this relay client is gone");
    return client_of(q);
}

RelayClientTx::RelayClientTx(Tx& tx) : RelayClientView(tx), tx_(tx) {}

void RelayClientTx::changed() { context_of(tx_).write->notice.catalog = true; }

Result<> RelayClientTx::change(std::string_view name) {
    if (db_.changes() == 0) return Error(Errc::not_found, fmt::format("there is no relay client {}", name));
    changed();
    return {};
}

Result<> RelayClientTx::check(const RelayClient& client) const {
    if (client.password_digest.empty() && client.addresses.empty()) {
        return Error(Errc::invalid, "a client needs a password or an address, or nobody could tell it from a stranger");
    }
    if (client.sender_domains.empty()) {
        return Error(Errc::invalid, "a client needs at least one domain that it may write as: --sender-domain");
    }
    if (client.addresses.size() > kClientListMax || client.sender_domains.size() > kClientListMax) {
        return Error(Errc::limit,
                     fmt::format("a client has at most {} addresses and {} domains", kClientListMax, kClientListMax));
    }
    for (const std::string& domain : client.sender_domains) TRY_VOID(check_domain(domain));
    return {};
}

Result<RelayClientId> RelayClientTx::add(const RelayClient& client) {
    if (!is_name(client.name)) {
        return Error(
            Errc::invalid,
            fmt::format("a client needs a name of letters, digits, '-', '_' and '.', at most {}", kClientNameMax));
    }
    TRY_VOID(check(client));
    TRY(const auto known, list());
    if (known.size() >= kRelayClientsMax) {
        return Error(Errc::limit, fmt::format("there can be {} relay clients", kRelayClientsMax));
    }
    const std::string name = ascii::to_lower(client.name);
    if (std::ranges::find(known, name, &RelayClient::name) != known.end()) {
        return Error(Errc::already_exists, fmt::format("there is a relay client {} already", name));
    }
    const std::string addresses = join(client.addresses);
    const std::string domains = ascii::to_lower(join(client.sender_domains));
    TRY_VOID(
        db_.query("INSERT INTO relay_clients (name, password_digest, addresses, sender_domains, minute_max, day_max, "
                  "class, created_ms, stream) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)")
            .bind(name, client.password_digest, addresses, domains, client.minute_max, client.day_max,
                  client.mail_class, tx_.now(), client.stream)
            .run());
    changed();
    return static_cast<RelayClientId>(db_.last_id());
}

Result<> RelayClientTx::set(std::string_view name, const RelayClientChange& change) {
    TRY(RelayClient client, by_name(name));
    client.password_digest = change.password_digest.value_or(client.password_digest);
    client.addresses = change.addresses.value_or(client.addresses);
    client.sender_domains = change.sender_domains.value_or(client.sender_domains);
    client.minute_max = change.minute_max.value_or(client.minute_max);
    client.day_max = change.day_max.value_or(client.day_max);
    client.mail_class = change.mail_class.value_or(client.mail_class);
    client.stream = change.stream.value_or(client.stream);
    TRY_VOID(check(client));
    const std::string addresses = join(client.addresses);
    const std::string domains = ascii::to_lower(join(client.sender_domains));
    TRY_VOID(db_.query("UPDATE relay_clients SET password_digest = ?2, addresses = ?3, sender_domains = ?4, "
                       "minute_max = ?5, day_max = ?6, class = ?7, stream = ?8 WHERE id = ?1")
                 .bind(client.id, client.password_digest, addresses, domains, client.minute_max, client.day_max,
                       client.mail_class, client.stream)
                 .run());
    return this->change(name);
}

Result<> RelayClientTx::set_disabled(std::string_view name, bool disabled) {
    const std::string key = ascii::to_lower(name);
    TRY_VOID(db_.query("UPDATE relay_clients SET disabled = ?2 WHERE name = ?1").bind(key, disabled).run());
    return change(name);
}

Result<> RelayClientTx::remove(std::string_view name) {
    const std::string key = ascii::to_lower(name);
    TRY_VOID(db_.query("DELETE FROM relay_clients WHERE name = ?1").bind(key).run());
    return change(name);
}

Result<> RelayClientTx::set_distrust(std::string_view name, std::string_view why) {
    const std::string key = ascii::to_lower(name);
    TRY_VOID(db_.query("UPDATE relay_clients SET distrust = ?2 WHERE name = ?1").bind(key, why).run());
    return change(name);
}

Result<> RelayClientTx::charge(RelayClientId id, std::uint64_t recipients) {
    const auto client = by_id(id);
    if (!client && client.error().code == Errc::not_found) return Error(Errc::denied, client.error().context);
    TRY_VOID(client);
    if (client->disabled) return Error(Errc::denied, fmt::format("the relay client {} is disabled", client->name));
    const Time now = tx_.now();
    if (auto why = never_fits(*client, recipients)) return Error(Errc::denied, *std::move(why));
    if (auto why = over_limit(*client, recipients, now)) return Error(Errc::limit, *std::move(why));
    const std::uint64_t in_minute = used_this_minute(*client, now) + recipients;
    const std::uint64_t in_day = (client->day == day_of(now) ? client->day_used : 0) + recipients;
    // No notice: counting is no change of what the administrator set.
    return db_.query("UPDATE relay_clients SET minute_ms = ?2, minute_used = ?3, day = ?4, day_used = ?5 WHERE id = ?1")
        .bind(id, minute_of(now), in_minute, day_of(now), in_day)
        .run();
}

}  // namespace posthouse::storage
