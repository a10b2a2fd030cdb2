#pragma once
/// protocols/mime/parameter: values of Content-Type and Content-Disposition with their parameters
/// (RFC 2045 5.1, RFC 2183 2) and the continuations and charsets of RFC 2231.
#include <string>
#include <string_view>
#include <vector>

#include "protocols/mime/header.h"

namespace posthouse::mime {

struct Parameter {
    std::string name;   ///< as written; with a final '*' where the value is in the extended form of RFC 2231
    std::string value;  ///< unquoted; continuations joined; extended values still charset'language'%XX
    bool operator==(const Parameter&) const = default;
};

struct ContentValue {
    std::string type;                   ///< "text", or the whole disposition; as written
    std::string subtype;                ///< "plain"; empty for dispositions and broken values
    std::vector<Parameter> parameters;  ///< at most Limits::params_max
};

/// "text/plain; charset=utf-8" (RFC 2045 5.1). A value without '/' has an empty subtype.
ContentValue parse_content_type(std::string_view field_value, const Limits& limits = kLimits);
/// "attachment; filename=x" (RFC 2183 2).
ContentValue parse_content_disposition(std::string_view field_value, const Limits& limits = kLimits);
/// The value of a field that is one token, e.g. Content-Transfer-Encoding (RFC 2045 6.1), without comments; empty for
/// anything else.
std::string parse_token_value(std::string_view field_value);

/// The decoded UTF-8 value of a parameter: RFC 2231 charset undone, else encoded words decoded as mail programs
/// write them against the RFC. Nothing where it is absent. `name` without '*'.
std::string parameter_value(const std::vector<Parameter>& parameters, std::string_view name);
/// The value as written, or an empty view; `name` without '*'. The view lives as long as `parameters`.
std::string_view raw_parameter(const std::vector<Parameter>& parameters, std::string_view name);

}  // namespace posthouse::mime
