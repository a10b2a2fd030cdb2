#pragma once
/// protocols/imap/capability: the names that CAPABILITY may show here, and which rest on which, for switching them off.
/// Pure. Whether one is announced is the session's matter (server/imap/command.h); a test compares the two.
#include <span>
#include <string_view>

namespace posthouse::imap {

struct Capability {
    std::string_view name;   ///< as CAPABILITY shows it, without what follows "=" where that is a number
    std::string_view needs;  ///< without all of these it is nothing, divided by blanks; may be empty
};
std::span<const Capability> capabilities();

/// The row's name for what CAPABILITY shows: "APPENDLIMIT" for "APPENDLIMIT=52428800"; else the text itself.
std::string_view capability_name(std::string_view shown);
/// Null where there is none; any case.
const Capability* find_capability(std::string_view shown);

}  // namespace posthouse::imap
