#include "relay/reverse_path.h"

#include <algorithm>
#include <optional>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/mailauth/return_token.h"
#include "protocols/smtp/path.h"
#include "protocols/smtp/presets.h"
#include "relay/suppress.h"
#include "storage/route_match.h"
#include "storage/settings.h"
#include "storage/way_tokens.h"

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

namespace {

// Where a bounce to a token would reach us; "" nowhere.
Result<std::string> token_domain(const storage::Snapshot& snapshot, const storage::QueueItem& item,
                                 const PathWay& way) {
    if (!is_ours(item)) return std::string();
    if (const auto* const preset = smtp::find_preset(way.preset); preset != nullptr && preset->own_address_only) {
        return std::string();
    }
    TRY(const std::string by_way, storage::setting_text(snapshot.catalog(), "return_path.tokens_by_way"));
    std::string whose = storage::tokens_of_way(by_way, way.name);
    if (whose.empty()) {
        TRY(whose, storage::setting_text(snapshot.catalog(), "return_path.tokens"));
    }
    const bool is_letter = item.mail_class == static_cast<std::uint8_t>(storage::QueueClass::interactive);
    if (whose != "all" && (whose != "programs" || is_letter)) return std::string();
    if (!way.return_path.empty()) return way.return_path;
    const std::string domain = storage::address_domain(item.reverse_path);
    const auto home = snapshot.catalog().domain(domain);
    if (!home && home.error().code != Errc::not_found) return Error(home.error());
    return home && home->is_hosted ? domain : std::string();
}

// The least that is true of all: one recipient, one domain; of several nothing.
std::optional<std::uint32_t> whose_token(const std::vector<storage::QueueRecipient>& recipients) {
    if (recipients.empty()) return std::nullopt;
    const std::string& first = recipients.front().address;
    if (recipients.size() == 1) return mailauth::return_hash(first);
    const std::uint32_t domain = mailauth::return_hash_of_domain(first);
    const bool is_one = std::ranges::all_of(
        recipients, [&](const auto& one) { return mailauth::return_hash_of_domain(one.address) == domain; });
    return is_one ? std::optional(domain) : std::nullopt;
}

}  // namespace

Result<std::string> choose_reverse_path(const storage::Snapshot& snapshot, const storage::QueueItem& item,
                                        const std::vector<storage::QueueRecipient>& recipients, const PathWay& way,
                                        std::string_view sealing_key, Time now) {
    TRY(const std::string domain, token_domain(snapshot, item, way));
    if (domain.empty()) {
        // The keys are made for those alone that may need them.
        if (way.return_path.empty() && item.forwarded_by.empty()) return item.reverse_path;
        return reverse_path_for(item, way.return_path, mailauth::srs_keys(sealing_key), now);
    }
    mailauth::ReturnToken token;
    token.queue = static_cast<std::uint64_t>(storage::raw(item.id));
    token.recipient = whose_token(recipients);
    return mailauth::make_return_token(mailauth::return_keys(sealing_key), token, item.created) + "@" + domain;
}

bool bears_token(const storage::QueueItem& item, std::string_view reverse_path) {
    return reverse_path != item.reverse_path &&
           mailauth::is_return_token(reverse_path.substr(0, reverse_path.rfind('@')));
}

}  // namespace posthouse::relay
