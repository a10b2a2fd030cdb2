#include "server/imap/names.h"

#include "protocols/imap/grammar.h"
#include "protocols/imap/mailbox_name.h"

namespace posthouse::server::imap {

Result<std::string> take_mailbox(Cursor& args) {
    constexpr posthouse::imap::Limits kLimits;
    TRY(const std::string name, posthouse::imap::take_astring(args));
    if (name.size() > kLimits.mailbox_octets_max) return Error(Errc::denied, "Mailbox name is too long");
    auto decoded = posthouse::imap::decode_mailbox(name);
    if (!decoded) return Error(Errc::denied, decoded.error().context);
    return decoded;
}

Result<std::string> take_space_mailbox(Cursor& args) {
    TRY_VOID(posthouse::imap::take_space(args));
    return take_mailbox(args);
}

std::string_view special_use_attribute(storage::SpecialUse use) {
    switch (use) {
        case storage::SpecialUse::none: return "";
        case storage::SpecialUse::drafts: return "\\Drafts";
        case storage::SpecialUse::sent: return "\\Sent";
        case storage::SpecialUse::junk: return "\\Junk";
        case storage::SpecialUse::trash: return "\\Trash";
        case storage::SpecialUse::archive: return "\\Archive";
    }
    return "";
}

}  // namespace posthouse::server::imap
