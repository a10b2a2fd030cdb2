#pragma once
/// server/imap/hub: who has which mailbox open, and that something changed there.
///
/// A session watches its selected mailbox. A commit raises the mailbox's generation on the commit thread, before any
/// waiter hears of it; so a session that compares generations at the end of a command sees all that was acknowledged
/// to anybody before. Sessions in IDLE are woken through the loop, one post for many commits; those whose mailbox was
/// removed are told so the same way, whatever they do.
/// Threads: watch() and Watch on the loop's thread; publish() from any.
#include <atomic>
#include <cstdint>
#include <functional>
#include <list>
#include <memory>
#include <vector>

#include "protocols/net/loop.h"
#include "server/auth/credential.h"
#include "storage/store.h"

namespace posthouse::server::imap {

/// Watched in the place of a mailbox: any mailbox of the account, those to come among them, its subscriptions, and
/// what others let it see.
inline constexpr storage::MailboxId kAllMailboxes{};

class Hub {
 public:
    struct State;
    struct Channel;

    /// A session's interest in one mailbox; ends with the object.
    class Watch {
     public:
        Watch(std::shared_ptr<State> state, std::shared_ptr<Channel> channel, net::Event& wake,
              std::function<void()> on_removed);
        ~Watch();
        Watch(const Watch&) = delete;
        Watch& operator=(const Watch&) = delete;

        /// Raised by every change. Read it before reading the mailbox.
        std::uint64_t generation() const;
        /// The one change since `generation`, which was read before, is the one that this process made with `modseq`.
        bool is_only_change_since(std::uint64_t generation, storage::ModSeq modseq) const;

     private:
        std::shared_ptr<State> state_;
        std::shared_ptr<Channel> channel_;
        net::Event& wake_;
        std::function<void()> on_removed_;
        friend class Hub;
    };

    explicit Hub(net::Loop& loop);
    ~Hub();
    Hub(const Hub&) = delete;
    Hub& operator=(const Hub&) = delete;

    /// `wake` is set on each change until the watch ends; it must outlive the watch. `on_removed` is called once this
    /// process has removed the mailbox, with the watch still there, which it must not end; may be null.
    std::unique_ptr<Watch> watch(storage::AccountId account, storage::MailboxId mailbox, net::Event& wake,
                                 std::function<void()> on_removed = nullptr);
    /// Commits seen so far: equal before and after a read means that nothing fell between.
    std::uint64_t commits() const;
    /// Who sits, and what he logged in with.
    struct Sitter {
        storage::AccountId account{};
        Credential credential;
        auto operator<=>(const Sitter&) const = default;
    };
    /// A session's seat; null where `sessions_max` of this account are taken. `on_revoked` is called when what it
    /// logged in with is not good any more, until the seat ends. The loop's thread.
    class Seat;
    std::unique_ptr<Seat> take_seat(Sitter sitter, std::size_t sessions_max, std::function<void()> on_revoked);
    /// A connection on which nobody has logged in. Where there are more than `strangers_max` the one that has been
    /// there longest is pushed out: who belongs here logs in within a moment. The loop's thread.
    class Visit;
    std::unique_ptr<Visit> let_in(std::size_t strangers_max, std::function<void()> on_pushed_out);
    /// Those who hold seats, each once, and the end of all seats of one. The loop's thread.
    std::vector<Sitter> seated() const;
    static void revoke(const std::shared_ptr<State>& state, const Sitter& sitter);
    /// A commit's notice.
    void publish(const storage::CommitNotice& notice);
    /// The part that a store's listener may hold longer than the hub lives.
    const std::shared_ptr<State>& state() const { return state_; }
    static void publish_to(const std::shared_ptr<State>& state, const storage::CommitNotice& notice);

 private:
    static void wake_all(const std::shared_ptr<State>& state, const std::vector<std::shared_ptr<Channel>>& channels);

    std::shared_ptr<State> state_;
};

class Hub::Visit {
 public:
    Visit(std::shared_ptr<State> state, std::function<void()> on_pushed_out);
    ~Visit();
    Visit(const Visit&) = delete;
    Visit& operator=(const Visit&) = delete;
    /// While its password is looked at it is not pushed out.
    void set_busy(bool busy) { busy_ = busy; }

 private:
    std::shared_ptr<State> state_;
    std::list<Visit*>::iterator place_;
    std::function<void()> on_pushed_out_;
    bool busy_ = false;
    bool leaving_ = false;
    friend class Hub;
};

class Hub::Seat {
 public:
    Seat(std::shared_ptr<State> state, Sitter sitter, std::function<void()> on_revoked);
    ~Seat();
    Seat(const Seat&) = delete;
    Seat& operator=(const Seat&) = delete;

 private:
    std::shared_ptr<State> state_;
    Sitter sitter_;
    std::function<void()> on_revoked_;
    friend class Hub;
};

}  // namespace posthouse::server::imap
