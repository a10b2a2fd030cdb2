#pragma once
/// admin/http/json_body: the JSON of a request, bounded before it is in memory, and that of an answer.
/// Threads: any.   Limits: below.
#include <Poco/JSON/Object.h>

#include <string>
#include <string_view>

#include "admin/http/router.h"

namespace posthouse::admin {

inline constexpr std::size_t kJsonDepthMax = 8;
/// Poco makes some 800 octets of "{}" alone, so what a body may hold is bounded besides its octets.
inline constexpr std::size_t kJsonValuesMax = 100'000;

/// How many values a JSON text can hold, give or take one: what may precede one is counted, but for what stands in
/// strings.
std::size_t count_json_values(std::string_view body);

/// JSON of any size and kJsonDepthMax; null where it is no object, no UTF-8, or names a member twice.
Poco::JSON::Object::Ptr parse_json_object(const std::string& body);

/// JSON is UTF-8 (RFC 8259 8.1); what a remote said may be anything.
std::string utf8_of(const std::string& text);
/// 200 with that object and a line end.
HttpAnswer answer_of(const Poco::JSON::Object& object);

}  // namespace posthouse::admin
