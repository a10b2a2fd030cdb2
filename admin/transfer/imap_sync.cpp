#include "admin/transfer/imap_sync.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace posthouse::transfer {
namespace {

constexpr std::uint32_t kNewsMax = 50'000;  // more new messages than this are listed in windows

}  // namespace

Error FolderSync::mine(Error error) {
    fatal_ = true;
    return error;
}

void FolderSync::finished(std::uint64_t messages) {
    run_.done += messages;
    run_.watch.shown(run_.done, run_.octets, folder_.path);
}

Result<> FolderSync::sync() {
    const std::uint64_t failed_before = run_.taker.statistics().failed;
    for (;;) {
        const Result<> done = attempt();
        if (done) break;
        writer_.reset();
        if (fatal_ || run_.taker.stopped() || done.error().code == Errc::cancelled) {
            fatal_ = true;
            return done;
        }
        // What is neither lost nor busy is said of this folder only, and the rest goes on with a new connection.
        TRY_VOID(run_.session.recover(done.error()));
    }
    if (const Result<> on_disk = run_.taker.finish(); !on_disk) return mine(on_disk.error());
    run_.untouched += untouched_;
    const bool complete = complete_ && run_.taker.statistics().failed == failed_before;
    if (complete && reached_ && reached_->modseq != 0 && reached_->uid_next != 0 && uid_validity_ != 0) {
        if (const Result<> saved = known_.save_state(*reached_); !saved) return mine(saved.error());
    }
    return {};
}

Result<> FolderSync::attempt() {
    TRY(ImapClient* const client, run_.session.ready());
    TRY(const Selected selected, client->examine(folder_.wire));
    exists_ = selected.exists;
    if (!opened_ || selected.uid_validity != uid_validity_) TRY_VOID(open(selected));
    if (!reached_) reached_ = FolderState{selected.uid_next, selected.highest_modseq};
    seen_.clear();
    seen_all_ = false;
    complete_ = true;
    untouched_ = 0;
    const auto& state = known_.state();
    const bool may_ask_news = client->can("CONDSTORE") && selected.highest_modseq != 0 && selected.uid_next != 0 &&
                              state && state->uid_next <= selected.uid_next &&
                              selected.uid_next - state->uid_next <= kNewsMax && !run_.collect_ids;
    if (may_ask_news) {
        const FolderState since = *state;
        TRY_VOID(look_at_news(*client, since, selected));
    } else {
        TRY_VOID(look_at_all(*client));
    }
    TRY_VOID(flush_twins());
    if (run_.vanished == Vanished::remove) TRY_VOID(remove_vanished());
    return {};
}

Result<> FolderSync::open(const Selected& selected) {
    if (const Result<> done = run_.taker.finish(); !done) return mine(done.error());
    FolderSpec spec;
    spec.name = folder_.wire;
    spec.uid_validity = selected.uid_validity;
    spec.mailbox = folder_.place.mailbox;
    spec.use = folder_.place.use;
    spec.subscribed = folder_.subscribed;
    auto taken = run_.taker.open_folder(spec);
    if (!taken) {
        // A name that the store does not take concerns this folder alone.
        if (taken.error().code == Errc::invalid || taken.error().code == Errc::already_exists) return taken.error();
        return mine(taken.error());
    }
    taken_ = *std::move(taken);
    if (const Result<> loaded = known_.load(taken_, run_.source, run_.siblings); !loaded) return mine(loaded.error());
    uid_validity_ = selected.uid_validity;
    opened_ = true;
    last_uid_ = 0;
    reached_.reset();
    return {};
}

void FolderSync::note_count(const imap::Count& count) {
    if (count.kind == imap::Count::Kind::exists) exists_ = count.number;
    if (count.kind != imap::Count::Kind::expunge || count.number == 0) return;
    // The messages behind it have moved up by one (RFC 3501 7.4.1).
    if (exists_ > 0) --exists_;
    if (count.number <= position_) --position_;
}

// Everything, by message numbers: windows of the same size whatever gaps the UIDs have.
Result<> FolderSync::look_at_all(ImapClient& client) {
    const std::string_view lasting = run_.collect_ids ? " X-GM-MSGID" : "";
    position_ = 0;
    while (position_ < exists_) {
        const std::uint32_t first = position_ + 1;
        position_ = std::min(exists_, position_ + run_.window_messages);
        Window window;
        const auto command =
            fmt::format("FETCH {}:{} (UID FLAGS INTERNALDATE RFC822.SIZE{})", first, position_, lasting);
        TRY_VOID(list(client, command, window));
        for (const Listed& message : window) seen_.push_back(message.uid);
        TRY_VOID(take_window(client, window));
    }
    seen_all_ = seen_.size() >= exists_;
    if (!seen_all_) {
        complete_ = false;
        run_.session.outside().note(
            fmt::format("{}: the source lists only {} of its {} messages; give the command "
                        "again to look for the rest",
                        folder_.path, seen_.size(), exists_));
    }
    return {};
}

// What is new and what has changed since a complete run (RFC 7162 3.1.4.1).
Result<> FolderSync::look_at_news(ImapClient& client, const FolderState& since, const Selected& selected) {
    if (selected.uid_next > since.uid_next) {
        Window window;
        TRY_VOID(
            list(client, fmt::format("UID FETCH {}:* (UID FLAGS INTERNALDATE RFC822.SIZE)", since.uid_next), window));
        // "n:*" names the last message even where its UID is below n.
        std::erase_if(window, [&](const Listed& message) { return message.uid < since.uid_next; });
        last_uid_ = 0;
        const auto count = window.size();
        TRY_VOID(take_window(client, window));
        untouched_ = exists_ > count ? exists_ - count : 0;
    } else {
        untouched_ = exists_;
    }
    finished(untouched_);
    if (selected.highest_modseq != since.modseq && since.uid_next > 1) {
        Window window;
        TRY_VOID(list(client,
                      fmt::format("UID FETCH 1:{} (UID FLAGS) (CHANGEDSINCE {})", since.uid_next - 1, since.modseq),
                      window));
        for (Listed& message : window) {
            if (!known_.has(message.uid)) continue;
            if (untouched_ > 0) --untouched_;
            TRY_VOID(update_flags(message));
        }
    }
    if (run_.vanished == Vanished::remove && known_.count() != exists_) TRY_VOID(list_uids(client));
    return {};
}

Result<> FolderSync::list_uids(ImapClient& client) {
    position_ = 0;
    while (position_ < exists_) {
        const std::uint32_t first = position_ + 1;
        position_ = std::min(exists_, position_ + run_.window_messages * 4);
        Window window;
        TRY_VOID(list(client, fmt::format("FETCH {}:{} (UID)", first, position_), window));
        for (const Listed& message : window) seen_.push_back(message.uid);
    }
    seen_all_ = seen_.size() >= exists_;
    return {};
}

// One listing command; `into` has each UID once, ascending.
Result<> FolderSync::list(ImapClient& client, const std::string& command, Window& into) {
    TRY_VOID(client.command(command, [&](imap::ResponseData& data) {
        if (const auto* count = std::get_if<imap::Count>(&data)) return note_count(*count);
        auto* fetched = std::get_if<imap::Fetched>(&data);
        if (fetched == nullptr || fetched->uid == 0) return;
        Listed message;
        message.uid = fetched->uid;
        message.order = static_cast<std::uint32_t>(into.size());
        message.has_flags = fetched->flags.has_value();
        if (fetched->flags) {
            message.flags = fetched->flags->system;
            message.keywords = std::move(fetched->flags->keywords);
        }
        message.internal_date_s = fetched->internal_date_s;
        message.size_octets = fetched->size_octets.value_or(0);
        message.lasting_id = fetched->lasting_id.value_or(0);
        into.push_back(std::move(message));
    }));
    std::ranges::sort(into, {}, [](const Listed& message) { return std::pair(message.uid, message.order); });
    // A change of flags that was told in between is the later word on the same message.
    std::size_t kept = 0;
    for (std::size_t i = 0; i < into.size(); ++i) {
        if (kept == 0 || into[kept - 1].uid != into[i].uid) {
            if (kept != i) into[kept] = std::move(into[i]);
            ++kept;
        } else if (into[i].has_flags) {
            into[kept - 1].flags = into[i].flags;
            into[kept - 1].keywords = std::move(into[i].keywords);
            into[kept - 1].has_flags = true;
        }
    }
    into.resize(kept);
    return {};
}

Result<> FolderSync::take_window(ImapClient& client, Window& window) {
    Window wanted;
    std::uint64_t dealt_with = 0;
    for (Listed& message : window) {
        if (run_.watch.is_interrupted()) return Error(Errc::cancelled, "stopped");
        if (run_.collect_ids && !folder_.all_mail && message.lasting_id != 0) run_.known_ids.insert(message.lasting_id);
        if (message.uid <= last_uid_) continue;  // before the connection was lost
        if (known_.has(message.uid)) {
            ++dealt_with;
            TRY_VOID(update_flags(message));
        } else if (folder_.all_mail && run_.known_ids.contains(message.lasting_id)) {
            ++dealt_with;  // lies in a folder of its own
        } else {
            wanted.push_back(std::move(message));
        }
    }
    finished(dealt_with);
    const std::uint32_t last = window.empty() ? 0 : window.back().uid;
    TRY_VOID(fetch_bodies(client, wanted));
    last_uid_ = std::max(last_uid_, last);
    return {};
}

Result<> FolderSync::update_flags(Listed& message) {
    if (!message.has_flags) return {};
    const Result<> done =
        run_.taker.set_flags(taken_, std::to_string(message.uid), message.flags, std::move(message.keywords));
    return done ? done : Result<>(mine(done.error()));
}

// Twins are remembered first: the Taker changes the flags of what is known.
Result<> FolderSync::flush_twins() {
    if (twins_.empty()) return {};
    if (const Result<> done = known_.remember(twins_); !done) return mine(done.error());
    twins_.clear();
    for (Listed& message : twin_flags_) TRY_VOID(update_flags(message));
    twin_flags_.clear();
    return {};
}

Result<> FolderSync::remove_vanished() {
    const std::vector<std::uint32_t> here = known_.uids();
    if (here.empty() || (here.size() == exists_ && !seen_all_)) return {};  // nothing is missing there
    if (!seen_all_ || uid_validity_ == 0) {
        run_.session.outside().note(
            fmt::format("{}: the source did not list all its messages, so nothing is removed here", folder_.path));
        return {};
    }
    std::ranges::sort(seen_);
    for (const std::uint32_t uid : here) {
        if (std::ranges::binary_search(seen_, uid)) continue;
        if (const Result<> done = run_.taker.remove(taken_, std::to_string(uid)); !done) return mine(done.error());
    }
    return {};
}

}  // namespace posthouse::transfer
