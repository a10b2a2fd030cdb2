#include "server/imap/store_search.h"

#include <algorithm>

#include "protocols/mime/text.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

using storage::Entry;
using storage::MailView;
using storage::MessageId;
using storage::search::Condition;
using storage::search::SearchIndex;
using storage::search::TextPart;
using Kind = Condition::Kind;
using Where = Condition::Where;

// Where the UIDs asked for lie close together one look at the range is cheaper than one for each.
constexpr std::uint64_t kSparse = 32;

// A field that holds a text stands in the folded header as "name: ... text": both strings must be there.
Condition field_condition(const wire::SearchNode& node) {
    std::vector<Condition> all;
    if (!node.field.empty()) all.emplace_back(Kind::narrowed, mime::fold_for_search(node.field + ": "), Where::header);
    if (!node.text.empty()) all.emplace_back(Kind::narrowed, node.text, Where::header);
    if (all.empty()) return Condition(Kind::unknown);
    return Condition(Kind::all_of, std::move(all));
}

// `from_memory`: what a key that needs no content counts as. Recursion is bounded by search_depth_max.
Condition translate(const wire::SearchProgram& program, const wire::SearchNode& node, Kind from_memory) {
    if (node.key->judge == nullptr) {
        // All keys of a list at the top must hold, so that those the session judged have; deeper it cannot be known.
        const bool list = node.key->argument == wire::SearchArgument::none;
        const Kind beneath = list ? from_memory : Kind::unknown;
        std::vector<Condition> parts;
        for (const std::size_t child : node.children) {
            parts.push_back(translate(program, program.nodes[child], beneath));
        }
        if (list) return Condition(Kind::all_of, std::move(parts));
        const bool either = node.key->argument == wire::SearchArgument::two_keys;
        return Condition(either ? Kind::any_of : Kind::none_of, std::move(parts));
    }
    switch (node.key->place) {
        case wire::SearchPlace::nowhere:
        case wire::SearchPlace::entry: return Condition(from_memory);
        case wire::SearchPlace::raw_header: return Condition(Kind::unknown);
        case wire::SearchPlace::field: return field_condition(node);
        case wire::SearchPlace::body: return Condition(Kind::text, node.text, Where::body);
        case wire::SearchPlace::text: return Condition(Kind::text, node.text);
    }
    return Condition(Kind::unknown);
}

/// The entries of this mailbox by UID, in ascending order: whose message a UID is decides the store, not the session.
class EntryLookup {
 public:
    EntryLookup(const MailView& mail, MailboxId mailbox) : mail_(mail), mailbox_(mailbox) {}

    /// Before a run of find() over `uids`, which ascend.
    Result<> prepare(Uid first, Uid last, std::size_t count) {
        dense_ = last >= first && last - first < kSparse * count;
        if (!dense_) return {};
        TRY(entries_, mail_.entries(mailbox_, first, last));
        at_ = 0;
        return {};
    }
    /// Valid until the next call; null where it is gone.
    Result<const Entry*> find(Uid uid) {
        if (!dense_) {
            TRY(entries_, mail_.entries(mailbox_, uid, uid));
            at_ = 0;
        }
        while (at_ < entries_.size() && entries_[at_].uid < uid) ++at_;
        return at_ < entries_.size() && entries_[at_].uid == uid ? &entries_[at_] : nullptr;
    }

 private:
    const MailView& mail_;
    MailboxId mailbox_;
    std::vector<Entry> entries_;
    std::size_t at_ = 0;
    bool dense_ = false;
};

std::string read_or_nothing(const MailView& mail, MailboxId mailbox, Uid uid, std::uint64_t octets) {
    const auto body = mail.body(mailbox, uid);
    if (!body) return {};
    auto text = body->read(0, octets);
    return text ? *std::move(text) : std::string();
}

wire::SearchSaved saved_of(const Entry& entry) {
    wire::SearchSaved out;
    out.save_date_s = entry.save_date_s;
    out.email = static_cast<std::uint64_t>(storage::raw(entry.message));
    return out;
}

wire::SearchMessage view_of(const SearchCandidate& candidate) {
    wire::SearchMessage out;
    out.number = candidate.number;
    out.uid = candidate.entry.uid;
    out.system_flags = candidate.entry.flags;
    out.recent = candidate.recent;
    out.keywords = candidate.keywords;
    out.internal_date_s = candidate.entry.internal_date_s;
    out.size_octets = candidate.entry.size_octets;
    out.modseq = candidate.entry.modseq;
    return out;
}

}  // namespace

Condition condition_of(const wire::SearchProgram& program) {
    if (program.nodes.empty()) return Condition(Kind::unknown);
    return translate(program, program.nodes.back(), Kind::met);
}

Result<std::vector<wire::SearchSaved>> read_saved(const MailView& mail, MailboxId mailbox,
                                                  const std::vector<Uid>& uids) {
    std::vector<wire::SearchSaved> out(uids.size());
    if (uids.empty()) return out;
    EntryLookup entries(mail, mailbox);
    TRY_VOID(entries.prepare(uids.front(), uids.back(), uids.size()));
    for (std::size_t i = 0; i < uids.size(); ++i) {
        TRY(const Entry* const entry, entries.find(uids[i]));
        if (entry != nullptr) out[i] = saved_of(*entry);
    }
    return out;
}

namespace {

/// The message of each UID (they ascend); MessageId{} for those that are gone.
Result<std::vector<MessageId>> messages_of(const MailView& mail, SearchIndex& index, MailboxId mailbox,
                                           const std::vector<Uid>& uids) {
    if (uids.size() >= storage::search::UidMap::kAskedMin) return index.messages_of(mail, mailbox, uids);
    EntryLookup entries(mail, mailbox);
    TRY_VOID(entries.prepare(uids.front(), uids.back(), uids.size()));
    std::vector<MessageId> out;
    out.reserve(uids.size());
    for (const Uid uid : uids) {
        TRY(const Entry* const entry, entries.find(uid));
        out.push_back(entry == nullptr ? MessageId{} : entry->message);
    }
    return out;
}

}  // namespace

Result<std::vector<SearchVerdict>> narrow_search(const MailView& mail, SearchIndex* index, MailboxId mailbox,
                                                 const wire::SearchProgram& program, const std::vector<Uid>& uids) {
    std::vector<SearchVerdict> out(uids.size(), SearchVerdict::in_mail);
    if (index == nullptr || uids.empty()) return out;
    TRY(const std::vector<MessageId> messages, messages_of(mail, *index, mailbox, uids));
    auto verdicts = index->narrow(condition_of(program), messages);
    return verdicts ? *std::move(verdicts) : out;
}

Result<std::vector<Uid>> run_search(const MailView& mail, SearchIndex* index, MailboxId mailbox,
                                    const wire::SearchProgram& program,
                                    const std::vector<SearchCandidate>& candidates) {
    std::vector<Uid> out;
    if (candidates.empty()) return out;
    const auto texts = index == nullptr ? nullptr : index->texts();
    EntryLookup entries(mail, mailbox);
    TRY_VOID(entries.prepare(candidates.front().entry.uid, candidates.back().entry.uid, candidates.size()));
    for (const SearchCandidate& candidate : candidates) {
        const Uid uid = candidate.entry.uid;
        TRY(const Entry* const entry, entries.find(uid));
        const wire::SearchSaved saved = entry == nullptr ? wire::SearchSaved() : saved_of(*entry);
        const auto header = [&] {
            const auto facts = mail.facts(mailbox, uid);
            return facts ? read_or_nothing(mail, mailbox, uid, facts->header_octets) : std::string();
        };
        const auto message = [&] { return read_or_nothing(mail, mailbox, uid, candidate.entry.size_octets); };
        const auto kept = [&](wire::SearchContent::Part part) -> std::optional<std::string_view> {
            if (!texts || entry == nullptr) return std::nullopt;
            const bool header = part == wire::SearchContent::Part::header;
            return texts->of(entry->message, header ? TextPart::header : TextPart::body);
        };
        wire::SearchContent content(header, message, kept);
        wire::SearchMessage view = view_of(candidate);
        view.saved = &saved;
        view.content = &content;
        if (wire::judge(program, view) == wire::Match::yes) out.push_back(uid);
    }
    return out;
}

}  // namespace posthouse::server::imap
