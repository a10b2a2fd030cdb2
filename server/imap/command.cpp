#include "server/imap/command.h"

#include <array>

#include "protocols/base/ascii.h"

namespace posthouse::server::imap {

namespace {

constexpr std::array<Extension, 9> kExtensions = {{
    {"IMAP4rev1", kAnyPhase, "3501"},
    {"LITERAL+", kAnyPhase, "7888"},
    {"SASL-IR", kBeforeLogin, "4959"},
    {"UIDPLUS", kAnyPhase, "4315"},
    {"CHILDREN", kAnyPhase, "3348"},
    {"SPECIAL-USE", kAnyPhase, "6154"},
    {"ESEARCH", kAnyPhase, "4731"},
    {"SEARCHRES", kAnyPhase, "5182"},
    {"WITHIN", kAnyPhase, "5032"},
}};

}  // namespace

std::span<const Extension> extensions() { return kExtensions; }

std::span<const std::span<const Command>> all_commands() {
    static const std::array<std::span<const Command>, 12> kAll = {
        any_commands(),   login_commands(), mailbox_commands(), list_commands(),   select_commands(), append_commands(),
        fetch_commands(), store_commands(), copy_commands(),    search_commands(), idle_commands(),
        notify_commands(),
    };
    return kAll;
}

const Command* find_command(std::string_view verb) {
    for (const auto& rows : all_commands()) {
        for (const Command& row : rows) {
            if (ascii::equals_ci(row.verb, verb)) return &row;
        }
    }
    return nullptr;
}

}  // namespace posthouse::server::imap
