#include "admin/cli/output.h"

#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <ostream>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"

namespace posthouse::admin {
namespace {

Poco::JSON::Object to_json(const Record& record) {
    Poco::JSON::Object object(Poco::JSON_PRESERVE_KEY_ORDER);
    for (const auto& [name, value] : record.fields) {
        if (const auto* list = std::get_if<std::vector<std::string>>(&value)) {
            Poco::JSON::Array array;
            for (const std::string& element : *list) array.add(element);
            object.set(name, array);
        } else if (const auto* text = std::get_if<std::string>(&value)) {
            object.set(name, *text);
        } else if (const auto* number = std::get_if<std::int64_t>(&value)) {
            object.set(name, *number);
        } else {
            object.set(name, std::get<bool>(value));
        }
    }
    return object;
}

// "next_attempt" is shown as "next attempt".
std::string heading(std::string_view name) {
    std::string out(name);
    std::ranges::replace(out, '_', ' ');
    return out;
}

// Columns a terminal gives to UTF-8 text: continuation octets take none. Good enough for addresses and sentences.
std::size_t width_of(std::string_view text) {
    return static_cast<std::size_t>(
        std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0U) != 0x80U; }));
}

}  // namespace

std::string to_text(const Value& value) {
    if (const auto* text = std::get_if<std::string>(&value)) return log::escape(*text);
    if (const auto* number = std::get_if<std::int64_t>(&value)) return std::to_string(*number);
    if (const auto* flag = std::get_if<bool>(&value)) return *flag ? "yes" : "no";
    std::string out;
    for (const std::string& element : std::get<std::vector<std::string>>(value)) {
        if (!out.empty()) out += ", ";
        out += log::escape(element);
    }
    return out;
}

void Output::say(std::string_view text) {
    if (!json()) out_ << text << '\n';
}

void Output::say_now(std::string_view text) {
    say(text);
    out_.flush();
}

void Output::record(const Record& record) {
    if (json()) {
        to_json(record).stringify(out_, 2);
        out_ << '\n';
        return;
    }
    std::size_t width = 0;
    for (const auto& field : record.fields) width = std::max(width, field.first.size());
    for (const auto& [name, value] : record.fields) {
        out_ << fmt::format("{:<{}}  {}\n", heading(name) + ":", width + 1, to_text(value));
    }
}

void Output::table(const std::vector<Record>& records, std::string_view none) {
    if (json()) {
        Poco::JSON::Array array;
        for (const Record& record : records) array.add(to_json(record));
        array.stringify(out_, 2);
        out_ << '\n';
        return;
    }
    if (records.empty()) {
        out_ << none << '\n';
        return;
    }
    std::vector<std::vector<std::string>> rows(1);
    for (const auto& field : records.front().fields) rows[0].push_back(ascii::to_upper(heading(field.first)));
    for (const Record& record : records) {
        auto& row = rows.emplace_back();
        for (const auto& field : record.fields) row.push_back(to_text(field.second));
    }
    std::vector<std::size_t> widths(rows[0].size());
    for (const auto& row : rows) {
        for (std::size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], width_of(row[i]));
    }
    for (const auto& row : rows) {
        std::string line;
        for (std::size_t i = 0; i < row.size(); ++i) {
            line += row[i];
            line.append(widths[i] - width_of(row[i]) + 2, ' ');
        }
        line.erase(line.find_last_not_of(' ') + 1);
        out_ << line << '\n';
    }
}

std::string format_octets(std::uint64_t octets) {
    constexpr std::string_view units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    auto value = static_cast<double>(octets);
    std::size_t unit = 0;
    while (value >= 1024 && unit + 1 < std::size(units)) value /= 1024, ++unit;
    return unit == 0 ? fmt::format("{} B", octets) : fmt::format("{:.1f} {}", value, units[unit]);
}

bool parse_octets(std::string_view text, std::uint64_t& octets) {
    if (text == "none") return octets = 0, true;
    unsigned shift = 0;
    if (!text.empty() && !ascii::is_digit(text.back())) {
        constexpr std::string_view units = "kmgt";
        const std::size_t unit = units.find(ascii::lower(text.back()));
        if (unit == std::string_view::npos) return false;
        shift = 10 * (static_cast<unsigned>(unit) + 1);
        text.remove_suffix(1);
    }
    const auto number = ascii::parse_number(text);
    // The store keeps signed 64-bit numbers.
    if (!number || *number > (static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max()) >> shift))
        return false;
    octets = *number << shift;
    return true;
}

}  // namespace posthouse::admin
