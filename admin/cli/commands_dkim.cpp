// posthouse dkim rotate: the next signing keys of a domain.
#include <fmt/format.h>

#include "admin/cli/command.h"
#include "admin/cli/dkim_rotation.h"
#include "admin/cli/dns_facts.h"
#include "admin/cli/keys.h"
#include "protocols/base/ascii.h"

namespace posthouse::admin {
namespace {

using storage::DkimKey;
using storage::DkimState;

Result<std::vector<DkimKey>> pending_keys(storage::Store& store, const std::string& domain) {
    return store.read([&](const storage::Snapshot& snapshot) -> Result<std::vector<DkimKey>> {
        TRY(const storage::Domain home, snapshot.catalog().domain(domain));
        TRY(auto keys, snapshot.catalog().dkim_keys());
        std::erase_if(keys,
                      [&](const DkimKey& key) { return key.domain != home.id || key.state != DkimState::pending; });
        return keys;
    });
}

void show(Invocation& call, const std::string& domain, const std::vector<DkimKey>& keys, std::string_view state) {
    std::vector<Record> rows;
    std::string text;
    for (const DkimKey& key : keys) {
        const std::string name = fmt::format("{}._domainkey.{}", key.selector, domain);
        rows.push_back(
            Record().add("selector", key.selector).add("state", state).add("name", name).add("record", key.dns_record));
        DnsRecord record;
        record.name = name;
        record.type = "TXT";
        record.value = key.dns_record;
        text += zone_line(record) + "\n";
    }
    if (call.out().json()) call.out().table(rows, "");
    if (!call.out().json() && state == "pending") call.out().say(text);
}

// --now: without the wait for a second look, but never without the DNS.
Result<> switch_now(Invocation& call, storage::Store& store, const std::string& domain,
                    const std::vector<DkimKey>& keys) {
    TRY(const Settings settings, call.settings());
    TRY(const auto lookup, make_lookup(settings));
    for (const DkimKey& key : keys) {
        const RecordStatus status = look_up_key(*lookup, key);
        if (status == RecordStatus::good) continue;
        return Error(
            Errc::conflict,
            fmt::format("{}._domainkey.{} {}: the old keys go on signing. Publish what \"posthouse dkim rotate "
                        "{}\" shows and try again",
                        key.selector, domain,
                        status == RecordStatus::unknown     ? "cannot be looked up now"
                        : status == RecordStatus::different ? "is another key in the DNS"
                                                            : "is not in the DNS yet",
                        domain));
    }
    TRY_VOID(store.write({}, [&](storage::Tx& tx) -> Result<> {
        for (const DkimKey& key : keys) TRY_VOID(activate_dkim_key(tx, key.id));
        return {};
    }));
    show(call, domain, keys, "active");
    call.out().say(
        fmt::format("{} is signed with the new keys. Leave the records of the old ones in the DNS until "
                    "\"posthouse dkim list\" calls them retired.",
                    domain));
    return {};
}

// dkim rotate DOMAIN [--now]
Result<> dkim_rotate(Invocation& call) {
    const std::string domain = ascii::to_lower(call.get("DOMAIN"));
    TRY(storage::Store* const store, call.store());
    TRY(auto keys, pending_keys(*store, domain));
    if (keys.empty()) {
        TRY(const auto made, make_next_dkim_keys(*store, domain, system_clock().now()));
        TRY_VOID(store->write({}, [&](storage::Tx& tx) -> Result<> {
            TRY(const storage::Domain home, tx.catalog().domain(domain));
            return add_dkim_keys(tx, home.id, made);
        }));
        TRY(keys, pending_keys(*store, domain));
    }
    if (call.has("--now")) return switch_now(call, *store, domain, keys);
    show(call, domain, keys, "pending");
    call.out().say(
        "Publish these. Some minutes after the DNS shows them they take over by themselves; until then the "
        "keys of today sign.");
    return {};
}

using Kind = Argument::Kind;
constexpr Argument kArguments[] = {{Kind::positional, "DOMAIN", "the domain that is signed for"},
                                   {Kind::flag, "--now", "switch at once, if the DNS shows the new keys"}};
constexpr Command kRows[] = {{"dkim", "rotate", "make the next signing keys, and let them take over once published",
                              "posthouse dkim rotate example.org", kArguments, dkim_rotate}};

}  // namespace

std::span<const Command> dkim_rotation_commands() { return kRows; }

}  // namespace posthouse::admin
