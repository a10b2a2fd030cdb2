#include "server/imap/store_listing.h"

#include "protocols/imap/envelope_text.h"
#include "protocols/mime/header.h"
#include "protocols/mime/text.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

using storage::ListedFacts;
using storage::Listing;
using storage::MailView;

// Where the UIDs wanted lie close together one look at the range is cheaper than one for each.
constexpr std::uint64_t kSparse = 32;

// Calls `visit(line, facts)` for each line whose entry is there, by UID.
template <class Visit>
Result<> each_line(const MailView& mail, MailboxId mailbox, const std::vector<ListedLine>& lines, Listing listing,
                   Visit visit) {
    for (std::size_t at = 0; at < lines.size();) {
        std::size_t end = at + 1;
        while (end < lines.size() && lines[end].uid - lines[end - 1].uid <= kSparse) ++end;
        const auto take = [&](const ListedFacts& facts) {
            while (at < end && lines[at].uid < facts.uid) ++at;
            if (at < end && lines[at].uid == facts.uid) visit(lines[at], facts);
        };
        TRY_VOID(mail.each_listed(mailbox, lines[at].uid, lines[end - 1].uid, listing, take));
        at = end;
    }
    return {};
}

// The sent date of RFC 5256 2.2.
std::int64_t sent_ms(const ListedLine& line, const ListedFacts& facts) {
    return facts.date_ms.value_or(line.internal_date_s * 1000);
}

// The ids in the References fields of a message; none where it cannot be read.
std::vector<std::string> read_references(const MailView& mail, MailboxId mailbox, const ListedFacts& facts) {
    std::vector<std::string> out;
    const auto body = mail.body(mailbox, facts.uid);
    if (!body) return out;
    const auto header = body->read(0, facts.header_octets);
    if (!header) return out;
    for (const std::string_view value : mime::find_all(mime::parse_fields(*header), "References")) {
        for (std::string& id : mime::message_ids(value)) out.push_back(std::move(id));
    }
    return out;
}

std::vector<std::string> first_only(std::vector<std::string> ids) {
    if (ids.size() > 1) ids.resize(1);
    return ids;
}

}  // namespace

Result<> gather_sort(const MailView& mail, MailboxId mailbox, const std::vector<ListedLine>& lines,
                     wire::Sorter& into) {
    const auto message_of = [](const ListedLine& line) {
        wire::SortMessage out;
        out.number = line.told;
        out.arrival_s = line.internal_date_s;
        out.size_octets = line.size_octets;
        return out;
    };
    if (into.needs() == wire::SortNeeds::memory) {
        for (const ListedLine& line : lines) into.add(message_of(line));
        return {};
    }
    const Listing listing = into.needs() == wire::SortNeeds::date ? Listing::dates : Listing::texts;
    return each_line(mail, mailbox, lines, listing, [&](const ListedLine& line, const ListedFacts& facts) {
        wire::SortMessage message = message_of(line);
        message.sent_ms = sent_ms(line, facts);
        message.envelope = facts.envelope;
        into.add(message);
    });
}

Result<> gather_threads(const MailView& mail, MailboxId mailbox, const std::vector<ListedLine>& lines,
                        wire::Threader& into) {
    return each_line(mail, mailbox, lines, Listing::texts, [&](const ListedLine& line, const ListedFacts& facts) {
        const std::string subject = wire::envelope_subject(facts.envelope);
        wire::ThreadMessage message;
        message.number = line.told;
        message.sent_ms = sent_ms(line, facts);
        message.subject = subject;
        if (into.algorithm() == wire::ThreadAlgorithm::references) {
            auto own = first_only(mime::message_ids(facts.message_id));
            if (!own.empty()) message.message_id = std::move(own.front());
            message.references = read_references(mail, mailbox, facts);
            if (message.references.empty()) message.references = first_only(mime::message_ids(facts.in_reply_to));
        }
        into.add(message);
    });
}

}  // namespace posthouse::server::imap
