#pragma once
/// storage/annotations: small values that clients keep with a mailbox, or with the account as a whole (RFC 5464).
/// A value is for its owner alone or for all who may see the mailbox. They go with the mailbox or the account they
/// belong to. MailView::annotations and MailTx::annotate read and write them. Values.
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "storage/types.h"

namespace posthouse::storage {

/// RFC 5464 3.1: /private and /shared entries.
enum class Audience { owner, everyone };

struct Annotation {
    Audience audience = Audience::owner;
    std::string entry;  ///< lower case, without /private or /shared: "/comment"
    std::string value;
};

struct AnnotationChange {
    Audience audience = Audience::owner;
    std::string entry;
    std::optional<std::string> value;  ///< nothing: it goes
};

/// RFC 5464 4.1 asks for at least 1024 octets and 10 entries.
inline constexpr std::size_t kAnnotationOctetsMax = 64UL * 1024;
inline constexpr std::size_t kAnnotationsMax = 100;  ///< of a mailbox (or the account) and audience

/// "\\Sent", as LIST and /private/specialuse have it (RFC 6154 2, 4); "" for none.
std::string_view special_use_name(SpecialUse use);
/// The same the other way round, in any case of letters; nothing where it is none that there is here.
std::optional<SpecialUse> special_use_named(std::string_view name);

/// What of a mailbox is tied to its special use; its owner's alone. Setting it moves the use from the mailbox that has
/// it. Errc::unsupported: a use that there is not, more than one, or one for INBOX.
inline constexpr std::string_view kSpecialUseEntry = "/specialuse";

}  // namespace posthouse::storage
