#include "relay/address_check.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"
#include "protocols/base/log.h"
#include "protocols/dns/public_resolver.h"
#include "protocols/smtp/block_list.h"
#include "storage/await.h"
#include "storage/settings.h"

namespace posthouse::relay {

namespace {

using storage::AddressCheck;
using Found = AddressCheck::Found;

/// A list as it is named, and as it is asked.
struct List {
    std::string name;
    std::string zone;
    std::string trouble;  ///< why its answers say nothing now
};

struct Plan {
    std::vector<List> lists;
    std::vector<storage::SourceAddress> addresses;
    std::vector<AddressCheck> before;
};

Result<Plan> read_plan(const storage::Snapshot& snapshot) {
    Plan out;
    TRY(const std::string zones, storage::setting_text(snapshot.catalog(), "dnsbl.lists"));
    TRY(const std::string key, storage::setting_text(snapshot.catalog(), "dnsbl.spamhaus_key"));
    for (Cursor in(zones); !in.at_end() && out.lists.size() < kListsMax; in.skip_blanks()) {
        List list;
        list.name = ascii::to_lower(in.take_until(' '));
        list.zone = list.name;
        // Refused where it is set, too; the rules of today may be stricter than those it was set by.
        if (list.name.empty() || list.name == "none" || smtp::judge_block_lists(list.name)) continue;
        out.lists.push_back(std::move(list));
    }
    if (!key.empty()) out.lists.push_back(List{std::string(smtp::kSpamhausZen), smtp::spamhaus_zone(key), ""});
    TRY(out.addresses, storage::RouteView(snapshot).addresses());
    TRY(out.before, storage::ReputationView(snapshot).checks());
    return out;
}

std::string codes_of(const std::vector<net::IpAddress>& answers) {
    std::string out;
    for (const net::IpAddress& one : answers) out += (out.empty() ? "" : ", ") + one.to_string();
    return out;
}

// What a list says of one address.
net::Task<AddressCheck> ask(Core& core, List list, net::IpAddress address) {
    AddressCheck out;
    out.list = list.name;
    auto answer = co_await core.deps.resolver->addresses(smtp::reversed(address) + "." + list.zone);
    if (!answer) {
        out.detail = "it does not answer";
        co_return out;
    }
    out.found = Found::clear;
    std::erase_if(answer->records, [](const auto& one) { return one.family() != net::IpAddress::Family::v4; });
    for (const net::IpAddress& one : answer->records) {
        switch (smtp::judge_block_answer(list.name, one)) {
            case smtp::BlockAnswer::clear: break;
            case smtp::BlockAnswer::listed: out.found = Found::bad; break;
            case smtp::BlockAnswer::refused:
                out.found = Found::unknown;
                out.detail = fmt::format("it refuses our resolver ({})", one.to_string());
                co_return out;
        }
    }
    if (out.found == Found::bad) out.detail = codes_of(answer->records);
    co_return out;
}

// RFC 5782 5: a list that does not know its test addresses is dead, or not for us.
net::Task<std::string> test_list(Core& core, List list) {
    const AddressCheck bad = co_await ask(core, list, net::IpAddress::v4(0x7f000002));
    if (bad.found == Found::unknown) co_return bad.detail;
    if (bad.found == Found::clear) co_return std::string("it does not list its test address 127.0.0.2");
    const AddressCheck good = co_await ask(core, list, net::IpAddress::v4(0x7f000001));
    if (good.found == Found::bad) co_return std::string("it lists everything, 127.0.0.1 too");
    co_return std::string();
}

// The name behind an address leads back to it, and is the one that it says it is.
net::Task<AddressCheck> check_name(Core& core, net::IpAddress address, std::string ehlo) {
    AddressCheck out;
    out.list = "ptr";
    const auto names = co_await core.deps.resolver->ptr(address);
    if (!names) {
        out.detail = "the DNS does not answer: " + names.error().context;
        co_return out;
    }
    out.found = Found::bad;
    if (names->records.empty()) {
        out.detail = fmt::format("it has no reverse name; ask your provider to set {}", ehlo);
        co_return out;
    }
    bool unsure = false;
    for (const std::string& name : names->records) {
        if (core.stopping.is_set()) break;
        const auto back = co_await core.deps.resolver->addresses(name);
        unsure = unsure || !back;
        if (!back || std::ranges::find(back->records, address) == back->records.end()) continue;
        out.found = Found::clear;
        out.detail = ascii::equals_ci(name, ehlo)
                         ? name
                         : fmt::format("{}; it calls itself {}, better were the same name", name, ehlo);
        co_return out;
    }
    out.detail = fmt::format("its reverse name {} does not lead back to it", names->records.front());
    if (unsure) out.found = Found::unknown;
    co_return out;
}

storage::IncidentKey key_of(const AddressCheck& check) {
    storage::IncidentKey key;
    key.kind = storage::IncidentKind::listing;
    key.source = check.source;
    key.site = check.list;
    return key;
}

// Nobody knows: what was known stays, for a while; it is neither news nor proof.
bool keeps_before(const AddressCheck& check, const AddressCheck* before, Time now) {
    if (check.found != Found::unknown || before == nullptr || before->found == Found::unknown) return false;
    return before->checked == Time{} || now - before->checked < std::chrono::hours(24);
}

Result<> write_one(storage::Tx& tx, AddressCheck check, const AddressCheck* before) {
    const Time now = tx.now();
    const bool was_asked = before != nullptr && before->checked == Time{};  // somebody said that it is mended
    storage::IncidentTx incidents(tx);
    const storage::IncidentKey key = key_of(check);
    TRY(const auto open, incidents.open());
    const auto found = std::ranges::find(open, key, &storage::Incident::key);
    check.checked = now;
    check.since = before != nullptr && before->found == check.found ? before->since : now;
    if (keeps_before(check, before, now)) {
        if (!was_asked) return {};
        AddressCheck kept = *before;
        kept.checked = now;
        TRY_VOID(storage::ReputationTx(tx).save(kept));
        if (found == open.end()) return {};
        return incidents.stays(found->id, fmt::format("{} cannot be asked now: {}", check.list, check.detail));
    }
    TRY_VOID(storage::ReputationTx(tx).save(check));
    if (check.found == Found::bad) {
        if (was_asked && found != open.end()) {
            return incidents.stays(found->id, fmt::format("it was asked again: {}", check.detail));
        }
        // Whoever closed it meanwhile did not mend it.
        if (before != nullptr && before->found == Found::bad && found != open.end()) return {};
        storage::Refusal refusal;
        refusal.reply = check.detail;
        TRY_VOID(incidents.note(key, refusal));
        return {};
    }
    if (check.found != Found::clear) return {};
    if (found == open.end()) return {};
    TRY_VOID(
        incidents.clear(found->id, check.list == "ptr" ? "the reverse DNS is right" : "it is not listed any more"));
    return {};
}

Result<bool> write_checks(storage::Tx& tx, const std::vector<AddressCheck>& all, const Plan& plan) {
    bool is_news = false;
    for (const AddressCheck& check : all) {
        const auto before = std::ranges::find_if(
            plan.before, [&](const AddressCheck& one) { return one.source == check.source && one.list == check.list; });
        const AddressCheck* const known = before == plan.before.end() ? nullptr : &*before;
        is_news = is_news || known == nullptr || known->found != check.found;
        TRY_VOID(write_one(tx, check, known));
    }
    // Addresses that are sent from no more, and lists that are not asked any more, say nothing.
    for (const AddressCheck& before : plan.before) {
        const bool still = std::ranges::any_of(
            all, [&](const AddressCheck& one) { return one.source == before.source && one.list == before.list; });
        if (still) continue;
        AddressCheck gone = before;
        gone.found = Found::clear;
        gone.detail = "it is not asked any more";
        TRY_VOID(write_one(tx, gone, &before));
        TRY_VOID(storage::ReputationTx(tx).drop_check(before.source, before.list));
        is_news = true;
    }
    return is_news;
}

// Addresses to look at: the pools', and those of our own name, from which all else leaves.
net::Task<std::vector<storage::SourceAddress>> own_addresses(Core& core, Plan plan) {
    std::vector<storage::SourceAddress> out = std::move(plan.addresses);
    const auto add = [&out](const std::string& address) {
        if (std::ranges::find(out, address, &storage::SourceAddress::address) != out.end()) return;
        storage::SourceAddress one;
        one.address = address;
        out.push_back(std::move(one));
    };
    const auto found = co_await core.deps.resolver->addresses(core.deps.hostname);
    if (found) {
        for (const net::IpAddress& address : found->records) {
            if (!address.is_private() && !address.is_loopback()) add(address.to_string());
        }
    } else {
        // The DNS does not say now: those that were known are ours still.
        for (const AddressCheck& before : plan.before) add(before.source);
    }
    if (out.size() > kOwnAddressesMax) out.resize(kOwnAddressesMax);
    co_return out;
}

// Lists answer servers, not the world's resolvers: those get "blocked", nothing, or "not listed".
std::string why_not_believed(const Core& core, const Plan& plan) {
    const auto name = dns::public_resolver(core.deps.dns_servers);
    if (!name || plan.lists.empty()) return "";
    std::string out = dns::lists_do_not_answer(*name);
    log::warn("relay", "{}", out);
    return out;
}

}  // namespace

Milliseconds next_address_check(Random& random) {
    return Milliseconds(3'600'000 - 360'000 + static_cast<std::int64_t>(random.below(720'001)));
}

net::Task<bool> check_own_addresses(Core& core) {
    auto read = [](const storage::Snapshot& snapshot) { return read_plan(snapshot); };
    auto plan = co_await storage::read(*core.deps.store, *core.deps.pool, *core.deps.loop, std::move(read));
    if (!plan) co_return false;
    Plan basis = *plan;
    const auto addresses = co_await own_addresses(core, std::move(basis));
    if (addresses.empty() && plan->before.empty()) co_return false;
    const std::string by_public = why_not_believed(core, *plan);
    if (!addresses.empty()) {
        for (List& list : plan->lists) {
            if (core.stopping.is_set()) co_return false;
            list.trouble = by_public;
            if (by_public.empty()) list.trouble = co_await test_list(core, list);
        }
    }
    std::vector<AddressCheck> all;
    for (const storage::SourceAddress& own : addresses) {
        const auto address = net::IpAddress::parse(own.address);
        if (!address) continue;
        for (const List& list : plan->lists) {
            if (core.stopping.is_set()) co_return false;
            AddressCheck check;
            if (list.trouble.empty()) {
                check = co_await ask(core, list, *address);
            } else {
                check.list = list.name;
                check.detail = list.trouble;
            }
            check.source = own.address;
            all.push_back(std::move(check));
        }
        const std::string ehlo = own.ehlo.empty() ? core.deps.hostname : own.ehlo;
        AddressCheck name = co_await check_name(core, *address, ehlo);
        name.source = own.address;
        all.push_back(std::move(name));
    }
    if (core.stopping.is_set()) co_return false;
    std::vector<storage::StagedBodyPtr> no_bodies;
    auto write = [all, plan = *plan](storage::Tx& tx) { return write_checks(tx, all, plan); };
    const auto news =
        co_await storage::commit(*core.deps.store, *core.deps.loop, std::move(no_bodies), std::move(write));
    if (!news) log::error("relay", "what is said of our addresses cannot be written: {}", news.error().context);
    const bool is_news = news.has_value() && *news;
    if (is_news) core.reputation.hurry();
    co_return is_news;
}

}  // namespace posthouse::relay
