#pragma once
/// storage/settings: the named values of policy that an administrator may change while the server runs: one row each.
///
/// A room that reads a setting adds its row here and calls setting_or_default(); `posthouse setting` lists, checks and
/// changes by the same rows. What belongs to one account, domain or route is no setting but a column there.
/// Threads: constants; setting_number() as the snapshot given.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "protocols/base/result.h"
#include "storage/catalog.h"

namespace posthouse::storage {

struct SettingRow {
    /// octets: "512M"; kept as a plain number. address, domain: of mail (RFC 5321 4.1.2), or empty;
    /// a domain as the DNS has it (A-labels).
    enum class Kind { number, octets, text, address, domain, lane_limits };
    std::string_view key;                      ///< dotted, lower case
    Kind kind;
    std::string_view default_value;  ///< as it would be written
    std::int64_t least = 0;          ///< bounds of a number
    std::int64_t most = 0;
    std::string_view help;          ///< one line: what it does, its unit
    std::string_view choices = {};  ///< all values that a text may have, divided by blanks; empty: any
};

std::span<const SettingRow> setting_rows();
/// The row of `key`; null where there is none.
const SettingRow* find_setting(std::string_view key);
/// Errc::invalid with the sentence to show: unknown key, no number, out of bounds. Gives back what is to be stored.
Result<std::string> check_setting(std::string_view key, std::string_view value);

/// The value in force: what was set, else the default. The key must have a row.
Result<std::string> setting_text(const CatalogView& catalog, std::string_view key);
Result<std::int64_t> setting_number(const CatalogView& catalog, std::string_view key);

}  // namespace posthouse::storage
