// The bodies of one window of messages: asked for in batches, several of them in flight, taken as they come.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "admin/transfer/imap_sync.h"

namespace posthouse::transfer {
namespace {

constexpr std::size_t kFlightsMax = 4;
constexpr std::uint64_t kFlightOctets = 2ULL * 1024 * 1024;
constexpr std::size_t kFlightMessages = 100;
constexpr std::size_t kTwinsAtOnce = 200;

std::string label(const ImapFolder& folder, std::uint32_t uid) { return fmt::format("{}, UID {}", folder.path, uid); }

}  // namespace

// Each message of `wanted` ends done: taken, reported, or gone at the source.
Result<> FolderSync::fetch_bodies(ImapClient& client, Window& wanted) {
    std::deque<Flight> flights;
    std::size_t next = 0;
    bool refused = false;
    garbled_ = false;
    for (;;) {
        while (next < wanted.size() && flights.size() < kFlightsMax) {
            TRY_VOID(launch(client, wanted, next, flights));
        }
        if (flights.empty()) break;
        if (run_.watch.is_interrupted()) return Error(Errc::cancelled, "stopped");
        TRY(ImapEvent event, client.next());
        if (event.kind != ImapEvent::Kind::tagged) {
            TRY_VOID(take_event(event, wanted));
            continue;
        }
        const auto flight = std::ranges::find(flights, event.response.tag, &Flight::tag);
        if (flight == flights.end()) return Error(Errc::closed, "the source answers a command that was never sent");
        if (!event.verdict && event.verdict.error().code == Errc::limit) return event.verdict;
        refused = refused || !event.verdict;
        flights.erase(flight);
    }
    for (std::size_t i = 0; i < wanted.size(); ++i) {
        // One bad message makes some servers refuse the whole batch.
        if (!wanted[i].done && (refused || garbled_)) TRY_VOID(fetch_one(client, wanted, i));
        if (wanted[i].done) continue;
        // Asked for and not given without a word: it was expunged there meanwhile. The next run makes sure.
        complete_ = false;
        finished(1);
    }
    return {};
}

// The next batch: UIDs of neighbours in the list, runs of them as ranges.
Result<> FolderSync::launch(ImapClient& client, const Window& wanted, std::size_t& next, std::deque<Flight>& flights) {
    Flight flight;
    flight.first = next;
    std::string set;
    std::uint64_t octets = 0;
    while (next < wanted.size() && next - flight.first < kFlightMessages) {
        if (octets > 0 && octets + wanted[next].size_octets > kFlightOctets) break;
        const std::size_t run = next;
        octets += wanted[next].size_octets;
        ++next;
        while (next < wanted.size() && next - flight.first < kFlightMessages &&
               wanted[next].uid == wanted[next - 1].uid + 1 && octets + wanted[next].size_octets <= kFlightOctets) {
            octets += wanted[next].size_octets;
            ++next;
        }
        if (!set.empty()) set += ',';
        set += next - run == 1 ? std::to_string(wanted[run].uid)
                               : fmt::format("{}:{}", wanted[run].uid, wanted[next - 1].uid);
    }
    flight.last = next;
    TRY(flight.tag, client.begin(fmt::format("UID FETCH {} (UID BODY.PEEK[])", set)));
    flights.push_back(std::move(flight));
    return {};
}

Result<> FolderSync::fetch_one(ImapClient& client, Window& wanted, std::size_t at) {
    garbled_ = false;
    TRY(const std::string tag, client.begin(fmt::format("UID FETCH {} (UID BODY.PEEK[])", wanted[at].uid)));
    for (;;) {
        TRY(ImapEvent event, client.next());
        if (event.kind != ImapEvent::Kind::tagged) {
            TRY_VOID(take_event(event, wanted));
            continue;
        }
        if (event.response.tag != tag) return Error(Errc::closed, "the source answers a command that was never sent");
        if (wanted[at].done || (event.verdict && !garbled_)) return {};
        if (!event.verdict && event.verdict.error().code == Errc::limit) return event.verdict;
        const Error unreadable(Errc::invalid, "the source's answer cannot be read");
        run_.taker.fail(label(folder_, wanted[at].uid), event.verdict ? unreadable : event.verdict.error());
        wanted[at].done = true;
        finished(1);
        return {};
    }
}

Result<> FolderSync::take_event(ImapEvent& event, Window& wanted) {
    switch (event.kind) {
        case ImapEvent::Kind::body_begin:
            body_octets_ = 0;
            body_too_large_ = event.octets_total > kTakenOctetsMax;
            writer_ = body_too_large_ ? nullptr : run_.taker.stage();
            return {};
        case ImapEvent::Kind::body:
            body_octets_ += event.octets.size();
            if (!writer_) return {};  // dropped as it comes
            if (const Result<> done = writer_->append(event.octets); !done) return mine(done.error());
            return {};
        case ImapEvent::Kind::untagged:
            if (const auto* count = std::get_if<imap::Count>(&event.response.data)) note_count(*count);
            if (auto* fetched = std::get_if<imap::Fetched>(&event.response.data)) return take_body(*fetched, wanted);
            garbled_ = garbled_ || event.garbled;
            return {};
        case ImapEvent::Kind::tagged: return {};
    }
    return {};
}

Result<> FolderSync::take_body(imap::Fetched& fetched, Window& wanted) {
    const auto writer = std::exchange(writer_, nullptr);
    if (fetched.body == imap::Fetched::Body::none) return {};  // flags that changed: the next run sees them
    const auto found = std::ranges::lower_bound(wanted, fetched.uid, {}, &Listed::uid);
    if (found == wanted.end() || found->uid != fetched.uid || found->done) return {};
    Listed& message = *found;
    message.done = true;
    run_.octets += body_octets_;
    const auto report = [&](Errc code, std::string why) {
        run_.taker.fail(label(folder_, message.uid), Error(code, std::move(why)));
        finished(1);
        return Result<>();
    };
    if (fetched.body == imap::Fetched::Body::nil) return report(Errc::invalid, "the source has no body for it");
    if (fetched.body == imap::Fetched::Body::quoted) {
        auto body = run_.taker.stage(fetched.quoted_body);
        if (!body) return mine(body.error());
        return keep(message, *std::move(body));
    }
    if (body_too_large_ || !writer) {
        return report(Errc::too_large, fmt::format("the message has {} octets; {} is the most that is taken",
                                                   body_octets_, kTakenOctetsMax));
    }
    auto body = writer->finish();
    if (!body) return mine(body.error());
    return keep(message, *std::move(body));
}

Result<> FolderSync::keep(Listed& message, storage::StagedBodyPtr body) {
    run_.session.progressed();
    finished(1);
    auto twin = known_.take_twin(*body);
    if (!twin) return mine(twin.error());
    if (*twin) {
        known_.add(message.uid);
        twins_.emplace_back(message.uid, **twin);
        twin_flags_.push_back(std::move(message));
        return twins_.size() < kTwinsAtOnce ? Result<>() : flush_twins();
    }
    const std::uint64_t failed_before = run_.taker.statistics().failed;
    TakenItem item;
    item.key = std::to_string(message.uid);
    item.name = label(folder_, message.uid);
    item.body = std::move(body);
    item.flags = message.flags;
    item.keywords = std::move(message.keywords);
    item.internal_date_s = message.internal_date_s;
    if (const Result<> done = run_.taker.add(taken_, std::move(item)); !done) return mine(done.error());
    if (run_.taker.statistics().failed == failed_before) known_.add(message.uid);
    return {};
}

}  // namespace posthouse::transfer
