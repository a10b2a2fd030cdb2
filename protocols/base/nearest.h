#pragma once
/// protocols/base/nearest: what somebody may have meant who mistyped a name. Pure.
#include <span>
#include <string>
#include <string_view>

namespace posthouse {

/// The nearest of `known`, at most three letters away; "" where none is.
std::string_view nearest(std::string_view wrong, std::span<const std::string_view> known);
/// "did you mean smtp?", or all of them where none is near: "known here are: imap, smtp".
std::string suggest(std::string_view wrong, std::span<const std::string_view> known);

}  // namespace posthouse
