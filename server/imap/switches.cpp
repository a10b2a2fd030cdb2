#include "server/imap/switches.h"

#include <algorithm>
#include <array>
#include <utility>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/imap/capability.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

// Commands that belong to a capability which another row announces.
constexpr auto kParts = std::to_array<std::pair<std::string_view, std::string_view>>({
    {"DELETEACL", "ACL"},
    {"GETACL", "ACL"},
    {"LISTRIGHTS", "ACL"},
    {"MYRIGHTS", "ACL"},
    {"SETMETADATA", "METADATA"},
    {"GETQUOTAROOT", "QUOTA"},
    {"SETQUOTA", "QUOTA"},
    {"UID EXPUNGE", "UIDPLUS"},
});

// One or several, divided by blanks; "" for what IMAP4rev1 itself has.
std::string_view announced_by(const Command& row) {
    if (!row.capability.empty()) return row.capability;
    const auto part = std::ranges::find(kParts, row.verb, &std::pair<std::string_view, std::string_view>::first);
    if (part != kParts.end()) return part->second;
    if (!row.verb.starts_with("UID ")) return "";
    const Command* plain = find_command(row.verb.substr(4));
    return plain == nullptr ? "" : plain->capability;
}

Result<std::shared_ptr<const Switches>> load(storage::Store& store) {
    TRY(auto rows, store.read([](const storage::Snapshot& snapshot) { return storage::SwitchView(snapshot).list(); }));
    return std::make_shared<const Switches>(std::move(rows));
}

}  // namespace

// What rests on a capability that is off is off with it.
bool Switches::is_off(std::string_view capability, storage::AccountId account, std::string_view client) const {
    if (rows_.empty()) return false;
    const std::string_view name = wire::capability_name(capability);
    const auto meant = [&](const storage::CapabilitySwitch& row) {
        const bool whose = row.account == storage::AccountId{} || row.account == account;
        return whose && ascii::equals_ci(wire::capability_name(row.capability), name) &&
               (row.client.empty() || client.contains(row.client));
    };
    if (std::ranges::any_of(rows_, meant)) return true;
    const wire::Capability* row = wire::find_capability(name);
    std::string_view needs = row == nullptr ? "" : row->needs;
    while (!needs.empty()) {
        const std::size_t end = std::min(needs.find(' '), needs.size());
        if (is_off(needs.substr(0, end), account, client)) return true;
        needs.remove_prefix(std::min(end + 1, needs.size()));
    }
    return false;
}

bool Switches::is_off(const Command& row, storage::AccountId account, std::string_view client) const {
    if (rows_.empty()) return false;
    std::string_view names = announced_by(row);
    if (names.empty()) return false;
    while (!names.empty()) {
        const std::size_t end = std::min(names.find(' '), names.size());
        if (!is_off(names.substr(0, end), account, client)) return false;
        names.remove_prefix(std::min(end + 1, names.size()));
    }
    return true;
}

Result<std::unique_ptr<SwitchBoard>> SwitchBoard::open(storage::Store& store, net::Loop& loop, net::ThreadPool& pool) {
    std::unique_ptr<SwitchBoard> out(new SwitchBoard(store, loop, pool));
    TRY(out->state_->switches, load(store));
    return out;
}

void SwitchBoard::refresh() {
    auto job = [&store = store_, &loop = loop_, weak = std::weak_ptr(state_)] {
        auto fresh = load(store);
        if (!fresh) return log::error("imap", "switches stay as they were: {}", fresh.error().context);
        loop.post([weak, switches = *std::move(fresh)]() mutable {
            if (const auto state = weak.lock()) state->switches = std::move(switches);
        });
    };
    if (!pool_.submit(std::move(job))) log::warn("imap", "switches stay as they were: too much work waits");
}

}  // namespace posthouse::server::imap
