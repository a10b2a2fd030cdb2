#include "protocols/imap/capability.h"

#include <algorithm>
#include <array>

#include "protocols/base/ascii.h"

namespace posthouse::imap {

namespace {

constexpr auto kCapabilities = std::to_array<Capability>({
    {"ACL", ""},
    {"APPENDLIMIT", ""},
    {"AUTH=LOGIN", ""},
    {"AUTH=OAUTHBEARER", ""},
    {"AUTH=PLAIN", ""},
    {"AUTH=SCRAM-SHA-256", ""},
    {"AUTH=SCRAM-SHA-256-PLUS", ""},
    {"AUTH=XOAUTH2", ""},
    {"BINARY", ""},
    {"CATENATE", ""},
    {"CHILDREN", ""},
    {"COMPRESS=DEFLATE", ""},
    {"CONDSTORE", ""},
    {"CONTEXT=SEARCH", "ESEARCH"},
    {"CREATE-SPECIAL-USE", "SPECIAL-USE"},
    {"ENABLE", ""},
    {"ESEARCH", ""},
    {"ESORT", "SORT ESEARCH"},
    {"I18NLEVEL=1", ""},  // how texts are compared stays as it is: nothing but the word goes
    {"ID", ""},
    {"IDLE", ""},
    {"IMAP4rev1", ""},
    {"IMAP4rev2", "ENABLE"},
    {"INPROGRESS", ""},
    {"LIST-EXTENDED", ""},
    {"LIST-METADATA", "LIST-EXTENDED METADATA"},
    {"LIST-MYRIGHTS", "LIST-EXTENDED ACL"},
    {"LIST-STATUS", "LIST-EXTENDED"},
    {"LITERAL+", ""},
    {"LOGINDISABLED", ""},
    {"METADATA", ""},
    {"MOVE", ""},
    {"MULTIAPPEND", ""},
    {"MULTISEARCH", "ESEARCH"},
    {"NAMESPACE", ""},
    {"NOTIFY", ""},
    {"OBJECTID", ""},
    {"PARTIAL", "ESEARCH"},
    {"PREVIEW", ""},
    {"QRESYNC", "CONDSTORE ENABLE"},
    {"QUOTA", ""},
    {"QUOTA=RES-MESSAGE", "QUOTA"},
    {"QUOTA=RES-STORAGE", "QUOTA"},
    {"REPLACE", ""},
    {"RIGHTS=texk", "ACL"},
    {"SASL-IR", ""},
    {"SAVEDATE", ""},
    {"SEARCHRES", "ESEARCH"},
    {"SORT", ""},
    {"SORT=DISPLAY", "SORT"},
    {"SPECIAL-USE", ""},
    {"STARTTLS", ""},
    {"STATUS=SIZE", ""},
    {"THREAD=ORDEREDSUBJECT", ""},
    {"THREAD=REFERENCES", ""},
    {"UIDBATCHES", ""},
    {"UIDONLY", "ENABLE"},
    {"UIDPLUS", ""},
    {"UNAUTHENTICATE", ""},
    {"UNSELECT", ""},
    {"UTF8=ACCEPT", "ENABLE"},
    {"WITHIN", ""},
});

}  // namespace

std::span<const Capability> capabilities() { return kCapabilities; }

std::string_view capability_name(std::string_view shown) {
    constexpr std::string_view kAppendLimit = "APPENDLIMIT";
    return ascii::starts_with_ci(shown, "APPENDLIMIT=") ? shown.substr(0, kAppendLimit.size()) : shown;
}

const Capability* find_capability(std::string_view shown) {
    const std::string_view name = capability_name(shown);
    const auto row =
        std::ranges::find_if(kCapabilities, [&](const Capability& one) { return ascii::equals_ci(one.name, name); });
    return row == kCapabilities.end() ? nullptr : &*row;
}

}  // namespace posthouse::imap
