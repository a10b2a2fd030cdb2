// Messages of one account out of a backup, into the store while it runs. They come as new entries: UIDs are given anew,
// flags, keywords and dates are those of the backup. What the mailbox has already is left out, octet by octet the same.
#include <fmt/format.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <charconv>
#include <unordered_map>

#include "protocols/base/ascii.h"
#include "storage/backup/source.h"
#include "storage/context.h"

namespace posthouse::storage::backup {
namespace {

constexpr std::size_t kBatchMessagesMax = 64;
constexpr std::uint64_t kBatchOctetsMax = 8ULL * 1024 * 1024;
constexpr std::uint64_t kReadOctets = 1024ULL * 1024;
constexpr std::uint64_t kUnpackedOctetsMax = 1ULL << 31U;

/// A mailbox of the account as the backup has it.
struct OldMailbox {
    std::int64_t id = 0;
    std::string name;
    SpecialUse use = SpecialUse::none;
    bool subscribed = false;
};

struct OldEntry {
    Uid uid = 0;
    FlagBits flags = 0;
    std::vector<std::string> keywords;
    std::int64_t internal_date_s = 0;
    MessageId message{};
    Placement place;
    mime::MessageFacts facts;
};

/// What may be the same message: told apart by its octets afterwards.
std::string key_of(std::string_view message_id, std::uint64_t size_octets) {
    return fmt::format("{} {}", size_octets, message_id);
}

struct Candidate {
    MailboxId mailbox{};
    Uid uid = 0;
};

bool is_number(std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

std::string with_brackets(const std::string& message_id) {
    return message_id.starts_with('<') ? message_id : "<" + message_id + ">";
}

/// One chosen mailbox into one mailbox of the store.
class MailRestorer {
 public:
    MailRestorer(Store& store, const OpenBackup& backup, Connection& old, const MailSelection& selection,
                 const Watch& watch, RestoredMail& out)
        : store_(store), old_(old), selection_(selection), watch_(watch), out_(out), source_(backup) {}

    Result<> run() {
        TRY(const std::int64_t old_account, find_old_account());
        TRY_VOID(find_or_make_account(old_account));
        TRY(const std::vector<OldMailbox> mailboxes, chosen_mailboxes(old_account));
        for (const OldMailbox& mailbox : mailboxes) {
            TRY(const std::int64_t count, count_entries(mailbox));
            total_ += static_cast<std::uint64_t>(count);
        }
        const bool several = selection_.mailbox.empty();
        for (const OldMailbox& mailbox : mailboxes) {
            std::string into = selection_.into.empty() ? mailbox.name : selection_.into;
            if (!selection_.into.empty() && several && selection_.message.empty()) into += "/" + mailbox.name;
            TRY_VOID(restore_mailbox(mailbox, into));
        }
        if (out_.messages + out_.there + out_.lost.count > 0 || selection_.message.empty()) return {};
        return Error(Errc::not_found, fmt::format("the backup has no message {} there", selection_.message));
    }

 private:
    Result<std::int64_t> find_old_account() {
        const std::string address = ascii::to_lower(selection_.account);
        Query q = old_.query("SELECT id FROM accounts WHERE address = ?1");
        TRY(const bool found, q.bind(address).row());
        if (found) return q.i64(0);
        return Error(Errc::not_found, fmt::format("the backup has no account {}", selection_.account));
    }

    /// An account that is gone is made again as it was, if its domain is there.
    Result<> find_or_make_account(std::int64_t old_account) {
        const std::string address = ascii::to_lower(selection_.account);
        const auto known = store_.read([&](const Snapshot& s) { return s.catalog().account(address); });
        if (known) {
            account_ = known->id;
            return {};
        }
        if (known.error().code != Errc::not_found) return Error(known.error());
        Query q =
            old_.query("SELECT password_hash, display_name, quota_octets, quota_messages FROM accounts WHERE id = ?1");
        TRY_VOID(q.bind(old_account).row());
        const std::string hash = q.text(0);
        const std::string display = q.text(1);
        const std::uint64_t octets = q.u64(2);
        const std::uint64_t messages = q.u64(3);
        TRY(account_, store_.write_value({}, [&](Tx& tx) -> Result<AccountId> {
            TRY(const AccountId id, tx.catalog().add_account(address, hash, display));
            TRY_VOID(tx.catalog().set_quota(id, octets, messages));
            return id;
        }));
        out_.account_made = true;
        return {};
    }

    Result<std::vector<OldMailbox>> chosen_mailboxes(std::int64_t old_account) {
        const std::string wanted = ascii::equals_ci(selection_.mailbox, "INBOX") ? "INBOX" : selection_.mailbox;
        Query q = old_.query(
            "SELECT b.id, b.name, b.special_use, EXISTS (SELECT 1 FROM subscriptions s WHERE s.account = b.account AND "
            "s.name = b.name) FROM mailboxes b WHERE b.account = ?1 AND (?2 = '' OR b.name = ?2) ORDER BY b.name");
        q.bind(old_account, wanted);
        std::vector<OldMailbox> out;
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) break;
            out.push_back(OldMailbox{q.i64(0), q.text(1), static_cast<SpecialUse>(q.i64(2)), q.flag(3)});
        }
        if (out.empty()) {
            return Error(Errc::not_found,
                         fmt::format("the backup has no mailbox \"{}\" of {}", selection_.mailbox, selection_.account));
        }
        return out;
    }

    Result<std::int64_t> count_entries(const OldMailbox& mailbox) {
        Query q = old_.query("SELECT messages FROM mailboxes WHERE id = ?1");
        TRY_VOID(q.bind(mailbox.id).row());
        return q.i64(0);
    }

    /// The mailbox in the store; made where missing, with its special use if nobody has that.
    Result<Mailbox> target(const OldMailbox& old, const std::string& name) {
        auto known = store_.read([&](const Snapshot& s) { return s.mail(account_).mailbox(name); });
        if (known || known.error().code != Errc::not_found) return known;
        return store_.write_value({}, [&](Tx& tx) -> Result<Mailbox> {
            MailTx& mail = tx.mail(account_);
            TRY(const std::vector<Mailbox> all, mail.mailboxes());
            const bool own = name == old.name &&
                             std::ranges::none_of(all, [&](const Mailbox& one) { return one.special_use == old.use; });
            TRY(Mailbox made, mail.create(name, own ? old.use : SpecialUse::none));
            if (old.subscribed || !selection_.into.empty()) TRY_VOID(mail.set_subscribed(name, true));
            return made;
        });
    }

    /// What is there already, by size and Message-ID.
    Result<> load_known(MailboxId mailbox) {
        if (selection_.only_missing && known_loaded_) return {};
        known_.clear();
        known_loaded_ = true;
        return store_.read([&](const Snapshot& snapshot) -> Result<> {
            Query q = context_of(snapshot).db.query(
                "SELECT e.mailbox, e.uid, m.size_octets, m.message_id FROM mailboxes b JOIN entries e ON e.mailbox = "
                "b.id "
                "JOIN messages m ON m.id = e.message WHERE b.account = ?1 AND (b.id = ?2 OR ?3)");
            q.bind(account_, mailbox, selection_.only_missing);
            for (;;) {
                TRY(const bool more, q.row());
                if (!more) return {};
                known_.emplace(key_of(q.view(3), q.u64(2)), Candidate{q.id<MailboxId>(0), q.u32(1)});
            }
        });
    }

    Result<> restore_mailbox(const OldMailbox& old, const std::string& into) {
        TRY(const std::vector<OldEntry> first, read_entries(old, 0));
        // A single message's folder is not made where the message is not in it.
        if (first.empty() && !selection_.message.empty()) return {};
        TRY(const Mailbox box, target(old, into));
        TRY_VOID(load_known(box.id));
        const std::uint64_t before = out_.messages;
        std::vector<OldEntry> entries = first;
        while (!entries.empty()) {
            for (const OldEntry& entry : entries) {
                TRY_VOID(watch_.check());
                watch_.show(++done_, total_, old.name);
                TRY_VOID(restore_entry(entry, old, box.id));
            }
            const Uid last = entries.back().uid;
            TRY(entries, read_entries(old, last));
        }
        TRY_VOID(flush(box.id));
        if (out_.messages > before) out_.mailboxes.push_back(into);
        return {};
    }

    /// The next entries behind `after`, bounded.
    Result<std::vector<OldEntry>> read_entries(const OldMailbox& old, Uid after) {
        std::int64_t uid = 0;
        std::string message_id;
        if (is_number(selection_.message)) {
            const std::string& text = selection_.message;
            static_cast<void>(std::from_chars(text.data(), text.data() + text.size(), uid));
        } else if (!selection_.message.empty()) {
            message_id = with_brackets(selection_.message);
        }
        Query q = old_.query(
            "SELECT e.uid, e.flags, coalesce(k.names, ''), e.internal_date_s, m.id, m.segment, m.position, "
            "m.stored_octets, " POSTHOUSE_FACT_COLUMNS
            " FROM entries e JOIN messages m ON m.id = e.message LEFT JOIN keyword_sets k ON k.id = e.keyword_set "
            "WHERE e.mailbox = ?1 AND e.uid > ?2 AND (?3 = 0 OR e.uid = ?3) AND (?4 = '' OR m.message_id = ?4) "
            "ORDER BY e.uid LIMIT 256");
        q.bind(old.id, after, uid, message_id);
        std::vector<OldEntry> out;
        for (;;) {
            TRY(const bool more, q.row());
            if (!more) return out;
            OldEntry entry;
            entry.uid = q.u32(0);
            entry.flags = static_cast<FlagBits>(q.u32(1));
            const std::string_view names = q.view(2);
            for (std::size_t at = 0; at < names.size();) {
                const std::size_t blank = std::min(names.find(' ', at), names.size());
                entry.keywords.emplace_back(names.substr(at, blank - at));
                at = blank + 1;
            }
            entry.internal_date_s = q.i64(3);
            entry.message = q.id<MessageId>(4);
            entry.place = Placement{q.i64(5), q.u64(6), q.u64(7)};
            entry.facts = facts_of(q, 8);
            out.push_back(std::move(entry));
        }
    }

    /// The body out of the backup, checked against its record.
    Result<StagedBodyPtr> load(const OldEntry& entry) {
        TRY(const std::string head, source_.read(entry.place.segment, entry.place.position, kRecordHeaderOctets));
        TRY(const RecordHeader header, parse_record_header(head));
        if (header.message != entry.message || header.payload_octets != entry.place.payload_octets) {
            return Error(Errc::corrupt, "its record belongs to another message");
        }
        const auto writer = store_.stage();
        const bool packed = header.flags == kRecordZstd;
        std::string whole;
        std::uint32_t crc = 0;
        for (std::uint64_t at = 0; at < header.payload_octets; at += kReadOctets) {
            const std::uint64_t step = std::min(kReadOctets, header.payload_octets - at);
            TRY(const std::string piece,
                source_.read(entry.place.segment, entry.place.position + kRecordHeaderOctets + at, step));
            crc = static_cast<std::uint32_t>(
                crc32_z(crc, reinterpret_cast<const unsigned char*>(piece.data()), piece.size()));
            if (packed) {
                whole += piece;
            } else {
                TRY_VOID(writer->append(piece));
            }
        }
        if (crc != header.payload_crc) return Error(Errc::corrupt, "its octets do not match their checksum");
        if (packed) {
            if (entry.facts.size_octets > kUnpackedOctetsMax) return Error(Errc::corrupt, "it is too long");
            std::string plain(entry.facts.size_octets, '\0');
            const std::size_t made = ZSTD_decompress(plain.data(), plain.size(), whole.data(), whole.size());
            if (ZSTD_isError(made) != 0 || made != plain.size()) return Error(Errc::corrupt, "it cannot be unpacked");
            TRY_VOID(writer->append(plain));
        }
        return writer->finish();
    }

    Result<bool> same_octets(const Candidate& candidate, std::string_view octets) {
        return store_.read([&](const Snapshot& snapshot) -> Result<bool> {
            const auto body = snapshot.mail(account_).body(candidate.mailbox, candidate.uid);
            // Gone meanwhile, or damaged: then the one from the backup is wanted all the more.
            if (!body || body->size_octets() != octets.size()) return false;
            for (std::uint64_t at = 0; at < octets.size(); at += kReadOctets) {
                const auto piece = body->read(at, kReadOctets);
                if (!piece || *piece != octets.substr(at, piece->size()) || piece->empty()) return false;
            }
            return true;
        });
    }

    /// Each message that is there stands for one of the backup's: two equal ones come back as two.
    Result<bool> is_there(const OldEntry& entry, std::string_view octets) {
        const auto [first, last] = known_.equal_range(key_of(entry.facts.message_id, entry.facts.size_octets));
        for (auto at = first; at != last; ++at) {
            TRY(const bool same, same_octets(at->second, octets));
            if (!same) continue;
            known_.erase(at);
            return true;
        }
        return false;
    }

    Result<> restore_entry(const OldEntry& entry, const OldMailbox& old, MailboxId into) {
        auto body = load(entry);
        if (!body) {
            if (body.error().code == Errc::no_space) return Error(body.error());
            out_.lost.add(
                fmt::format("{}, UID {}, \"{}\": {}", old.name, entry.uid, entry.facts.subject, body.error().context));
            return {};
        }
        TRY(const bool there, is_there(entry, (*body)->view()));
        if (there) {
            ++out_.there;
            return {};
        }
        batch_octets_ += (*body)->size_octets();
        batch_.emplace_back(*std::move(body), entry);
        if (batch_.size() < kBatchMessagesMax && batch_octets_ < kBatchOctetsMax) return {};
        return flush(into);
    }

    Result<> flush(MailboxId into) {
        if (batch_.empty()) return {};
        std::vector<StagedBodyPtr> bodies;
        for (const auto& [body, entry] : batch_) bodies.push_back(body);
        TRY_VOID(store_.write(std::move(bodies), [&](Tx& tx) -> Result<> {
            for (const auto& [body, entry] : batch_) {
                TRY(const MessageId message, tx.add_message(body, entry.facts));
                AppendOptions options;
                options.flags = entry.flags;
                options.keywords = entry.keywords;
                options.internal_date_s = entry.internal_date_s;
                TRY_VOID(tx.mail(account_).append(into, message, options));
            }
            return {};
        }));
        out_.messages += batch_.size();
        batch_.clear();
        batch_octets_ = 0;
        return {};
    }

    Store& store_;
    Connection& old_;
    const MailSelection& selection_;
    const Watch& watch_;
    RestoredMail& out_;
    SegmentSource source_;
    AccountId account_{};
    bool known_loaded_ = false;
    std::unordered_multimap<std::string, Candidate> known_;
    std::vector<std::pair<StagedBodyPtr, OldEntry>> batch_;
    std::uint64_t batch_octets_ = 0;
    std::uint64_t done_ = 0;
    std::uint64_t total_ = 0;
};

}  // namespace

Result<RestoredMail> restore_mail(Store& store, const Target& target, const std::string& backup,
                                  const MailSelection& selection, const std::string& scratch, const Watch& watch) {
    if (is_number(selection.message) && selection.mailbox.empty()) {
        return Error(Errc::invalid, "a UID belongs to a mailbox: name it with --mailbox, or give a Message-ID");
    }
    TRY(const OpenBackup opened, open_backup(target, backup));
    RestoredMail out;
    out.name = opened.manifest.name;
    TRY(const auto old, open_database(opened, scratch, watch, out.lost));
    const Result<> done = MailRestorer(store, opened, *old, selection, watch, out).run();
    if (done) return out;
    if (done.error().code == Errc::not_found || out.messages == 0) return Error(done.error());
    return Error(done.error().code,
                 fmt::format("{}; {} messages are restored, the same command goes on where it stopped",
                             done.error().context, out.messages));
}

}  // namespace posthouse::storage::backup
