#include "server/imap/progress.h"

#include "protocols/imap/response.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

// resp-text-code =/ "INPROGRESS" [ SP "(" inprogress-tag SP inprogress-state ")" ]        RFC 9585 5
std::string format_progress(std::string_view tag, const ProgressCount& count) {
    // RFC 9585 4: a tag with "]" is NIL, and a goal that is reached is none.
    const bool named = tag.find(']') == std::string_view::npos;
    std::string out = "[INPROGRESS (";
    out += named ? '"' + std::string(tag) + '"' : "NIL";
    if (count.done >= count.goal) return out + " NIL NIL)] Still working";
    out += ' ';
    wire::append_number(out, count.done);
    out += ' ';
    wire::append_number(out, count.goal);
    out += ")] ";
    wire::append_number(out, count.done * 100 / count.goal);
    return out + "% done";
}

ProgressTeller::ProgressTeller(Session& session)
    : session_(session), stopped_(*session.deps().loop), group_(*session.deps().loop) {}

void ProgressTeller::start() { group_.spawn("imap.progress", run()); }

net::Task<void> ProgressTeller::stop() {
    stopped_.set();
    co_await group_.join();
}

net::Task<void> ProgressTeller::run() {
    for (;;) {
        const auto stopped = co_await stopped_.wait_for(session_.limits().progress_interval);
        if (stopped) co_return;
        session_.untagged("OK " + format_progress(session_.tag(), session_.progress()));
        const auto flushed = co_await session_.flush();
        if (!flushed) co_return;  // the command ends all the same; what comes after it sees the broken connection
    }
}

}  // namespace posthouse::server::imap
