#include "protocols/policy/mta_sts.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"

namespace posthouse::policy {

namespace {

constexpr std::string_view kVersion = "STSv1";
constexpr std::size_t kIdOctetsMax = 32;
constexpr std::size_t kNameOctetsMax = 32;  // of a field
constexpr std::size_t kDomainOctetsMax = 253;
constexpr std::array kModes{"none", "testing", "enforce"};

bool is_host_octet(char c) { return ascii::is_alnum(c) || c == '-' || c == '_'; }

// Labels with dots between them.
bool is_domain(std::string_view text) {
    if (text.empty() || text.size() > kDomainOctetsMax) return false;
    bool label = false;
    for (const char c : text) {
        if (c == '.' ? !label : !is_host_octet(c)) return false;
        label = c != '.';
    }
    return label;
}

bool is_field_name(std::string_view name) {
    const auto fits = [](char c) { return ascii::is_alnum(c) || c == '_' || c == '-' || c == '.'; };
    return !name.empty() && name.size() <= kNameOctetsMax && ascii::is_alnum(name.front()) &&
           std::ranges::all_of(name, fits);
}

bool is_id(std::string_view id) {
    return !id.empty() && id.size() <= kIdOctetsMax && std::ranges::all_of(id, ascii::is_alnum);
}

// sts-text-record = sts-version 1*(sts-field-delim sts-field) [sts-field-delim]       RFC 8461 3.1
Result<std::string> id_of(std::string_view record) {
    Cursor in(record);
    std::string id;
    in.take_until(';');
    while (in.take(';')) {
        const std::string_view field = ascii::trim(in.take_until(';'));
        if (field.empty() && in.at_end()) break;  // the final delimiter
        const std::size_t equals = field.find('=');
        if (equals == std::string_view::npos || !is_field_name(field.substr(0, equals))) {
            return Error(Errc::invalid, "the MTA-STS record has a field that is not name=value");
        }
        if (field.substr(0, equals) != "id" || !id.empty()) continue;
        id = field.substr(equals + 1);
        if (!is_id(id)) return Error(Errc::invalid, "the id of the MTA-STS record is not 1 to 32 letters and digits");
    }
    if (id.empty()) return Error(Errc::invalid, "the MTA-STS record has no id");
    return id;
}

// The next line without its end (LF or CRLF) and without blanks behind it.
std::string_view take_line(Cursor& in) {
    std::string_view line = in.take_until('\n');
    in.take('\n');
    while (!line.empty() && (ascii::is_space(line.back()) || line.back() == '\r')) line.remove_suffix(1);
    return line;
}

struct Seen {
    bool version = false;
    bool mode = false;
    bool max_age = false;
};

Result<> read_field(std::string_view name, std::string_view value, StsPolicy& policy, Seen& seen) {
    if (name == "version" && !seen.version) {
        if (value != kVersion) return Error(Errc::invalid, "the version of the policy is not STSv1");
        seen.version = true;
    } else if (name == "mode" && !seen.mode) {
        const auto mode = parse_sts_mode(value);
        if (!mode) return Error(Errc::invalid, "the mode of the policy is not none, testing or enforce");
        policy.mode = *mode;
        seen.mode = true;
    } else if (name == "max_age" && !seen.max_age) {
        const auto seconds = ascii::parse_number(value);
        if (!seconds || value.size() > 10) return Error(Errc::invalid, "the max_age of the policy is no number");
        policy.max_age = std::min(std::chrono::seconds(*seconds), kStsMaxAgeMax);
        seen.max_age = true;
    } else if (name == "mx") {
        std::string pattern = ascii::to_lower(value);
        if (pattern.ends_with('.')) pattern.pop_back();
        const std::string_view domain = pattern.starts_with("*.") ? std::string_view(pattern).substr(2) : pattern;
        if (!is_domain(domain)) return Error(Errc::invalid, "an mx of the policy is not a host name");
        if (policy.mx.size() >= kStsMxMax) return Error(Errc::too_large, "the policy has too many mx fields");
        policy.mx.push_back(std::move(pattern));
    }
    return {};
}

}  // namespace

std::string_view to_string(StsMode mode) { return kModes[static_cast<std::size_t>(mode)]; }

std::optional<StsMode> parse_sts_mode(std::string_view text) {
    const auto found = std::ranges::find(kModes, text);
    if (found == kModes.end()) return std::nullopt;
    return static_cast<StsMode>(found - kModes.begin());
}

Result<std::string> parse_sts_record(std::span<const std::string> texts) {
    const std::string* record = nullptr;
    for (const std::string& text : texts) {
        // "Records that do not begin with v=STSv1; are discarded." A blank before the semicolon is in the grammar.
        Cursor in(text);
        if (!in.take("v=STSv1")) continue;
        in.skip_blanks();
        if (in.peek() != ';') continue;
        if (record != nullptr) return Error(Errc::invalid, "there are two MTA-STS records");
        record = &text;
    }
    if (record == nullptr) return Error(Errc::not_found, "there is no MTA-STS record");
    return id_of(*record);
}

Result<StsPolicy> parse_sts_policy(std::string_view text) {
    if (text.size() > kStsPolicyOctetsMax) return Error(Errc::too_large, "the policy is longer than 64 KiB");
    StsPolicy policy;
    Seen seen;
    for (Cursor in(text); !in.at_end();) {
        const std::string_view line = take_line(in);
        if (line.empty()) continue;
        const std::size_t colon = line.find(':');
        if (colon == std::string_view::npos || !is_field_name(line.substr(0, colon))) {
            return Error(Errc::invalid, "the policy has a line that is not name: value");
        }
        TRY_VOID(read_field(line.substr(0, colon), ascii::trim(line.substr(colon + 1)), policy, seen));
    }
    if (!seen.version) return Error(Errc::invalid, "the policy has no version");
    if (!seen.mode) return Error(Errc::invalid, "the policy has no mode");
    if (!seen.max_age) return Error(Errc::invalid, "the policy has no max_age");
    if (policy.mx.empty() && policy.mode != StsMode::none) return Error(Errc::invalid, "the policy names no mx");
    return policy;
}

bool sts_mx_matches(std::span<const std::string> patterns, std::string_view host) {
    if (host.ends_with('.')) host.remove_suffix(1);
    return std::ranges::any_of(patterns, [&](std::string_view pattern) {
        if (!pattern.starts_with("*.")) return ascii::equals_ci(pattern, host);
        const std::size_t dot = host.find('.');
        return dot != std::string_view::npos && dot > 0 && ascii::equals_ci(pattern.substr(1), host.substr(dot));
    });
}

std::string format_sts_record(std::string_view id) { return fmt::format("v={}; id={}", kVersion, id); }

StsPolicy hosted_sts_policy(StsMode mode, std::vector<std::string> mx, std::string_view hostname) {
    constexpr std::chrono::seconds kDay{86'400};
    StsPolicy out;
    out.mode = mode;
    out.max_age = mode == StsMode::enforce ? 14 * kDay : kDay;
    out.mx = std::move(mx);
    if (out.mx.empty()) out.mx.emplace_back(hostname);
    return out;
}

std::string format_sts_policy(const StsPolicy& policy) {
    std::string out = fmt::format("version: {}\r\nmode: {}\r\n", kVersion, to_string(policy.mode));
    for (const std::string& mx : policy.mx) out += fmt::format("mx: {}\r\n", mx);
    return out + fmt::format("max_age: {}\r\n", policy.max_age.count());
}

std::vector<std::string> sts_policy_lines(std::string_view text) {
    std::vector<std::string> out;
    for (Cursor in(text); !in.at_end();) {
        const std::string_view line = take_line(in);
        if (!line.empty()) out.emplace_back(line);
    }
    return out;
}

}  // namespace posthouse::policy
