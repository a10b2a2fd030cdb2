#include "relay/reverse_path.h"

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/smtp/path.h"

namespace posthouse::relay {

std::string reverse_path_for(const storage::QueueItem& item, std::string_view return_path,
                             const mailauth::SrsKeys& keys, Time now) {
    const std::string domain(return_path.empty() ? item.forwarded_by : return_path);
    if (item.reverse_path.empty() || domain.empty()) return item.reverse_path;
    const auto sender = smtp::parse_mailbox(item.reverse_path);
    if (!sender || sender->is_literal() || ascii::equals_ci(sender->domain, domain)) return item.reverse_path;
    auto local = mailauth::srs_forward(keys, mailauth::SrsMailbox{sender->local_part, sender->domain}, now);
    if (!local) {
        log::info("relay", "{}: the sender's address is too long to be rewritten at {}: it goes out as it is",
                  storage::format_queue_id(item.id), domain);
        return item.reverse_path;
    }
    return smtp::Path(*std::move(local), domain).spec();
}

}  // namespace posthouse::relay
