#include "protocols/smtp/block_list.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"

namespace posthouse::smtp {

namespace {

constexpr BlockList kLists[] = {
    {"zen.spamhaus.org", "2-11", "by the key of their Data Query Service only; 10 and 11 are ranges of end users"},
    {"bl.spamcop.net", "2", "free"},
    {"rep.mailspike.net", "10-13", "free for little; 14 to 20 are neutral and good"},
    {"bl.mailspike.net", "2 10-13", "free for little"},
    {"bl.blocklist.de", "2-21", "free"},
    {"bl.spameatingmonkey.net", "2-3", "free for little"},
    {"b.barracudacentral.org", "2", "the address of your resolver must be registered with them"},
    {"bip.virusfree.cz", "2-4", "free"},
    {"dnsbl-1.uceprotect.net", "2", "single addresses"},
};

struct Dead {
    std::string_view zone;  ///< and all below it
    std::string_view why;
};
constexpr Dead kDead[] = {
    {"sorbs.net", "SORBS was closed in June 2024"},
    {"dnsbl.manitu.net", "NiXSpam was closed in January 2025"},
    {"unsubscore.com", "Lashback is closed"},
    {"lashback.com", "Lashback is closed"},
    {"swl.spamhaus.org", "Spamhaus closed its white list"},
    {"dwl.spamhaus.org", "Spamhaus closed its white list"},
    {"inps.de", "the list of inps.de is closed"},
    {"ahbl.org", "AHBL is closed and lists everything"},
    {"njabl.org", "NJABL is closed"},
    {"cbl.abuseat.org", "the CBL is a part of Spamhaus XBL: ask zen.spamhaus.org"},
    {"dnsbl-2.uceprotect.net", "it lists whole networks, whatever one of their addresses does"},
    {"dnsbl-3.uceprotect.net", "it lists whole providers, whatever one of their addresses does"},
    {"list.dnswl.org", "it is a list of good addresses, not of bad ones"},
};

bool is_below(std::string_view name, std::string_view zone) {
    if (ascii::equals_ci(name, zone)) return true;
    return name.size() > zone.size() && name[name.size() - zone.size() - 1] == '.' && ascii::ends_with_ci(name, zone);
}

// Whether `code` is in "2 10-13".
bool is_in(std::string_view codes, unsigned code) {
    for (Cursor in(codes); !in.at_end(); in.skip_blanks()) {
        const std::string_view item = in.take_until(' ');
        const std::size_t dash = item.find('-');
        const auto first = ascii::parse_number(item.substr(0, dash)).value_or(256);
        const auto last =
            dash == std::string_view::npos ? first : ascii::parse_number(item.substr(dash + 1)).value_or(0);
        if (code >= first && code <= last) return true;
    }
    return false;
}

}  // namespace

std::span<const BlockList> block_lists() { return kLists; }

const BlockList* find_block_list(std::string_view zone) {
    const auto* const found =
        std::ranges::find_if(kLists, [&](const BlockList& one) { return ascii::equals_ci(one.zone, zone); });
    return found == std::end(kLists) ? nullptr : found;
}

std::optional<std::string_view> why_dead(std::string_view zone) {
    for (const Dead& one : kDead) {
        if (is_below(zone, one.zone)) return one.why;
    }
    return std::nullopt;
}

std::optional<std::string> judge_block_lists(std::string_view zones) {
    for (Cursor in(zones); !in.at_end(); in.skip_blanks()) {
        const std::string_view zone = in.take_until(' ');
        if (zone.empty()) continue;
        if (const auto why = why_dead(zone)) return fmt::format("{} is of no use: {}", zone, *why);
        if (is_below(zone, "spamhaus.org") || is_below(zone, "spamhaus.net")) {
            return fmt::format(
                "{}: Spamhaus answers servers by a key only: set dnsbl.spamhaus_key, and it is asked besides", zone);
        }
        if (zone.find('.') == std::string_view::npos) return fmt::format("\"{}\" is not the zone of a list", zone);
    }
    return std::nullopt;
}

std::string spamhaus_zone(std::string_view key) { return std::string(key) + ".zen.dq.spamhaus.net"; }

std::string reversed(const net::IpAddress& address) {
    const auto& octets = address.octets();
    std::string out;
    if (address.family() == net::IpAddress::Family::v4) {
        return fmt::format("{}.{}.{}.{}", octets[3], octets[2], octets[1], octets[0]);
    }
    for (std::size_t i = octets.size(); i-- > 0;) {
        out += fmt::format("{}{:x}.{:x}", out.empty() ? "" : ".", octets[i] & 0xfU, octets[i] >> 4U);
    }
    return out;
}

BlockAnswer judge_block_answer(std::string_view list, const net::IpAddress& answer) {
    const auto& octets = answer.octets();
    // Whatever is not in 127/8 comes from somebody who owns the zone now, or rewrites what does not exist.
    if (answer.family() != net::IpAddress::Family::v4 || octets[0] != 127) return BlockAnswer::refused;
    if (octets[1] == 255) return BlockAnswer::refused;  // 127.255.255.252 to .255: typo, resolver, volume
    if (octets[1] != 0 || octets[2] != 0 || octets[3] < 2) return BlockAnswer::refused;
    const BlockList* const known = find_block_list(list);
    if (known == nullptr) return octets[3] == 255 ? BlockAnswer::refused : BlockAnswer::listed;
    return is_in(known->codes, octets[3]) ? BlockAnswer::listed : BlockAnswer::clear;
}

}  // namespace posthouse::smtp
