// posthouse address ...: the addresses that mail is sent from, what receivers and block lists think of them, and how
// far they are warmed up.
#include <fmt/format.h>

#include <algorithm>

#include "admin/cli/command.h"
#include "protocols/base/ascii.h"
#include "protocols/net/address.h"
#include "protocols/smtp/path.h"
#include "storage/route_choice.h"

namespace posthouse::admin {
namespace {

using storage::AddressCheck;
using storage::Reputation;
using storage::ReputationView;
using storage::RouteTx;
using storage::RouteView;
using storage::Snapshot;
using storage::Standing;

constexpr std::string_view kSystem = "system";  // stands for the address that the system chooses

std::string name_of(const std::string& source) { return source.empty() ? std::string(kSystem) : source; }
std::string place_of(const std::string& provider) { return provider.empty() ? "everywhere" : provider; }

std::string standing_text(const Reputation& one) {
    if (one.standing != Standing::probation) return std::string(storage::to_string(one.standing));
    return fmt::format("probation, {} %", storage::kProbationPercent[one.step]);
}

// "192.0.2.7", or "system" where there is no pool.
Result<std::string> take_source(Invocation& call) {
    const std::string text = call.get("IP");
    if (text == kSystem) return std::string();
    const auto ip = net::IpAddress::parse(text);
    if (!ip) {
        return Error(Errc::invalid, fmt::format("\"{}\" is not an IP address; posthouse address list shows those that "
                                                "are sent from, and {} is the one that the system chooses",
                                                text, kSystem));
    }
    return ip->to_string();
}

Result<std::uint32_t> take_weight(const Invocation& call) {
    if (!call.has("--weight")) return std::uint32_t{1};
    const auto number = ascii::parse_number(call.get("--weight"));
    if (number && *number >= 1 && *number <= storage::kWeightMax) return static_cast<std::uint32_t>(*number);
    return Error(Errc::invalid, fmt::format("--weight takes a number from 1 to {}", storage::kWeightMax));
}

// address add IP --pool P
Result<> address_add(Invocation& call) {
    const auto ip = net::IpAddress::parse(call.get("IP"));
    if (!ip || ip->is_unspecified()) {
        return Error(Errc::invalid, fmt::format("\"{}\" is not an IP address", call.get("IP")));
    }
    if (call.has("--warm") && call.has("--warm-up")) {
        return Error(Errc::invalid,
                     "--warm says that the address is known, --warm-up that it is new: give one of them");
    }
    storage::SourceAddress address;
    address.address = ip->to_string();
    address.pool = call.get("--pool");
    address.ehlo = ascii::to_lower(call.get("--ehlo"));
    TRY(address.weight, take_weight(call));
    if (call.has("--warm-up")) address.warm_since = system_clock().now();
    if (!address.ehlo.empty() && !smtp::is_domain(address.ehlo)) {
        return Error(Errc::invalid, fmt::format("\"{}\" is not a host name", address.ehlo));
    }
    TRY(storage::Store* const store, call.store());
    TRY_VOID(store->write({}, [&](storage::Tx& tx) -> Result<> { return RouteTx(tx).add_address(address); }));
    const bool warms = address.warm_since != Time{};
    if (call.out().json()) {
        call.out().record(Record().add("added", address.address).add("pool", address.pool).add("warm_up", warms));
        return {};
    }
    const std::string pace =
        warms ? fmt::format(
                    "It begins with {} recipients an hour at each provider, and 1.4 times as many after each "
                    "clean day; the rest takes other addresses or ways.",
                    storage::warm_up_allowance(0))
              : "It counts as known to receivers; with --warm-up it would begin slowly.";
    call.out().say(fmt::format("{} is in pool {}. Its reverse DNS should name {}. {}", address.address, address.pool,
                               address.ehlo.empty() ? "this server" : address.ehlo, pace));
    return {};
}

/// All that is kept of addresses.
struct Known {
    std::vector<storage::SourceAddress> addresses;
    storage::AddressBook book;
    std::vector<AddressCheck> checks;
    std::vector<storage::EvidenceDay> days;
};

Result<Known> read_known(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    return store->read([](const Snapshot& snapshot) -> Result<Known> {
        Known out;
        TRY(out.addresses, RouteView(snapshot).addresses());
        TRY(out.book, ReputationView(snapshot).book());
        TRY(out.checks, ReputationView(snapshot).checks());
        const std::int64_t today = storage::day_number(system_clock().now());
        TRY(out.days, ReputationView(snapshot).evidence(today - storage::kEvidenceDays + 1));
        return out;
    });
}

// "drained for google, watched for yahoo"; "healthy"
std::string summary(const Known& known, const std::string& source) {
    std::string out;
    for (const Reputation& one : known.book.standings) {
        if (one.source != source || one.standing == Standing::healthy) continue;
        out += fmt::format("{}{} {}{}", out.empty() ? "" : ", ", standing_text(one), one.provider.empty() ? "" : "for ",
                           place_of(one.provider));
    }
    return out.empty() ? "healthy" : out;
}

std::string listings(const Known& known, const std::string& source) {
    std::string out;
    for (const AddressCheck& one : known.checks) {
        if (one.source != source || one.found != AddressCheck::Found::bad) continue;
        out += (out.empty() ? "" : ", ") + one.list;
    }
    return out;
}

// address list
Result<> address_list(Invocation& call) {
    TRY(const Known known, read_known(call));
    std::vector<Record> rows;
    const auto add = [&](const storage::SourceAddress& address) {
        Record row;
        row.add("address", name_of(address.address)).add("pool", address.pool).add("ehlo", address.ehlo);
        row.add("weight", static_cast<std::int64_t>(address.weight));
        row.add("standing", summary(known, address.address)).add("listed", listings(known, address.address));
        row.add("warm", address.warm_since == Time{} ? std::string("yes")
                                                     : "since " + format_rfc3339(address.warm_since).substr(0, 10));
        rows.push_back(std::move(row));
    };
    for (const storage::SourceAddress& address : known.addresses) add(address);
    const bool has_system =
        std::ranges::any_of(known.book.standings, [](const auto& one) { return one.source.empty(); });
    if (has_system) add(storage::SourceAddress());
    call.out().table(rows, "There is no pool: the system chooses the address that mail is sent from.");
    return {};
}

std::vector<std::string> standing_lines(const Known& known, const std::string& source) {
    std::vector<std::string> out;
    for (const Reputation& one : known.book.standings) {
        if (one.source != source) continue;
        out.push_back(fmt::format("{}: {} since {}, score {}{}{}", place_of(one.provider), standing_text(one),
                                  format_rfc3339(one.since), one.score, one.by_hand ? ", by hand" : "",
                                  one.why.empty() ? "" : ": " + one.why));
    }
    return out;
}

std::vector<std::string> volume_lines(const Known& known, const std::string& source) {
    std::vector<storage::EvidenceDay> sums;
    for (const storage::EvidenceDay& day : known.days) {
        if (day.source != source) continue;
        if (sums.empty() || sums.back().provider != day.provider) {
            sums.emplace_back().provider = day.provider;
        }
        sums.back().merge(day);
    }
    std::vector<std::string> out;
    for (const storage::EvidenceDay& sum : sums) {
        out.push_back(
            fmt::format("{}: {} recipients in 30 days, {} refused for the address, {} too fast, {} unknown, "
                        "{} complained",
                        sum.provider, sum.tried.count(), sum.blocked.count(), sum.deferred.count(), sum.bounced.count(),
                        sum.complained.count()));
    }
    return out;
}

std::vector<std::string> warm_up_lines(const Known& known, const storage::SourceAddress& address) {
    std::vector<std::string> out;
    if (address.warm_since == Time{}) return out;
    const Time now = system_clock().now();
    for (const storage::WarmUp& one : known.book.warm_ups) {
        if (one.source != address.address) continue;
        const storage::WarmUp today = storage::turn_day(one, now);
        if (today.level >= storage::kWarmUpLevels) {
            out.push_back(one.provider + ": warm");
            continue;
        }
        const std::uint64_t used = today.hour == storage::hour_number(now) ? today.hour_used : 0;
        out.push_back(fmt::format("{}: clean day {} of {}, {} of {} recipients of this hour used{}", one.provider,
                                  today.level, storage::kWarmUpLevels, used, storage::warm_up_allowance(today.level),
                                  today.is_bad ? "; told to slow down today, so it does not grow tomorrow" : ""));
    }
    if (out.empty())
        out.push_back(
            fmt::format("{} recipients an hour at each provider to begin with", storage::warm_up_allowance(0)));
    return out;
}

// address show IP
Result<> address_show(Invocation& call) {
    TRY(const std::string source, take_source(call));
    TRY(const Known known, read_known(call));
    const auto at = std::ranges::find(known.addresses, source, &storage::SourceAddress::address);
    if (at == known.addresses.end() && !source.empty()) {
        return Error(Errc::not_found, fmt::format("{} is in no pool; posthouse address list shows them", source));
    }
    const storage::SourceAddress address = at == known.addresses.end() ? storage::SourceAddress() : *at;
    Record row;
    row.add("address", name_of(source)).add("pool", address.pool).add("ehlo", address.ehlo);
    row.add("weight", static_cast<std::int64_t>(address.weight)).add("standing", summary(known, source));
    row.add("at_providers", standing_lines(known, source)).add("volume", volume_lines(known, source));
    row.add("warm_up", warm_up_lines(known, address));
    std::vector<std::string> checks;
    for (const AddressCheck& one : known.checks) {
        if (!source.empty() && one.source != source) continue;
        static constexpr std::string_view kFound[] = {"clear", "BAD", "unknown"};
        checks.push_back(fmt::format("{}{}: {} since {}, asked {}{}", source.empty() ? one.source + " " : "", one.list,
                                     kFound[static_cast<std::size_t>(one.found)], format_rfc3339(one.since),
                                     one.checked == Time{} ? "again now" : format_rfc3339(one.checked),
                                     one.detail.empty() ? "" : ": " + one.detail));
    }
    row.add("checks", std::move(checks));
    call.out().record(row);
    return {};
}

Result<> set_by_hand(Invocation& call, Standing standing) {
    TRY(const std::string source, take_source(call));
    const std::string provider = ascii::to_lower(call.get("--provider"));
    TRY(storage::Store* const store, call.store());
    const bool drains = standing == Standing::drained;
    TRY_VOID(store->write({}, [&](storage::Tx& tx) -> Result<> {
        storage::ReputationTx reputation(tx);
        TRY(const auto addresses, RouteView(tx).addresses());
        if (!source.empty() &&
            std::ranges::find(addresses, source, &storage::SourceAddress::address) == addresses.end()) {
            return Error(Errc::not_found, fmt::format("{} is in no pool; posthouse address list shows them", source));
        }
        TRY(const storage::AddressBook book, reputation.book());
        for (const Reputation& one : book.standings) {
            // Without a provider all of its standings are meant.
            if (drains || one.source != source || (!provider.empty() && one.provider != provider)) continue;
            TRY_VOID(storage::restore_address(tx, one, "restored by hand"));
        }
        if (!drains) return {};
        Reputation fallen;
        if (const Reputation* known = book.find(source, provider)) fallen = *known;
        fallen.source = source;
        fallen.provider = provider;
        return storage::drain_address(tx, fallen, "drained by hand");
    }));
    if (call.out().json()) {
        call.out().record(Record().add(drains ? "drained" : "restored", name_of(source)).add("provider", provider));
        return {};
    }
    call.out().say(drains ? fmt::format("No mail{} leaves by {} until posthouse address restore {}.",
                                        provider.empty() ? "" : " for " + provider, name_of(source), name_of(source))
                          : fmt::format("{} is sent from again.", name_of(source)));
    return {};
}

// address drain IP [--provider P]
Result<> address_drain(Invocation& call) { return set_by_hand(call, Standing::drained); }
// address restore IP [--provider P]
Result<> address_restore(Invocation& call) { return set_by_hand(call, Standing::healthy); }

// address remove IP
Result<> address_remove(Invocation& call) {
    const auto ip = net::IpAddress::parse(call.get("IP"));
    const std::string address = ip ? ip->to_string() : call.get("IP");
    TRY(storage::Store* const store, call.store());
    TRY_VOID(store->write({}, [&](storage::Tx& tx) -> Result<> { return RouteTx(tx).remove_address(address); }));
    if (call.out().json()) call.out().record(Record().add("removed", address));
    call.out().say(fmt::format("{} is not sent from any more.", address));
    return {};
}

using Kind = Argument::Kind;
constexpr Argument kAdd[] = {
    {Kind::positional, "IP", "an address of this machine"},
    {Kind::option_required, "--pool", "the pool it belongs to"},
    {Kind::option, "--ehlo", "the name it uses in EHLO; the server's by default"},
    {Kind::option, "--weight", "its share of what the pool sends, 1 to 1000 [1]"},
    {Kind::flag, "--warm-up", "receivers do not know it yet: begin slowly, grow after clean days"},
    {Kind::flag, "--warm", "receivers know it (the default)"}};
constexpr Argument kAddress[] = {{Kind::positional, "IP", "the address"}};
constexpr Argument kOne[] = {{Kind::positional, "IP", "the address; system for the one that the system chooses"}};
constexpr Argument kProvider[] = {
    {Kind::positional, "IP", "the address; system for the one that the system chooses"},
    {Kind::option, "--provider", "at this one only: google, yahoo, ...; other stands for all that have no name"}};

constexpr Command kRows[] = {
    {"address", "add", "send from an address of this machine",
     "posthouse address add 192.0.2.7 --pool news --ehlo news.example.org --warm-up", kAdd, address_add},
    {"address",
     "list",
     "list the addresses, their pools and what they are worth",
     "posthouse address list",
     {},
     address_list},
    {"address", "show", "tell what receivers and block lists think of an address, and how far it is warmed up",
     "posthouse address show 192.0.2.7", kOne, address_show},
    {"address", "drain", "send no more mail from an address", "posthouse address drain 192.0.2.7 --provider google",
     kProvider, address_drain},
    {"address", "restore", "send from a drained address again", "posthouse address restore 192.0.2.7", kProvider,
     address_restore},
    {"address", "remove", "take an address out of its pool", "posthouse address remove 192.0.2.7", kAddress,
     address_remove},
};

}  // namespace

std::span<const Command> address_commands() { return kRows; }

}  // namespace posthouse::admin
