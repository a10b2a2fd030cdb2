#pragma once
/// server/imap/session: one IMAP connection from greeting to goodbye (RFC 3501 3), and what handlers may use of it.
///
///   not_authenticated --LOGIN, AUTHENTICATE--> authenticated --SELECT, EXAMINE--> selected
///                                                    ^--CLOSE, UNSELECT, failed SELECT--'
///        ^--UNAUTHENTICATE, from both of these
///   any --LOGOUT, BYE--> logout                                   edges: Session::enter()
///
/// Invariants  1. Before login there is no Access: no handler can reach mail.
///             2. After each command the session tells what other sessions' commits changed in the selected mailbox,
///                before the tagged answer; EXPUNGE only where the command's row allows it (RFC 3501 7.4.1).
///             3. A tagged OK to a command that changes mail follows its commit.
///             4. Output is gathered and flushed when no complete command is waiting (pipelining).
/// Threads: the loop's.   Limits: protocols/imap/limits.h.
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "protocols/base/clock.h"
#include "protocols/base/metrics.h"
#include "protocols/imap/limits.h"
#include "protocols/net/buffered_stream.h"
#include "protocols/net/deflate.h"
#include "protocols/net/loop.h"
#include "protocols/net/tls.h"
#include "server/auth/authenticator.h"
#include "server/imap/access.h"
#include "server/imap/command.h"
#include "server/imap/fetch_cache.h"
#include "server/imap/hub.h"
#include "server/imap/metadata_watch.h"
#include "server/imap/progress.h"
#include "server/imap/reader.h"
#include "server/imap/reply.h"
#include "server/imap/search_contexts.h"
#include "server/imap/selected.h"
#include "server/imap/switches.h"

namespace posthouse::server::imap {

/// LOGIN and AUTHENTICATE without TLS: never, or from the machine itself (tests, local tools).
enum class ClearLogin { refused, from_loopback };

struct SessionDeps {
    net::Loop* loop = nullptr;
    Authenticator* authenticator = nullptr;
    Hub* hub = nullptr;
    SwitchBoard* switches = nullptr;       ///< null: everything is offered
    FetchCache* fetched = nullptr;         ///< null: nothing is kept
    net::TlsServerContext* tls = nullptr;  ///< for STARTTLS; null: not offered
    std::string hostname;
    posthouse::imap::Limits limits;
    const Clock* clock = nullptr;
    Metrics* metrics = nullptr;
    ClearLogin clear_login = ClearLogin::refused;
    std::function<std::unique_ptr<Access>(storage::AccountId)> open_access;

    SessionDeps() = default;
};

class Session {
 public:
    /// All sessions of a door share `deps`: thousands of idle ones hold only what differs.
    Session(std::shared_ptr<const SessionDeps> deps, std::unique_ptr<net::Stream> stream);
    ~Session();
    Session(const Session&) = delete;
    Session& operator=(const Session&) = delete;

    net::Task<void> run();

    // For handlers.
    const SessionDeps& deps() const { return deps_; }
    const posthouse::imap::Limits& limits() const { return deps_.limits; }
    Phase phase() const { return phase_; }
    net::BufferedStream& stream() { return stream_; }
    CommandReader& reader() { return reader_; }
    Access& access() { return *access_; }
    Selected& selected() { return *selected_; }
    bool has_selected() const { return selected_ != nullptr; }
    /// Searches of the selected mailbox that are kept up to date.
    SearchContexts& contexts() { return contexts_; }
    /// The literal that the running APPEND left on the wire.
    const std::optional<posthouse::imap::LiteralMark>& message_literal() const { return message_; }

    /// Untagged data: "* " is put before and CRLF after it.
    void untagged(std::string_view data);
    void put(std::string_view octets) { stream_.put(octets); }
    /// What waits for flush(), to append to it; the same object for as long as the session lives.
    std::string& output() { return stream_.output(); }
    net::Task<Result<>> flush();
    /// flush() where much is waiting.
    net::Task<Result<>> relieve();

    bool is_secure() const { return stream_.raw().tls().has_value(); }
    bool may_login() const;
    bool offers_starttls() const { return !is_secure() && deps_.tls != nullptr; }
    std::string capabilities() const;
    /// Whether nobody switched it off for this account and client.
    bool offers(std::string_view capability) const;
    bool offers(const Command& row) const;
    /// The name in the client's ID; "": it gave none, and stays who it was. True where that changes what is offered.
    /// From the next command on that counts for what is announced and understood; what the client enabled, or asked to
    /// be notified of, before ends with the selected mailbox, or at once where there is none. Compression goes on.
    bool set_client(std::string_view name);
    /// Takes the identity; false where the account has too many sessions.
    bool log_in(const Identity& identity);
    /// Back to the moment before login (RFC 8437): nothing of the account stays.
    void log_out();
    bool is_compressed() const { return deflated_ != nullptr && deflated_->is_deflating(); }
    /// From the next octet on, both ways (RFC 4978). Nothing is gathered or read ahead.
    void compress();
    /// Sends the tagged reply with all before it; compression ends behind it (RFC 8437 4.1). Nothing is read ahead.
    net::Task<Result<>> end_compression(const Reply& reply);
    /// While a password or a proof is looked at.
    void set_login_busy(bool busy) {
        if (visit_) visit_->set_busy(busy);
    }
    /// Counts a wrong password; true where the connection must end.
    bool count_login_failure() { return ++login_failures_ >= deps_.limits.login_failures_max; }
    /// After the handshake nothing of before counts (RFC 3501 6.2.1).
    void forget_clear_text();

    void enter(Phase phase);
    /// Selects what was opened; `commits` was read from the hub before opening.
    void select(OpenedMailbox opened, Mode mode, Uid recent_from, std::uint64_t commits);
    /// No mailbox is selected any more.
    void unselect();
    /// Where it is expected, as by a DELETE, the removal of the selected mailbox is only noted and ends nothing.
    enum class Removal : std::uint8_t { unexpected, expected, seen };
    void set_removal(Removal removal) { removal_ = removal; }
    Removal removal() const { return removal_; }
    /// Reads what changed in the selected mailbox and takes it over, telling nothing yet.
    net::Task<Result<>> refresh();
    /// After a STORE of our own that selected() took over: where nobody else changed the mailbox it is not read anew.
    void settle_own(const storage::StoreOutcome& outcome);
    /// Makes the next tell() read, whatever the hub says: after changes of our own.
    void expect_news() { seen_generation_ = 0; }
    /// The same, of messages of the selected mailbox: told even where NOTIFY asked for nothing.
    void expect_own_expunges(std::span<const Uid> uids);
    void expect_own_arrivals(std::span<const Uid> uids);
    void expect_own(OwnChange change);
    /// refresh() where something changed, then the untagged responses. Errc::not_found, denied: the mailbox is gone,
    /// or may not be read any more; gone_reason() says so in BYE.
    net::Task<Result<>> tell(Expunges expunges, NumbersAre are);
    /// What NOTIFY asked for; null before the first (RFC 5465 3.1).
    Notifier* notifier() { return notifier_.get(); }
    /// Begins to, where METADATA is enabled (RFC 5464 4.1).
    net::Task<Result<>> watch_metadata();
    void note_own_metadata(std::string_view name, std::span<const storage::AnnotationChange> changes);
    /// `generation` was read from `watches` before what the notifier knows.
    void set_notifier(std::unique_ptr<Notifier> notifier, AccountWatches watches, std::uint64_t generation);
    bool has(Enabled what) const { return (enabled_ & static_cast<std::uint8_t>(what)) != 0; }
    /// Bits of Enabled. The first that brings CONDSTORE tells HIGHESTMODSEQ of the selected mailbox (RFC 7162 3.1).
    void enable(std::uint8_t bits);
    void enable(Enabled what) { enable(static_cast<std::uint8_t>(what)); }
    /// Of mailboxes, from and to this client (RFC 9051 A, RFC 9755 3).
    posthouse::imap::NameForm names() const {
        const bool plain = has(Enabled::imap4rev2) || has(Enabled::utf8_accept);
        return plain ? posthouse::imap::NameForm::utf8 : posthouse::imap::NameForm::modified_utf7;
    }
    /// How other mailboxes are told of.
    NotifyDialect notify_dialect() const;
    /// How changes of the selected mailbox are told to this client.
    Dialect dialect(NumbersAre are) const;
    storage::AccountId account() const { return account_; }
    /// Why reading ended with Errc::cancelled, for BYE.
    std::string_view stop_reason() const;
    /// After tell() or refresh() failed so.
    std::string_view gone_reason() const;
    /// Set whenever the selected mailbox changes.
    net::Event& wake() { return wake_; }
    const std::string& tag() const { return tag_; }
    /// Of the running command.
    ProgressCount& progress() { return progress_; }

 private:
    void be_stranger();
    void end_unoffered();
    enum class Next { read, run, end };
    net::Task<Next> greet();
    net::Task<Next> take_command();
    net::Task<Next> end_after(Error error);
    net::Task<bool> still_allowed();
    Result<Asked> parse(std::string_view refusal);
    net::Task<Next> refuse(const ReadCommand& command, Error error);
    net::Task<Reply> run_command(const Command& row, Cursor args);
    net::Task<Reply> run_telling(const Command& row, Cursor args);
    net::Task<bool> finish(const Command& row, Reply reply);
    bool bad_command(std::string_view tag, std::string_view text);
    void put_tagged(const Reply& reply);
    net::Task<void> say_bye(std::string text);
    void set_deadline();
    net::Task<Result<>> tell_selected(Expunges expunges, NumbersAre are);
    void tell_own(Expunges expunges, NumbersAre are);
    net::Task<void> tell_new(std::uint32_t known, const posthouse::imap::FetchProgram* wanted);
    net::Task<void> tell_others();
    net::Task<Result<>> wait_telling();

    std::shared_ptr<const SessionDeps> shared_deps_;
    const SessionDeps& deps_;
    net::BufferedStream stream_;
    net::DeflatedStream* deflated_ = nullptr;  // what stream_ reads from, once it was compressed
    CommandReader reader_;
    Phase phase_ = Phase::not_authenticated;
    std::string text_;  // of the running command
    Asked asked_;       // its arguments lie in text_
    std::string tag_;
    ProgressCount progress_;
    std::optional<posthouse::imap::LiteralMark> message_;
    Time started_{};
    unsigned bad_commands_ = 0;
    unsigned login_failures_ = 0;
    std::uint8_t enabled_ = 0;  // bits of Enabled
    bool greeted_command_ = false;  // a first command has been understood

    storage::AccountId account_{};
    std::string account_address_;
    std::string client_;  // its name, lower case; "" before ID
    std::unique_ptr<Access> access_;
    std::unique_ptr<Hub::Visit> visit_;  // until the login
    std::unique_ptr<Hub::Seat> seat_;
    bool revoked_ = false;          // the account may not log in any more
    bool mailbox_removed_ = false;  // the selected mailbox
    bool pushed_out_ = false;       // by others who have not logged in either
    Removal removal_ = Removal::unexpected;

    net::Event wake_;
    std::unique_ptr<Selected> selected_;
    SearchContexts contexts_;
    std::unique_ptr<Hub::Watch> watch_;
    std::uint64_t seen_generation_ = 0;
    std::vector<Uid> own_expunged_;  // by this session, not told yet; by UID
    std::vector<Uid> own_arrived_;   // likewise, in any order
    bool unreadable_ = false;        // the selected mailbox: only the right to read it is gone

    std::unique_ptr<Notifier> notifier_;
    std::unique_ptr<MetadataWatch> metadata_;
    AccountWatches account_watches_;
    std::uint64_t seen_account_generation_ = 0;
};

}  // namespace posthouse::server::imap
