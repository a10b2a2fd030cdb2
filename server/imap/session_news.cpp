// What a session tells of changes that it did not ask for: of its mailbox, and with NOTIFY (RFC 5465) of others.
#include <algorithm>
#include <map>

#include "protocols/base/log.h"
#include "server/imap/answers.h"
#include "server/imap/news_writer.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

net::Task<Result<>> Session::refresh() {
    const std::uint64_t generation = watch_->generation();
    wake_.reset();
    auto news = co_await access_->news(selected_->id(), selected_->known_modseq());
    if (!news) {
        unreadable_ = news.error().code == Errc::denied;
        co_return Error(news.error());
    }
    const Uid recent_from = news->mailbox.recent_from;
    const bool grew = selected_->apply(*news);
    seen_generation_ = generation;
    if (!grew) co_return Result<>();
    if (selected_->mode() == Mode::read_only) {
        selected_->mark_recent(recent_from);
        co_return Result<>();
    }
    if (recent_from >= news->mailbox.uid_next) co_return Result<>();  // another session was told first
    selected_->mark_recent(access_->take_recent(news->mailbox));
    co_return Result<>();
}

std::string_view Session::gone_reason() const {
    if (unreadable_) return "[NOPERM] The right to read the selected mailbox was taken away";
    if (selected_ && selected_->mailbox().account == account_) return "[NONEXISTENT] The selected mailbox was deleted";
    // Which of the two is not told to those who may not look it up (storage/shared_mail.h).
    return "[NONEXISTENT] The selected mailbox was deleted, or is not shared with you any more";
}

// Of another's mailbox nothing is told from memory once the right to it may have gone (RFC 4314 5.1.1).
net::Task<bool> Session::still_allowed() {
    if (!selected_ || selected_->mailbox().account == account_) co_return true;
    if (watch_->generation() == seen_generation_) co_return true;
    const auto fresh = co_await refresh();
    const bool gone = !fresh && (fresh.error().code == Errc::not_found || fresh.error().code == Errc::denied);
    if (gone) co_await say_bye(std::string(gone_reason()));
    co_return !gone;
}

// Of one's own mailbox only: with another's a right may have changed too. Searches that are kept up to date hear of
// what changed by the reading.
void Session::settle_own(const storage::StoreOutcome& outcome) {
    if (selected_->mailbox().account != account_ || !contexts_.empty()) return;
    if (outcome.after == 0 || outcome.before != selected_->known_modseq()) return;
    if (!watch_->is_only_change_since(seen_generation_, outcome.after)) return;
    selected_->set_known_modseq(outcome.after);
    ++seen_generation_;
}

void Session::expect_own_expunges(std::span<const Uid> uids) {
    expect_news();
    own_expunged_.insert(own_expunged_.end(), uids.begin(), uids.end());
    std::ranges::sort(own_expunged_);
}

void Session::expect_own_arrivals(std::span<const Uid> uids) {
    expect_news();
    own_arrived_.insert(own_arrived_.end(), uids.begin(), uids.end());
}

void Session::expect_own(OwnChange change) {
    if (notifier_ && notifier_->watches_others()) notifier_->expect_own(std::move(change));
}

void Session::set_notifier(std::unique_ptr<Notifier> notifier, AccountWatches watches, std::uint64_t generation) {
    notifier_ = std::move(notifier);
    account_watches_ = std::move(watches);
    seen_account_generation_ = generation;
}

// RFC 5465 3.1: once NOTIFY was used, only what it asks for is told of the selected mailbox, and of others too.
net::Task<Result<>> Session::tell(Expunges expunges, NumbersAre are) {
    if (selected_) CO_TRY_VOID(co_await tell_selected(expunges, are));
    if (notifier_) co_await tell_others();
    const bool by_notify = notifier_ && notifier_->watches_metadata();
    if (!metadata_ || by_notify) co_return Result<>();
    std::string out;
    const NotifyDialect how = notify_dialect();
    co_await metadata_->tell(out, *access_, how);
    stream_.put(out);
    co_return Result<>();
}

net::Task<Result<>> Session::watch_metadata() {
    if (!has(Enabled::metadata) || metadata_) co_return Result<>();
    auto watch = std::make_unique<MetadataWatch>(*deps_.hub, account_, wake_);
    CO_TRY_VOID(co_await watch->begin(*access_));
    metadata_ = std::move(watch);
    co_return Result<>();
}

void Session::note_own_metadata(std::string_view name, std::span<const storage::AnnotationChange> changes) {
    if (notifier_ && notifier_->watches_metadata()) notifier_->note_own(name, changes);
    if (metadata_) metadata_->notifier().note_own(name, changes);
}

// RFC 5465 5.1 to 5.7.
net::Task<void> Session::tell_others() {
    const std::uint64_t generation = account_watches_.generation();
    if (generation == seen_account_generation_ || !notifier_->watches_others()) co_return;
    auto mailboxes = co_await access_->mailboxes();
    if (!mailboxes) {
        log::warn("imap", "could not look for news of mailboxes: {}", mailboxes.error().context);
        co_return;
    }
    seen_account_generation_ = generation;
    notifier_->drop_unwatched(*mailboxes);
    if (mailboxes->size() > deps_.limits.notify_mailboxes_max) {
        // RFC 5465 5.8: from here on as after NOTIFY NONE.
        untagged("OK [NOTIFICATIONOVERFLOW] There are too many mailboxes to watch");
        notifier_ = std::make_unique<Notifier>(wire::NotifyProgram(), account_, std::vector<Mailbox>());
        co_return;
    }
    // What an account did before it was watched is found by another look.
    if (account_watches_.watch(*deps_.hub, *mailboxes, wake_)) {
        seen_account_generation_ = 0;
        wake_.set();
    }
    std::string out;
    notifier_->take_changes(out, *std::move(mailboxes), selected_ ? selected_->id() : MailboxId{}, notify_dialect());
    if (notifier_->watches_metadata()) {
        auto noted = co_await read_noted(*access_);
        if (noted)
            notifier_->take_metadata(out, *std::move(noted), notify_dialect());
        else
            log::warn("imap", "could not look for news of metadata: {}", noted.error().context);
    }
    stream_.put(out);
}

// What this session itself brought about is told whatever NOTIFY asked for: the answer to EXPUNGE is EXPUNGE.
void Session::tell_own(Expunges expunges, NumbersAre are) {
    std::string out;
    if (expunges == Expunges::told && !own_expunged_.empty()) {
        contexts_.tell_gone(out, *selected_, own_expunged_);
        selected_->take_expunges(out, own_expunged_, dialect(are));
        own_expunged_.clear();
    }
    if (!own_arrived_.empty()) selected_->take_arrivals(out, dialect(are));
    own_arrived_.clear();
    stream_.put(out);
}

net::Task<Result<>> Session::tell_selected(Expunges expunges, NumbersAre are) {
    if (watch_->generation() != seen_generation_) {
        const auto fresh = co_await refresh();
        const bool gone = !fresh && (fresh.error().code == Errc::not_found || fresh.error().code == Errc::denied);
        if (gone) co_return Error(fresh.error());
        if (!fresh) log::warn("imap", "could not look for news of a mailbox: {}", fresh.error().context);
    }
    const wire::NotifyGroup* wanted = notifier_ ? notifier_->selected() : nullptr;
    if (notifier_ && wanted == nullptr) {
        tell_own(expunges, are);
        co_return Result<>();
    }
    std::string out;
    contexts_.tell_gone(out, *selected_, selected_->gone());
    if (expunges == Expunges::told) {
        selected_->take_expunges(out, dialect(are));
        own_expunged_.clear();
    }
    if (wanted != nullptr && (wanted->events & wire::kFlagChange) == 0) selected_->forget_changed_flags();
    const std::uint32_t known = selected_->exists();
    if (selected_->has_news()) selected_->take_news(out, dialect(are));
    stream_.put(out);
    const bool fetches = wanted != nullptr && wanted->fetch.has_value();
    const wire::FetchProgram* program = fetches ? &*wanted->fetch : nullptr;
    co_await tell_new(known, program);
    own_arrived_.clear();
    co_return Result<>();
}

// What NOTIFY asked for of messages behind `known`, and what searches that are kept up to date did; of one message in
// one response. Not of what this session put there itself. Where NOTIFY asked, FETCH stands behind ESEARCH (RFC 5465
// 5.2), else before it (RFC 5465 7).
net::Task<void> Session::tell_new(std::uint32_t known, const wire::FetchProgram* wanted) {
    SearchContexts::Changes changes;
    if (!contexts_.empty()) {
        auto changed = co_await contexts_.tell_changed(*access_, *selected_);
        if (changed)
            changes = *std::move(changed);
        else
            log::warn("imap", "could not keep a search up to date: {}", changed.error().context);
    }
    if (wanted != nullptr || changes.won.empty()) stream_.put(changes.responses);
    if (wanted == nullptr && changes.won.empty()) co_return;
    std::ranges::sort(own_arrived_);
    std::map<std::vector<bool>, std::vector<std::uint32_t>> alike;  // numbers, by who asked for something
    for (std::uint32_t number = known + 1; number <= selected_->exists(); ++number) {
        const Uid uid = selected_->uid_of(number);
        if (std::ranges::binary_search(own_arrived_, uid)) continue;
        std::vector<bool> asked = {wanted != nullptr};
        for (const SearchContexts::Won& won : changes.won) asked.push_back(std::ranges::binary_search(won.uids, uid));
        if (std::ranges::find(asked, true) != asked.end()) alike[std::move(asked)].push_back(number);
    }
    for (auto& [asked, numbers] : alike) {
        wire::FetchProgram program;
        if (asked.front()) program = *wanted;
        for (std::size_t i = 0; i < changes.won.size(); ++i) {
            if (asked[i + 1]) wire::add_items(program, changes.won[i].fetch);
        }
        const auto fetched = co_await fetch_messages(*this, std::move(program), std::move(numbers));
        if (!fetched) log::warn("imap", "could not tell of new messages: {}", fetched.error().context);
    }
    if (wanted == nullptr) stream_.put(changes.responses);
}

// Waits for the client's next octets and tells meanwhile what NOTIFY asked for.
net::Task<Result<>> Session::wait_telling() {
    const wire::NotifyGroup* wanted = notifier_->selected();
    const bool at_once = wanted != nullptr && wanted->filter == wire::NotifyFilter::selected;
    NewsWriter writer(*this, at_once ? Expunges::told : Expunges::held);
    writer.start();
    const auto more = co_await stream_.fill_more(deps_.limits.line_octets_max);
    co_await writer.stop();
    if (writer.mailbox_gone()) {
        co_await say_bye(std::string(gone_reason()));
        co_return Error(Errc::closed, "the selected mailbox is gone");
    }
    co_return more;
}

}  // namespace posthouse::server::imap
