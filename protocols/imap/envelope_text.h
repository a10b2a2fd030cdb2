#pragma once
/// protocols/imap/envelope_text: reads single things out of the text of an ENVELOPE (RFC 3501 7.4.2), as the store
/// keeps it: for orders and threads, which look at thousands. What is not there or damaged reads as empty. Pure.
#include <string>
#include <string_view>

namespace posthouse::imap {

/// The lists of addresses, by their places.
enum class EnvelopeList { from = 2, sender, reply_to, to, cc, bcc };

/// NIL reads as "".
struct EnvelopeAddress {
    std::string name;  ///< encoded words stand as they came
    std::string mailbox;
    std::string host;
};

/// As it came, encoded words and all.
std::string envelope_subject(std::string_view envelope);
/// The first address of a list; of a group its name is the mailbox (RFC 3501 7.4.2).
EnvelopeAddress first_address(std::string_view envelope, EnvelopeList list);
/// The DISPLAY sort value of RFC 5957 3.
std::string display_name(const EnvelopeAddress& address);

}  // namespace posthouse::imap
