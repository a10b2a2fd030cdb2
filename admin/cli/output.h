#pragma once
/// admin/cli/output: one way out for every command, for people and for machines.
/// A handler makes records; as text they become aligned lines or columns, with --json one JSON value.
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace posthouse::admin {

using Value = std::variant<std::string, std::int64_t, bool, std::vector<std::string>>;

/// Names and values in the order they are shown.
struct Record {
    std::vector<std::pair<std::string, Value>> fields;

    Record& add(std::string_view name, std::string_view value) { return put(name, std::string(value)); }
    Record& add(std::string_view name, const char* value) { return put(name, std::string(value)); }
    Record& add(std::string_view name, bool value) { return put(name, value); }
    Record& add(std::string_view name, std::int64_t value) { return put(name, value); }
    Record& add(std::string_view name, std::uint64_t value) { return put(name, static_cast<std::int64_t>(value)); }
    Record& add(std::string_view name, std::vector<std::string> value) { return put(name, std::move(value)); }

 private:
    Record& put(std::string_view name, Value value) {
        fields.emplace_back(std::string(name), std::move(value));
        return *this;
    }
};

enum class Format { text, json };

class Output {
 public:
    Output(std::ostream& out, Format format) : out_(out), format_(format) {}

    bool json() const { return format_ == Format::json; }
    /// For people only; nothing with --json. Controls in it are the caller's own.
    void say(std::string_view text);
    /// The same, and seen at once: for what takes long.
    void say_now(std::string_view text);
    /// One thing: "name: value" lines, or an object.
    void record(const Record& record);
    /// Many of a kind: columns under a heading, or an array. `none` is said where there are none.
    void table(const std::vector<Record>& records, std::string_view none);

 private:
    std::ostream& out_;
    Format format_;
};

/// A value as people read it, escaped for a terminal.
std::string to_text(const Value& value);
/// "1.5 MiB".
std::string format_octets(std::uint64_t octets);
/// "5G", "200M", "1024": Errc::invalid text for anything else. 0 octets for "none".
bool parse_octets(std::string_view text, std::uint64_t& octets);

}  // namespace posthouse::admin
