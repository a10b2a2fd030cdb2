#include "server/imap/news_writer.h"

#include "server/imap/session.h"

namespace posthouse::server::imap {

NewsWriter::NewsWriter(Session& session, Expunges expunges)
    : session_(session), expunges_(expunges), group_(*session.deps().loop) {}

// The deadline is put back to what is left of it after each write.
void NewsWriter::restore_deadline() {
    const auto left = ends_ - session_.deps().clock->now();
    session_.stream().raw().expires_in(std::max<std::chrono::milliseconds>(left, std::chrono::milliseconds(1)));
}

void NewsWriter::start() {
    ends_ = session_.deps().clock->now() + session_.limits().inactivity_max;
    restore_deadline();
    group_.spawn("imap.news", run());
}

net::Task<void> NewsWriter::stop() {
    stopping_ = true;
    session_.wake().set();
    co_await group_.join();
    session_.wake().reset();
}

net::Task<void> NewsWriter::run() {
    while (!stopping_) {
        const auto woken = co_await session_.wake().wait_for(session_.limits().idle_keepalive);
        if (stopping_) co_return;
        // Before looking: what happens while we look must wake us again.
        session_.wake().reset();
        if (!woken) session_.untagged("OK Still here");
        const auto told = co_await session_.tell(expunges_, NumbersAre::message_numbers);
        mailbox_gone_ = !told;
        if (mailbox_gone_) {
            session_.stream().raw().interrupt();  // ends the wait for the client
            co_return;
        }
        if (stopping_) co_return;
        const auto flushed = co_await session_.flush();
        if (!flushed) co_return;
        restore_deadline();
    }
}

}  // namespace posthouse::server::imap
