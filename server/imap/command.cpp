#include "server/imap/command.h"

#include <array>
#include <string>

#include "protocols/base/ascii.h"

namespace posthouse::server::imap {

namespace {

constexpr auto kExtensions = std::to_array<Extension>({
    {"IMAP4rev1", kAnyPhase, "3501"},
    {"IMAP4rev2", kAnyPhase, "9051"},
    {"LITERAL+", kAnyPhase, "7888"},
    {"SASL-IR", kBeforeLogin, "4959"},
    {"UIDPLUS", kAnyPhase, "4315"},
    {"CHILDREN", kAnyPhase, "3348"},
    {"SPECIAL-USE", kAnyPhase, "6154"},
    {"CREATE-SPECIAL-USE", kAnyPhase, "6154 3"},
    {"LIST-EXTENDED", kAnyPhase, "5258"},
    {"LIST-STATUS", kAnyPhase, "5819"},
    {"STATUS=SIZE", kAnyPhase, "8438"},
    {"OBJECTID", kAnyPhase, "8474"},
    {"QUOTA=RES-STORAGE", kAnyPhase, "9208 5.1"},
    {"QUOTA=RES-MESSAGE", kAnyPhase, "9208 5.2"},
    {"LIST-METADATA", kAnyPhase, "9590"},
    {"LIST-MYRIGHTS", kAnyPhase, "8440"},
    {"RIGHTS=texk", kAnyPhase, "4314 5.1.1"},
    {"ESEARCH", kAnyPhase, "4731"},
    {"SEARCHRES", kAnyPhase, "5182"},
    {"WITHIN", kAnyPhase, "5032"},
    {"ESORT", kAnyPhase, "5267"},
    {"PARTIAL", kAnyPhase, "9394"},
    {"SORT=DISPLAY", kAnyPhase, "5957"},
    {"I18NLEVEL=1", kAnyPhase, "5255"},
    {"CONDSTORE", kAnyPhase, "7162"},
    {"INPROGRESS", kAnyPhase, "9585"},
    {"QRESYNC", kAnyPhase, "7162"},
    {"BINARY", kAnyPhase, "3516"},
    {"PREVIEW", kAnyPhase, "8970"},
    {"MULTIAPPEND", kAnyPhase, "3502"},
    {"CATENATE", kAnyPhase, "4469"},
    {"SAVEDATE", kAnyPhase, "8514"},
    {"UTF8=ACCEPT", kAnyPhase, "9755"},
    {"UIDONLY", kAnyPhase,
     "9586"},  // off until it is switched on: a phone that sees it enables it (storage/schema.sql)
});

constexpr auto kEnablings = std::to_array<Enabling>({
    {"CONDSTORE", static_cast<std::uint8_t>(Enabled::condstore), "7162 3.1"},
    {"QRESYNC", Enabled::qresync | Enabled::condstore, "7162 3.2.3"},
    {"UIDONLY", static_cast<std::uint8_t>(Enabled::uidonly), "9586"},
    {"UTF8=ACCEPT", static_cast<std::uint8_t>(Enabled::utf8_accept), "9755 3"},
    {"METADATA", static_cast<std::uint8_t>(Enabled::metadata), "5464 4.1"},
    {"IMAP4rev2", static_cast<std::uint8_t>(Enabled::imap4rev2), "9051 A"},
});

}  // namespace

std::span<const Extension> extensions() { return kExtensions; }
std::span<const Enabling> enablings() { return kEnablings; }

std::span<const std::span<const Command>> all_commands() {
    static const auto kAll = std::to_array<std::span<const Command>>({
        any_commands(),      login_commands(),    mailbox_commands(), list_commands(),   status_commands(),
        quota_commands(),    metadata_commands(), acl_commands(),     select_commands(), append_commands(),
        replace_commands(),  fetch_commands(),    store_commands(),   copy_commands(),   search_commands(),
        esearch_commands(),  sort_commands(),     thread_commands(),  idle_commands(),   notify_commands(),
        compress_commands(), batch_commands(),
    });
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

bool takes_numbers(const Command& row) {
    // EXPUNGE takes nothing; its form with UID takes what plain EXPUNGE leaves out.
    return row.verb != "EXPUNGE" && find_command("UID " + std::string(row.verb)) != nullptr;
}

}  // namespace posthouse::server::imap
