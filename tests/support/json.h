#pragma once
/// tests/support/json: a small JSON reader for test data (RFC 8259). Strict enough for files that tests own; objects
/// keep the order of their members. Not for input from outside.
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "protocols/base/result.h"

namespace posthouse::test {

class Json {
 public:
    enum class Kind { null, boolean, number, string, array, object };

    Kind kind = Kind::null;
    bool boolean = false;
    double number = 0;
    std::string text;
    std::vector<Json> items;                            ///< of an array
    std::vector<std::pair<std::string, Json>> members;  ///< of an object

    bool is_null() const { return kind == Kind::null; }
    bool is_array() const { return kind == Kind::array; }
    bool is_object() const { return kind == Kind::object; }
    bool is_string() const { return kind == Kind::string; }
    bool has(std::string_view key) const { return find(key) != nullptr; }
    const Json* find(std::string_view key) const;
    /// The member, or a null value where there is none.
    const Json& operator[](std::string_view key) const;
    /// The item, or a null value past the end.
    const Json& operator[](std::size_t index) const;
    std::int64_t integer() const { return static_cast<std::int64_t>(number); }
    bool operator==(const Json&) const = default;

    static Json of(std::string value);
    static Json of(double value);
    static Json array();

    /// Compact text, for comparing and for messages.
    std::string dump() const;
};

/// Errc::invalid with the offset of the fault.
Result<Json> parse_json(std::string_view text);

/// The folder of conformance data: $POSTHOUSE_CONFORMANCE, or ../shared/conformance beside the project. Empty where it
/// does not exist: the test then prints "skipped".
std::string conformance_folder();
/// The whole file; a missing one is empty and prints a line.
std::string read_whole_file(const std::string& path);

}  // namespace posthouse::test
