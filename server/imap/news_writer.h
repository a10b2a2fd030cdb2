#pragma once
/// server/imap/news_writer: tells news while the session waits for its client: in IDLE (RFC 2177) and, once NOTIFY asks
/// for it, between any two commands (RFC 5465 3.1).
/// A task of its own writes; the session does nothing but read meanwhile, and joins the task before it goes on.
/// Threads: the loop's.   Limits: idle_keepalive, inactivity_max, output_stall_max (protocols/imap/limits.h).
#include "protocols/base/clock.h"
#include "protocols/net/loop.h"
#include "protocols/net/task.h"
#include "server/imap/command.h"

namespace posthouse::server::imap {

class NewsWriter {
 public:
    /// Writes until stop(). A client that stays silent is cut after inactivity_max, however much is written to it.
    NewsWriter(Session& session, Expunges expunges);
    NewsWriter(const NewsWriter&) = delete;
    NewsWriter& operator=(const NewsWriter&) = delete;

    void start();
    /// Must be awaited before the object goes.
    net::Task<void> stop();
    /// The selected mailbox is gone; the wait for the client was interrupted for that.
    bool mailbox_gone() const { return mailbox_gone_; }

 private:
    net::Task<void> run();
    void restore_deadline();

    Session& session_;
    Expunges expunges_;
    Time ends_{};
    net::TaskGroup group_;
    bool stopping_ = false;
    bool mailbox_gone_ = false;
};

}  // namespace posthouse::server::imap
