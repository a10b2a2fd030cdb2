#pragma once
/// storage/annotations: small values that clients keep with a mailbox, or with the account as a whole (RFC 5464).
/// A value is for its owner alone or for all who may see the mailbox. They go with the mailbox or the account they
/// belong to. MailView::annotations and MailTx::annotate read and write them. Values.
#include <cstddef>
#include <optional>
#include <string>

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

}  // namespace posthouse::storage
