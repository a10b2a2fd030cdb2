#include "storage/capability_switches.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "storage/context.h"

namespace posthouse::storage {
namespace {

// capability = atom (RFC 3501 9), which "=" is part of
bool is_capability(std::string_view text) {
    const auto fits = [](char c) { return ascii::is_alnum(c) || std::string_view("-+=._/").contains(c); };
    return !text.empty() && text.size() <= kCapabilityOctetsMax && std::ranges::all_of(text, fits);
}

}  // namespace

SwitchView::SwitchView(const Snapshot& snapshot) : db_(context_of(snapshot).db) {}

Result<std::vector<CapabilitySwitch>> SwitchView::list() const {
    Query q = db_.query(
        "SELECT s.account, s.client, s.capability, coalesce(a.address, '') FROM capability_switches s "
        "LEFT JOIN accounts a ON a.id = s.account ORDER BY s.capability, a.address, s.client");
    std::vector<CapabilitySwitch> out;
    for (;;) {
        TRY(const bool more, q.row());
        if (!more) return out;
        CapabilitySwitch& row = out.emplace_back();
        row.account = q.id<AccountId>(0);
        row.client = q.text(1);
        row.capability = q.text(2);
        row.address = q.text(3);
    }
}

SwitchTx::SwitchTx(Tx& tx) : SwitchView(context_of(tx).db), tx_(tx) {}

Result<> SwitchTx::switch_off(AccountId account, std::string_view client, std::string_view capability) {
    const std::string name = ascii::to_upper(capability);
    const std::string part = ascii::to_lower(client);
    if (!is_capability(name)) {
        return Error(Errc::invalid, fmt::format("\"{}\" is no capability; write one as CAPABILITY shows it, such as "
                                                "COMPRESS=DEFLATE",
                                                capability));
    }
    if (name == "LOGINDISABLED") {
        return Error(Errc::invalid, "LOGINDISABLED cannot be switched off: clients would send passwords in clear");
    }
    if (name == "IMAP4REV1") return Error(Errc::invalid, "IMAP4rev1 cannot be switched off: nothing would be left");
    if (part.size() > kClientOctetsMax || !ascii::is_valid_utf8(part) || std::ranges::any_of(part, ascii::is_control)) {
        return Error(Errc::invalid, fmt::format("a client's name is at most {} octets of text", kClientOctetsMax));
    }
    TRY(const std::int64_t count, db_.value("SELECT count(*) FROM capability_switches"));
    if (static_cast<std::size_t>(count) >= kCapabilitySwitchesMax) {
        return Error(Errc::limit, fmt::format("{} capabilities are switched off: switch some on first", count));
    }
    TRY_VOID(
        db_.query("INSERT OR IGNORE INTO capability_switches VALUES (?1, ?2, ?3)").bind(account, part, name).run());
    context_of(tx_).write->notice.catalog = true;
    return {};
}

Result<> SwitchTx::switch_on(AccountId account, std::string_view client, std::string_view capability) {
    const std::string name = ascii::to_upper(capability);
    const std::string part = ascii::to_lower(client);
    TRY_VOID(db_.query("DELETE FROM capability_switches WHERE account = ?1 AND client = ?2 AND capability = ?3")
                 .bind(account, part, name)
                 .run());
    if (db_.changes() == 0) return Error(Errc::not_found, fmt::format("{} is not switched off so", name));
    context_of(tx_).write->notice.catalog = true;
    return {};
}

}  // namespace posthouse::storage
