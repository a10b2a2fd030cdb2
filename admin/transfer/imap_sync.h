#pragma once
/// admin/transfer/imap_sync: one folder of an IMAP source into its mailbox here, and again until nothing differs.
///
///   EXAMINE -> a list of UIDs, flags, sizes and dates in windows of kWindowMessages -> bodies of those not known yet,
///   kFlightsMax commands of at most kFlightOctets in flight -> the Taker's batches -> what vanished there, if asked
/// A folder that a complete run has seen before, at a source with CONDSTORE, is asked only for what is new or changed
/// since (RFC 7162 3.1.4). A lost connection goes on where it was; a message that was taken is never fetched again.
/// Invariants  1. The source is never changed.
///             2. Nothing is removed here unless the source listed every message of the folder in this very run.
///             3. Memory: a window of the list, the bodies of one batch, 8 octets a known message.
/// Threads: as ImapWire.
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <unordered_set>
#include <utility>
#include <vector>

#include "admin/transfer/imap_folders.h"
#include "admin/transfer/imap_known.h"
#include "admin/transfer/imap_session.h"
#include "admin/transfer/taker.h"
#include "admin/transfer/watch.h"

namespace posthouse::transfer {

inline constexpr std::uint32_t kWindowMessages = 5000;

enum class Vanished { keep, remove };  ///< what is done here with messages that are gone at the source

/// What the folders of one run share.
struct ImapRun {
    ImapRun(ImapSession& on, Taker& into, storage::Store& of, storage::AccountId whose, const Watch& shown)
        : session(on), taker(into), store(of), account(whose), watch(shown) {}

    ImapSession& session;
    Taker& taker;
    storage::Store& store;
    storage::AccountId account{};
    const Watch& watch;
    Vanished vanished = Vanished::keep;
    std::uint32_t window_messages = kWindowMessages;
    std::string source;
    std::vector<std::string> siblings;            ///< wire names of all folders
    bool collect_ids = false;                     ///< \All will be taken: remember which messages had a folder
    std::unordered_set<std::uint64_t> known_ids;  ///< X-GM-MSGID of those
    std::uint64_t done = 0;                       ///< messages looked at, for the progress
    std::uint64_t octets = 0;                     ///< of bodies that came in
    std::uint64_t untouched = 0;                  ///< known, and the source says that nothing changed
};

class FolderSync {
 public:
    FolderSync(ImapRun& run, const ImapFolder& folder) : run_(run), folder_(folder), known_(run.store, run.account) {}

    /// Errors: cancelled and those of the store end the import (fatal()); others concern this folder alone.
    Result<> sync();
    bool fatal() const { return fatal_; }
    /// Where it went; empty before the folder was opened.
    const std::string& mailbox_name() const { return taken_.mailbox_name; }

 private:
    /// One message as the source lists it.
    struct Listed {
        std::uint32_t uid = 0;
        std::uint32_t order = 0;  ///< in which it was told
        storage::FlagBits flags = 0;
        bool has_flags = false;
        bool done = false;
        std::vector<std::string> keywords;
        std::optional<std::int64_t> internal_date_s;
        std::uint64_t size_octets = 0;
        std::uint64_t lasting_id = 0;
    };
    using Window = std::vector<Listed>;
    struct Flight {
        std::string tag;
        std::size_t first = 0;  ///< of the messages asked for
        std::size_t last = 0;
    };

    Result<> attempt();
    Result<> open(const Selected& selected);
    Result<> look_at_all(ImapClient& client);
    Result<> look_at_news(ImapClient& client, const FolderState& since, const Selected& selected);
    Result<> list_uids(ImapClient& client);
    Result<> list(ImapClient& client, const std::string& command, Window& into);
    Result<> take_window(ImapClient& client, Window& window);
    Result<> update_flags(Listed& message);
    Result<> fetch_bodies(ImapClient& client, Window& wanted);
    Result<> launch(ImapClient& client, const Window& wanted, std::size_t& next, std::deque<Flight>& flights);
    Result<> fetch_one(ImapClient& client, Window& wanted, std::size_t at);
    Result<> take_event(ImapEvent& event, Window& wanted);
    Result<> take_body(imap::Fetched& fetched, Window& wanted);
    Result<> keep(Listed& message, storage::StagedBodyPtr body);
    Result<> flush_twins();
    Result<> remove_vanished();
    void note_count(const imap::Count& count);
    void finished(std::uint64_t messages);
    Error mine(Error error);

    ImapRun& run_;
    const ImapFolder& folder_;
    TakenFolder taken_;
    KnownFolder known_;
    bool opened_ = false;
    bool fatal_ = false;
    std::uint32_t uid_validity_ = 0;
    std::uint32_t exists_ = 0;
    std::uint32_t position_ = 0;  // messages 1..position_ have been listed; EXPUNGE moves it
    std::uint32_t last_uid_ = 0;  // all up to it are dealt with in this run
    std::vector<std::uint32_t> seen_;
    bool seen_all_ = false;
    std::uint64_t untouched_ = 0;
    bool complete_ = true;                // no message was left out but those reported
    bool garbled_ = false;                // an answer could not be read
    std::optional<FolderState> reached_;  // at the first EXAMINE: what a complete run has seen
    std::unique_ptr<storage::BodyWriter> writer_;
    std::uint64_t body_octets_ = 0;
    bool body_too_large_ = false;
    std::vector<std::pair<std::uint32_t, storage::Uid>> twins_;
    Window twin_flags_;
};

}  // namespace posthouse::transfer
