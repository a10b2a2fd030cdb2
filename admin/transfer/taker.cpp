#include "admin/transfer/taker.h"

#include <fmt/format.h>

#include <algorithm>

#include "admin/transfer/folder_names.h"
#include "protocols/base/ascii.h"
#include "protocols/mime/facts.h"

namespace posthouse::transfer {
namespace {

using storage::AccountId;
using storage::FlagBits;
using storage::FlagChange;
using storage::ImportFolder;
using storage::ImportFolderId;
using storage::Mailbox;
using storage::MailTx;
using storage::Snapshot;
using storage::SpecialUse;
using storage::StagedBodyPtr;
using storage::Tx;
using storage::Uid;

constexpr std::size_t kBatchMessagesMax = 100;
constexpr std::uint64_t kBatchOctetsMax = 8ULL * 1024 * 1024;
// One is written, one waits, one is ready: the commit thread never idles, and never more than 32 MiB wait for it.
constexpr std::size_t kBatchesMax = 3;
constexpr std::size_t kChangesMax = 500;
constexpr int kTriesMax = 5;
constexpr std::size_t kKeywordOctetsMax = 100;
constexpr std::size_t kKeywordsMax = 100;
constexpr FlagBits kAllFlags = 0x1f;

// Nothing about one message: the next one would fail the same way.
bool ends_the_import(Errc code) {
    return code == Errc::no_space || code == Errc::io || code == Errc::unavailable || code == Errc::over_quota ||
           code == Errc::not_found || code == Errc::corrupt || code == Errc::internal;
}

Result<Mailbox> find_or_make(MailTx& mail, const FolderSpec& spec) {
    if (spec.use != SpecialUse::none) {
        TRY(const std::vector<Mailbox> all, mail.mailboxes());
        const auto own = std::ranges::find(all, spec.use, &Mailbox::special_use);
        if (own != all.end()) return *own;
    }
    auto found = mail.mailbox(spec.mailbox);
    if (found || found.error().code != Errc::not_found) return found;
    return mail.create(spec.mailbox, spec.use);
}

std::vector<std::string> usable_keywords(std::vector<std::string> keywords) {
    std::erase_if(keywords, [](const std::string& name) { return !is_usable_keyword(name); });
    if (keywords.size() > kKeywordsMax) keywords.resize(kKeywordsMax);
    return keywords;
}

// Replaces the flags; keywords only where they are given.
Result<bool> change_flags(MailTx& mail, storage::MailboxId mailbox, Uid uid, FlagBits flags,
                          const std::optional<std::vector<std::string>>& keywords) {
    const std::span<const Uid> uids(&uid, 1);
    if (keywords) {
        const FlagChange change{FlagChange::How::replace, flags, *keywords};
        TRY(const storage::StoreOutcome outcome, mail.store(mailbox, uids, change, std::nullopt));
        return !outcome.changed.empty();
    }
    const FlagChange more{FlagChange::How::add, flags, {}};
    TRY(const storage::StoreOutcome added, mail.store(mailbox, uids, more, std::nullopt));
    const FlagChange fewer{FlagChange::How::remove, static_cast<FlagBits>(kAllFlags & ~flags), {}};
    TRY(const storage::StoreOutcome taken, mail.store(mailbox, uids, fewer, std::nullopt));
    return !added.changed.empty() || !taken.changed.empty();
}

}  // namespace

bool is_usable_keyword(std::string_view name) {
    return !name.empty() && name.size() <= kKeywordOctetsMax && std::ranges::all_of(name, [](char c) {
        return ascii::is_printable(c) && c != ' ' && std::string_view("(){%*\"\\]").find(c) == std::string_view::npos;
    });
}

void Taker::Landing::post_batch(std::vector<Completion> batch) {
    const std::lock_guard lock(mutex_);
    for (Completion& completion : batch) completions_.push_back(std::move(completion));
    arrived_.notify_one();
}

void Taker::Landing::run_one() {
    Completion next;
    {
        std::unique_lock lock(mutex_);
        arrived_.wait(lock, [this] { return !completions_.empty(); });
        next = std::move(completions_.front());
        completions_.pop_front();
    }
    next();
}

Taker::Taker(storage::Store& store, AccountId account, std::string source, FailureListener on_failure)
    : store_(store),
      account_(account),
      source_(std::move(source)),
      on_failure_(std::move(on_failure)),
      gathered_(std::make_shared<Batch>()) {}

Taker::~Taker() {
    while (flying_ > 0) landing_.run_one();
}

Result<TakenFolder> Taker::open_folder(const FolderSpec& spec) {
    return store_.write_value({}, [&](Tx& tx) -> Result<TakenFolder> {
        MailTx& mail = tx.mail(account_);
        TRY(const auto known, tx.imports().folder(account_, source_, spec.name));
        std::optional<Mailbox> mailbox;
        if (known) {
            if (auto still = mail.mailbox(known->mailbox)) mailbox = *std::move(still);
        }
        if (!mailbox) {
            TRY(mailbox, find_or_make(mail, spec));
        }
        if (spec.subscribed && !mailbox->subscribed) TRY_VOID(mail.set_subscribed(mailbox->name, true));
        ImportFolder folder;
        folder.account = account_;
        folder.source = source_;
        folder.name = spec.name;
        folder.uid_validity = spec.uid_validity;
        folder.mailbox = mailbox->id;
        TakenFolder out;
        TRY(out.id, tx.imports().set_folder(folder));
        TRY(const auto some, tx.imports().imported(out.id, "", 1));
        out.known = !some.empty();
        out.mailbox = mailbox->id;
        out.mailbox_name = mailbox->name;
        return out;
    });
}

Result<bool> Taker::has(const TakenFolder& folder, std::string_view key) {
    if (pending_.contains({folder.id, std::string(key)})) return true;
    return store_.read([&](const Snapshot& snapshot) { return snapshot.imports().has(folder.id, key); });
}

Result<StagedBodyPtr> Taker::stage(std::string_view octets) {
    const auto writer = store_.stage();
    TRY_VOID(writer->append(octets));
    return writer->finish();
}

void Taker::fail(const std::string& name, const Error& why) {
    ++statistics_.failed;
    if (on_failure_) on_failure_(name, why);
}

Result<> Taker::add(const TakenFolder& folder, TakenItem item) {
    if (stopped_) return *stopped_;
    const std::uint64_t octets = item.body ? item.body->size_octets() : 0;
    if (octets == 0) {
        fail(item.name, Error(Errc::invalid, "the message is empty"));
        return {};
    }
    if (octets > kTakenOctetsMax) {
        fail(item.name, Error(Errc::too_large, fmt::format("the message has {} octets; {} is the most that is taken",
                                                           octets, kTakenOctetsMax)));
        return {};
    }
    Place place;
    place.folder = folder;
    place.item = std::move(item);
    place.item.keywords = usable_keywords(std::move(place.item.keywords));
    place.facts = mime::compute_facts(place.item.body->view());
    if (!place.item.internal_date_s && place.facts.date) {
        place.item.internal_date_s = to_unix_ms(*place.facts.date) / 1000;
    }
    // A large one travels alone: it lies in a spool file, which can be handed to the store only once.
    if (!gathered_->places.empty() && gathered_->octets + octets > kBatchOctetsMax) launch(kBatchesMax);
    pending_.emplace(folder.id, place.item.key);
    gathered_->octets += octets;
    gathered_->places.push_back(std::move(place));
    if (gathered_->places.size() >= kBatchMessagesMax || gathered_->octets >= kBatchOctetsMax) launch(kBatchesMax);
    if (stopped_) return *stopped_;
    return {};
}

void Taker::launch(std::size_t flying_max) {
    if (!gathered_->places.empty() && !stopped_) submit(std::exchange(gathered_, std::make_shared<Batch>()));
    while (flying_ > flying_max) landing_.run_one();
}

void Taker::submit(BatchPtr batch) {
    std::vector<StagedBodyPtr> bodies;
    bodies.reserve(batch->places.size());
    for (const Place& place : batch->places) bodies.push_back(place.item.body);
    ++flying_;
    ++batch->tries;
    store_.submit(
        std::move(bodies), [batch, account = account_](Tx& tx) { return write_batch(tx, account, *batch); }, landing_,
        [this, batch](Result<> result) {
            --flying_;
            land(batch, std::move(result));
        });
}

// On the commit thread.
Result<> Taker::write_batch(Tx& tx, AccountId account, Batch& batch) {
    for (std::size_t i = 0; i < batch.places.size(); ++i) {
        Place& place = batch.places[i];
        const TakenItem& item = place.item;
        batch.failed_at = i;
        TRY(place.was_known, tx.imports().has(place.folder.id, item.key));
        if (place.was_known) continue;
        TRY(const storage::MessageId message, tx.add_message(item.body, place.facts));
        const storage::AppendOptions options{item.flags, item.keywords, item.internal_date_s};
        TRY(const storage::Entry entry, tx.mail(account).append(place.folder.mailbox, message, options));
        TRY_VOID(tx.imports().remember(place.folder.id, item.key, entry.uid));
    }
    batch.failed_at = batch.places.size();
    return {};
}

void Taker::land(const BatchPtr& batch, Result<> result) {
    if (!result) {
        const Error why = result.error();
        // A database that another process keeps for long: the same batch again.
        if (why.code == Errc::unavailable && batch->tries < kTriesMax) return submit(batch);
        return split(batch, why);
    }
    for (const Place& place : batch->places) {
        forget_pending(place);
        if (place.was_known) {
            ++statistics_.known;
            continue;
        }
        ++statistics_.taken;
        statistics_.octets += place.item.body->size_octets();
    }
}

// The write was undone as a whole: what stands before and behind the bad message goes in without it.
void Taker::split(const BatchPtr& batch, const Error& why) {
    const std::size_t bad = std::min(batch->failed_at, batch->places.size() - 1);
    const bool whole = batch->failed_at >= batch->places.size() || why.code == Errc::no_space || why.code == Errc::io;
    const auto part = [&](std::size_t from, std::size_t to) {
        auto out = std::make_shared<Batch>();
        std::move(batch->places.begin() + static_cast<std::ptrdiff_t>(from),
                  batch->places.begin() + static_cast<std::ptrdiff_t>(to), std::back_inserter(out->places));
        return out;
    };
    if (ends_the_import(why.code)) {
        stop(why);
        for (std::size_t i = whole ? 0 : bad; i < batch->places.size(); ++i) forget_pending(batch->places[i]);
        // An account that is full still takes what fitted before that message.
        if (!whole && bad > 0) submit(part(0, bad));
        return;
    }
    forget_pending(batch->places[bad]);
    fail(batch->places[bad].item.name, why);
    if (bad > 0) submit(part(0, bad));
    if (bad + 1 < batch->places.size()) submit(part(bad + 1, batch->places.size()));
}

void Taker::forget_pending(const Place& place) { pending_.erase({place.folder.id, place.item.key}); }

void Taker::stop(const Error& why) {
    if (stopped_) return;
    std::string_view advice = "what was taken stays; the same command goes on where it stopped";
    if (why.code == Errc::no_space) advice = "what was taken stays; make room and give the same command again";
    if (why.code == Errc::over_quota) {
        advice = "what was taken stays; raise the limit with posthouse account quota and give the same command again";
    }
    stopped_ = Error(why.code, fmt::format("the import has stopped: {}; {}", why.context, advice));
}

Result<> Taker::set_flags(const TakenFolder& folder, std::string key, FlagBits flags,
                          std::optional<std::vector<std::string>> keywords) {
    ++statistics_.known;
    Change change;
    change.key = std::move(key);
    change.flags = flags & kAllFlags;
    if (keywords) change.keywords = usable_keywords(*std::move(keywords));
    return add_change(folder, std::move(change));
}

Result<> Taker::remove(const TakenFolder& folder, std::string key) {
    Change change;
    change.key = std::move(key);
    change.remove = true;
    return add_change(folder, std::move(change));
}

Result<> Taker::add_change(const TakenFolder& folder, Change change) {
    if (stopped_) return *stopped_;
    change.folder = folder.id;
    change.mailbox = folder.mailbox;
    changes_.push_back(std::move(change));
    return changes_.size() < kChangesMax ? Result<>() : apply_changes();
}

// Read first: a run that finds nothing new writes nothing.
Result<> Taker::find_differences(std::vector<Change>& changes) {
    return store_.read([&](const Snapshot& snapshot) -> Result<> {
        const storage::MailView& mail = snapshot.mail(account_);
        for (Change& change : changes) {
            TRY(const auto uid, snapshot.imports().find(change.folder, change.key));
            if (!uid) continue;
            change.uid = *uid;
            if (change.remove) continue;
            TRY(const auto found, mail.entries(change.mailbox, *uid, *uid));
            if (found.empty()) {  // moved or expunged here since: that is the user's will
                change.uid = 0;
                continue;
            }
            bool same = found.front().flags == change.flags;
            if (same && change.keywords) {
                TRY(std::vector<std::string> now, mail.keywords(found.front().keyword_set));
                std::ranges::sort(*change.keywords);
                same = std::ranges::equal(now, *change.keywords, ascii::equals_ci);
            }
            if (same) change.uid = 0;
        }
        return {};
    });
}

Result<> Taker::apply_changes() {
    // A change may speak of a message that is still on its way.
    launch(0);
    while (flying_ > 0) landing_.run_one();
    if (stopped_) return *stopped_;
    std::vector<Change> changes = std::exchange(changes_, {});
    TRY_VOID(find_differences(changes));
    std::erase_if(changes, [](const Change& change) { return change.uid == 0; });
    if (changes.empty()) return {};
    std::uint64_t changed = 0;
    std::uint64_t removed = 0;
    const Result<> done = store_.write({}, [&](Tx& tx) -> Result<> {
        MailTx& mail = tx.mail(account_);
        for (const Change& change : changes) {
            if (!change.remove) {
                TRY(const bool other, change_flags(mail, change.mailbox, change.uid, change.flags, change.keywords));
                changed += other ? 1 : 0;
                continue;
            }
            TRY(const auto gone, mail.expunge(change.mailbox, std::span<const Uid>(&change.uid, 1)));
            TRY_VOID(tx.imports().forget(change.folder, change.key));
            removed += gone.size();
        }
        return {};
    });
    if (!done) {
        stop(done.error());
        return *stopped_;
    }
    statistics_.flags_changed += changed;
    statistics_.removed += removed;
    return {};
}

Result<> Taker::finish() {
    launch(0);
    while (flying_ > 0) landing_.run_one();
    if (!stopped_ && !changes_.empty()) TRY_VOID(apply_changes());
    if (stopped_) return *stopped_;
    return {};
}

}  // namespace posthouse::transfer
