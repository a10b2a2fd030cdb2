// What CAPABILITY can show and what can be switched off are the same names (protocols/imap/capability.h).
#include "protocols/imap/capability.h"

#include <doctest/doctest.h>

#include <set>
#include <string>

#include "protocols/imap/fetch.h"
#include "protocols/imap/search.h"
#include "protocols/imap/search_return.h"
#include "protocols/imap/sort.h"
#include "server/imap/command.h"
#include "server/imap/status.h"
#include "server/imap/switches.h"

using namespace posthouse;
using namespace posthouse::server::imap;

namespace {

void add_all(std::set<std::string, std::less<>>& into, std::string_view list) {
    while (!list.empty()) {
        const std::size_t end = std::min(list.find(' '), list.size());
        into.emplace(list.substr(0, end));
        list.remove_prefix(std::min(end + 1, list.size()));
    }
}

Switches off(std::string_view capability) {
    storage::CapabilitySwitch row;
    row.capability = capability;
    return Switches({row});
}

}  // namespace

TEST_CASE("capabilities: each that is announced can be switched off, and no other") {
    std::set<std::string, std::less<>> announced = {"APPENDLIMIT", "LOGINDISABLED"};
    for (const Extension& one : extensions()) announced.emplace(one.capability);
    for (const auto& rows : all_commands()) {
        for (const Command& row : rows) add_all(announced, row.capability);
    }
    std::set<std::string, std::less<>> known;
    for (const posthouse::imap::Capability& one : posthouse::imap::capabilities()) {
        if (!one.name.starts_with("AUTH=")) known.emplace(one.name);
        std::set<std::string, std::less<>> needs;
        add_all(needs, one.needs);
        for (const std::string& need : needs) CHECK(posthouse::imap::find_capability(need) != nullptr);
    }
    CHECK(announced == known);
}

TEST_CASE("capabilities: what a word of the grammar names as its own is one") {
    std::set<std::string, std::less<>> named;
    for (const auto& row : posthouse::imap::fetch_items()) add_all(named, row.capability);
    for (const auto& row : posthouse::imap::search_keys()) add_all(named, row.capability);
    for (const auto& row : posthouse::imap::search_return_options()) add_all(named, row.capability);
    for (const auto& row : posthouse::imap::sort_keys()) add_all(named, row.capability);
    for (const StatusItem& row : status_items()) add_all(named, row.capability);
    CHECK(named.size() > 10);
    for (const std::string& name : named) {
        CAPTURE(name);
        CHECK(posthouse::imap::find_capability(name) != nullptr);
    }
}

TEST_CASE("switches: what rests on a capability goes with it, and nothing else") {
    const storage::AccountId anybody{};
    CHECK(off("CONDSTORE").is_off("QRESYNC", anybody, ""));
    CHECK(!off("QRESYNC").is_off("CONDSTORE", anybody, ""));
    CHECK(off("ESEARCH").is_off("ESORT", anybody, ""));
    CHECK(off("ACL").is_off("LIST-MYRIGHTS", anybody, ""));
    CHECK(off("ENABLE").is_off("IMAP4rev2", anybody, ""));
    // A number behind "=" is no part of the name; a word is.
    CHECK(off("APPENDLIMIT").is_off("APPENDLIMIT=52428800", anybody, ""));
    CHECK(off("APPENDLIMIT=1000").is_off("APPENDLIMIT=52428800", anybody, ""));
    CHECK(!off("AUTH=LOGIN").is_off("AUTH=PLAIN", anybody, ""));
    CHECK(!Switches().is_off("IDLE", anybody, ""));
}
