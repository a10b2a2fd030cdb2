#include "server/imap/names.h"

#include <array>

#include "protocols/base/ascii.h"
#include "protocols/imap/grammar.h"
#include "storage/annotations.h"

namespace posthouse::server::imap {

Result<std::string> take_mailbox(Cursor& args, posthouse::imap::NameForm form) {
    constexpr posthouse::imap::Limits kLimits;
    TRY(const std::string name, posthouse::imap::take_astring(args));
    if (name.size() > kLimits.mailbox_octets_max) return Error(Errc::denied, "Mailbox name is too long");
    auto decoded = posthouse::imap::decode_mailbox(name, form);
    if (!decoded) return Error(Errc::denied, decoded.error().context);
    return decoded;
}

Result<std::string> take_space_mailbox(Cursor& args, posthouse::imap::NameForm form) {
    TRY_VOID(posthouse::imap::take_space(args));
    return take_mailbox(args, form);
}

std::string_view special_use_attribute(storage::SpecialUse use) { return storage::special_use_name(use); }

std::optional<storage::SpecialUse> special_use_of(std::string_view attribute) {
    return storage::special_use_named(attribute);
}

bool is_shared_name(std::string_view name) { return name.starts_with("Other Users/") || name.starts_with("Shared/"); }

std::string mailbox_object_id(storage::MailboxId id) { return "F" + std::to_string(storage::raw(id)); }

}  // namespace posthouse::server::imap
