#include "admin/reports/figures.h"

#include <Poco/JSON/Array.h>
#include <fmt/format.h>

#include <algorithm>

#include "admin/undelete/moment.h"
#include "protocols/base/ascii.h"

namespace posthouse::admin {
namespace {

using storage::Figure;
using storage::ReportBy;
using storage::ReportLine;

constexpr std::int64_t kDayMs = 86'400'000;
constexpr std::uint64_t kDaysUsual = 30;
constexpr std::uint64_t kDaysMax = 3650;

std::string day_text(std::int64_t day) { return format_rfc3339(from_unix_ms(day * kDayMs)).substr(0, 10); }

// JSON is UTF-8 (RFC 8259 8.1); a domain may have been given in anything.
std::string utf8_of(const std::string& text) {
    if (ascii::is_valid_utf8(text)) return text;
    std::string out;
    for (const char c : text) out += ascii::is_8bit(c) ? std::string("\xEF\xBF\xBD") : std::string(1, c);
    return out;
}

void set_seconds(Poco::JSON::Object& out, const std::string& name, std::optional<Milliseconds> took) {
    if (took) {
        out.set(name, static_cast<double>(took->count()) / 1000.0);
    } else {
        out.set(name, Poco::Dynamic::Var());
    }
}

Poco::JSON::Object::Ptr line_json(const ReportLine& line, ReportBy by) {
    Poco::JSON::Object::Ptr out = new Poco::JSON::Object(Poco::JSON_PRESERVE_KEY_ORDER);
    out->set("sent", sent(line, by));
    if (is_of_tries(by)) out->set("tries", tried(line));
    for (std::size_t i = 0; i < storage::kFigures; ++i) {
        const auto figure = static_cast<Figure>(i);
        if (figure == Figure::sent || figure == Figure::tried) continue;
        out->set(std::string(to_string(figure)), line.of(figure));
    }
    Poco::JSON::Object::Ptr classes = new Poco::JSON::Object;
    for (const auto& [name, n] : line.bounced_by) classes->set(name.empty() ? "other" : name, n);
    out->set("bounced_by", classes);
    set_seconds(*out, "seconds_median", line.times.percentile(0.5));
    set_seconds(*out, "seconds_p90", line.times.percentile(0.9));
    set_seconds(*out, "seconds_p99", line.times.percentile(0.99));
    return out;
}

Result<std::int64_t> day_of(const std::string& text, Time now) {
    TRY(const Time moment, parse_moment(text, now));
    return to_unix_ms(moment) / kDayMs;
}

}  // namespace

Result<FigureQuestion> read_wish(const FigureWish& wish, Time now) {
    FigureQuestion out;
    const auto by = storage::parse_report_by(wish.by.empty() ? "day" : wish.by);
    if (!by) {
        return Error(Errc::invalid,
                     fmt::format("there is no report by \"{}\"; there is {}", wish.by, storage::kReportByNames));
    }
    out.by = *by;
    out.filter.domain = wish.domain;
    out.filter.account = wish.account;
    out.filter.to_day = to_unix_ms(now) / kDayMs;
    if (!wish.to.empty()) {
        TRY(out.filter.to_day, day_of(wish.to, now));
    }
    if (!wish.from.empty()) {
        if (!wish.days.empty()) return Error(Errc::invalid, "give the first day or the number of days, not both");
        TRY(out.filter.from_day, day_of(wish.from, now));
        if (out.filter.from_day > out.filter.to_day) {
            return Error(Errc::invalid, fmt::format("the first day, {}, is behind the last, {}",
                                                    day_text(out.filter.from_day), day_text(out.filter.to_day)));
        }
        return out;
    }
    const auto days = wish.days.empty() ? std::optional(kDaysUsual) : ascii::parse_number(wish.days);
    if (!days || *days == 0 || *days > kDaysMax) {
        return Error(Errc::invalid, fmt::format("\"{}\" is no number of days from 1 to {}", wish.days, kDaysMax));
    }
    out.filter.from_day = out.filter.to_day - static_cast<std::int64_t>(*days) + 1;
    return out;
}

bool is_of_tries(ReportBy by) {
    return by == ReportBy::provider || by == ReportBy::way || by == ReportBy::address || by == ReportBy::route;
}

std::uint64_t sent(const ReportLine& line, ReportBy by) {
    return line.of(is_of_tries(by) ? Figure::tried : Figure::sent);
}

bool is_untried(const ReportLine& line, ReportBy by) {
    if (!is_of_tries(by)) return false;
    for (std::size_t i = 0; i < storage::kFigures; ++i) {
        if (static_cast<Figure>(i) != Figure::sent && line.figures[i] != 0) return false;
    }
    return true;
}

std::uint64_t tried(const ReportLine& line) {
    return line.of(Figure::delivered) + line.of(Figure::put_off) + line.of(Figure::bounced) + line.of(Figure::held);
}

std::string duration_text(std::optional<Milliseconds> took) {
    if (!took) return "";
    const double s = static_cast<double>(took->count()) / 1000.0;
    if (s < 60) return fmt::format("{:.1f} s", s);
    if (s < 3600) return fmt::format("{:.0f} min", s / 60);
    return fmt::format("{:.1f} h", s / 3600);
}

std::string bounces_text(const ReportLine& line) {
    std::vector<std::pair<std::uint64_t, std::string>> all;
    for (const auto& [name, n] : line.bounced_by) all.emplace_back(n, name.empty() ? "other" : name);
    std::ranges::sort(all, std::greater<>());
    std::string out;
    for (const auto& [n, name] : all) out += fmt::format("{}{} {}", out.empty() ? "" : ", ", n, name);
    return out;
}

Poco::JSON::Object figures_json(const FigureQuestion& question, std::string_view by,
                                const std::vector<ReportLine>& lines) {
    Poco::JSON::Object out(Poco::JSON_PRESERVE_KEY_ORDER);
    const std::string name(by.empty() ? "day" : by);
    out.set("by", name);
    out.set("from", day_text(question.filter.from_day));
    out.set("to", day_text(question.filter.to_day));
    Poco::JSON::Array array;
    ReportLine sum;
    for (const ReportLine& line : lines) {
        if (is_untried(line, question.by)) continue;
        Poco::JSON::Object::Ptr one = new Poco::JSON::Object(Poco::JSON_PRESERVE_KEY_ORDER);
        one->set(name, utf8_of(line.key));
        const auto figures = line_json(line, question.by);
        for (const auto& field : figures->getNames()) one->set(field, figures->get(field));
        array.add(one);
        sum.add(line);
    }
    out.set("lines", array);
    out.set("total", line_json(sum, question.by));
    return out;
}

}  // namespace posthouse::admin
