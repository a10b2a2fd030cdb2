#include "storage/lane_limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "protocols/base/ascii.h"
#include "storage/settings.h"
#include "storage/store.h"

namespace posthouse::storage {
namespace {

constexpr std::string_view kSetting = "lane.limits";
constexpr std::size_t kSiteOctetsMax = 253;  // RFC 1035 2.3.4

// One of the numbers between the slashes; takes it off.
std::optional<std::uint32_t> take_number(std::string_view& rest) {
    const std::size_t end = std::min(rest.find('/'), rest.size());
    const auto number = ascii::parse_number(rest.substr(0, end));
    rest.remove_prefix(std::min(end + 1, rest.size()));
    if (!number || *number > UINT32_MAX) return std::nullopt;
    return static_cast<std::uint32_t>(*number);
}

bool is_site_name(std::string_view name) {
    if (name.empty() || name.size() > kSiteOctetsMax || name.front() == '.' || name.back() == '.') return false;
    return std::ranges::all_of(
        name, [](char c) { return ascii::is_alnum(c) || c == '-' || c == '.' || c == '_' || c == ':'; });
}

std::optional<LaneLimit> parse_one(std::string_view pair) {
    const std::size_t mark = pair.rfind('=');
    if (mark == std::string_view::npos || mark == 0 || pair.ends_with('/')) return std::nullopt;
    std::string_view rest = pair.substr(mark + 1);
    const auto connections = take_number(rest);
    const auto messages = take_number(rest);
    const auto minute = take_number(rest);
    if (!connections || !messages || !minute || !rest.empty()) return std::nullopt;
    LaneLimit out;
    out.site = ascii::to_lower(pair.substr(0, mark));
    if (!is_site_name(out.site)) return std::nullopt;
    out.connections_max = *connections;
    out.messages_max = *messages;
    out.minute_max = *minute;
    return out;
}

}  // namespace

bool is_site(std::string_view lane, std::string_view site) {
    if (ascii::equals_ci(lane, site)) return true;
    return lane.size() > site.size() && ascii::ends_with_ci(lane, site) && lane[lane.size() - site.size() - 1] == '.';
}

std::vector<LaneLimit> parse_lane_limits(std::string_view setting) {
    std::vector<LaneLimit> out;
    while (!setting.empty()) {
        const std::size_t end = std::min(setting.find(' '), setting.size());
        if (auto one = parse_one(setting.substr(0, end))) out.push_back(*std::move(one));
        setting.remove_prefix(std::min(end + 1, setting.size()));
    }
    return out;
}

bool is_lane_limits(std::string_view setting) {
    const auto words = static_cast<std::size_t>(std::ranges::count(setting, ' ')) + (setting.empty() ? 0 : 1);
    return parse_lane_limits(setting).size() == words;
}

const LaneLimit* find_lane_limit(const std::vector<LaneLimit>& limits, std::string_view lane) {
    const LaneLimit* out = nullptr;
    for (const LaneLimit& one : limits) {
        if (is_site(lane, one.site) && (out == nullptr || one.site.size() >= out->site.size())) out = &one;
    }
    return out;
}

Result<> set_lane_limit(Tx& tx, LaneLimit limit) {
    limit.site = ascii::to_lower(limit.site);
    if (!is_site_name(limit.site)) {
        return Error(Errc::invalid,
                     fmt::format("\"{}\" is no site: write the name of a lane (posthouse queue lanes), such "
                                 "as google or mx.example.net",
                                 limit.site));
    }
    TRY(const std::string before, setting_text(tx.catalog(), kSetting));
    std::vector<LaneLimit> all = parse_lane_limits(before);
    const std::size_t gone = std::erase_if(all, [&](const LaneLimit& one) { return one.site == limit.site; });
    if (gone == 0 && limit.is_empty()) {
        return Error(Errc::not_found,
                     fmt::format("{} has no limit of its own; posthouse queue limit shows them", limit.site));
    }
    if (!limit.is_empty()) all.push_back(std::move(limit));
    std::string after;
    for (const LaneLimit& one : all) {
        after += fmt::format("{}{}={}/{}/{}", after.empty() ? "" : " ", one.site, one.connections_max, one.messages_max,
                             one.minute_max);
    }
    return after == before ? Result<>() : tx.catalog().set_setting(kSetting, after);
}

}  // namespace posthouse::storage
