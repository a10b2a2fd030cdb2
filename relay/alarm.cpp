// Mails of what has begun and ended: the telling part of relay/incidents.h.
#include <fmt/format.h>

#include <algorithm>
#include <deque>

#include "protocols/base/log.h"
#include "protocols/mime/build.h"
#include "protocols/mime/date.h"
#include "protocols/policy/incident_page.h"
#include "relay/core.h"
#include "relay/incidents.h"
#include "relay/postmaster.h"
#include "storage/await.h"
#include "storage/incident_link.h"
#include "storage/settings.h"
#include "storage/streams.h"

namespace posthouse::relay {

namespace {

using storage::Incident;

constexpr std::size_t kToldAtOnce = 100;
constexpr std::size_t kAlone = 3;  // more at once share a mail
constexpr std::chrono::minutes kMailsApart{10};  // beyond kMailsAtOnce in an hour

/// What is to be told, and to whom.
struct Telling {
    std::vector<Incident> incidents;
    std::vector<std::uint64_t> held;
    std::string url;  ///< what links begin with; "" where nobody would answer
    Postmaster to;
};

Result<Telling> read_telling(const storage::Snapshot& snapshot, const RelayDeps& deps) {
    const storage::IncidentView view(snapshot);
    Telling out;
    TRY(out.incidents, view.to_tell(kToldAtOnce));
    if (out.incidents.empty()) return out;
    for (const Incident& one : out.incidents) {
        TRY(const std::uint64_t held, view.held_count(one.id));
        out.held.push_back(held);
    }
    TRY(out.to, find_postmaster(snapshot));
    TRY(const std::string set, storage::setting_text(snapshot.catalog(), "unsubscribe.url"));
    if (set.empty() && !deps.options.serves_pages) return out;
    TRY(out.url, storage::unsubscribe_url(snapshot.catalog(), deps.hostname));
    return out;
}

std::string subject_of(const Incident& one) {
    return one.open ? fmt::format("Incident {}: {}", storage::raw(one.id), storage::describe(one))
                    : fmt::format("Incident {} is over: {}", storage::raw(one.id), storage::describe(one));
}

std::string text_of(const Incident& one, std::uint64_t held, const std::string& link) {
    std::string out =
        fmt::format("{}.\r\n\r\nSince:    {}\r\n", storage::describe(one), mime::format_rfc5322(one.since));
    if (!one.open) {
        out += fmt::format("Until:    {}\r\nBecause:  {}\r\n", mime::format_rfc5322(one.cleared), one.cleared_why);
    }
    out += fmt::format("Refusals: {}\r\n", one.refusals);
    if (!one.remote.empty()) out += fmt::format("Said by:  {}\r\n", mime::HeaderValue::cleaned(one.remote).view());
    if (!one.reply.empty()) out += fmt::format("Answer:   {}\r\n", mime::HeaderValue::cleaned(one.reply).view());
    if (!storage::holds_mail(one.key.kind)) {
        out += one.open ? fmt::format("\r\nWhat to do: {}.\r\n", storage::advice(one))
                        : std::string("\r\nNothing needs to be done.\r\n");
    } else if (one.open) {
        out += fmt::format("Held:     {} recipients so far\r\n\r\nWhat to do: {}.\r\n", held, storage::advice(one));
        out +=
            "Nothing of it is lost: it goes out by itself as soon as a try gets through, or another way takes it.\r\n";
    } else {
        out += "\r\nWhat it still held is on its way again. Nothing needs to be done.\r\n";
    }
    return out + link;
}

// The button's address. Of what is over there is none.
std::string link_to(const Core& core, const Incident& one, const std::string& url) {
    if (url.empty() || !one.open) return "";
    const Time now = core.now();
    const std::string token = storage::incident_token(one, core.deps.store->sealing_key(), now);
    if (token.empty()) return "";
    return fmt::format(
        "\r\nWhen it is mended, say so here (until {}; opening it changes nothing, the button there does):\r\n"
        "{}{}{}\r\n",
        mime::format_rfc5322(storage::incident_token_ends(now)), url, policy::kIncidentTarget, token);
}

/// One mail, and what it is about.
struct Letter {
    std::vector<Incident> incidents;
    std::string subject;
    std::string text;
    std::string detail;  ///< for the log
    Letter() = default;
};

Letter letter_about(const Core& core, const Telling& telling, std::size_t at) {
    const Incident& one = telling.incidents[at];
    Letter out;
    out.incidents = {one};
    out.subject = subject_of(one);
    out.text = text_of(one, telling.held[at], link_to(core, one, telling.url)) +
               fmt::format("\r\nThis was told by the mail server {}. posthouse incident show {} tells all of it.\r\n",
                           core.deps.hostname, storage::raw(one.id));
    out.detail = fmt::format("about incident {}", storage::raw(one.id));
    return out;
}

Letter letter_about_all(const Core& core, const Telling& telling) {
    Letter out;
    out.incidents = telling.incidents;
    out.subject = fmt::format("{} incidents: {}, and others", out.incidents.size(), subject_of(out.incidents.front()));
    for (std::size_t i = 0; i < out.incidents.size(); ++i) {
        const Incident& one = out.incidents[i];
        out.text += fmt::format("{}{}\r\n", i == 0 ? "" : "\r\n----\r\n\r\n", subject_of(one)) +
                    text_of(one, telling.held[i], link_to(core, one, telling.url));
    }
    out.text += fmt::format("\r\nThis was told by the mail server {}. posthouse incident list tells what is open.\r\n",
                            core.deps.hostname);
    out.detail = fmt::format("about {} incidents", out.incidents.size());
    return out;
}

// The mail and the note that it was sent are one commit: told once, whatever happens.
net::Task<Result<>> tell(Core& core, Postmaster to, Letter letter) {
    const std::string text = postmaster_mail(core, to, letter.subject, letter.text);
    storage::Store& store = *core.deps.store;
    std::vector<storage::StagedBodyPtr> bodies;
    std::optional<storage::Delivery> delivery;
    if (to.is_somebody()) {
        auto stage = [&store, text]() -> Result<storage::StagedBodyPtr> {
            const auto writer = store.stage();
            TRY_VOID(writer->append(text));
            return writer->finish();
        };
        CO_TRY(const storage::StagedBodyPtr body,
               co_await net::offload(*core.deps.pool, *core.deps.loop, std::move(stage)));
        bodies.push_back(body);
        delivery = postmaster_delivery(to, body, text, letter.detail, core.now());
    }
    auto write = [about = std::move(letter.incidents), delivery = std::move(delivery)](storage::Tx& tx) -> Result<> {
        for (const Incident& one : about) TRY_VOID(storage::IncidentTx(tx).set_told(one));
        if (delivery) TRY_VOID(tx.deliver(*delivery));
        return {};
    };
    co_return co_await storage::commit(store, *core.deps.loop, std::move(bodies), std::move(write));
}

// A hostile site that thinks of ever new refusals fills nobody's mailbox, and keeps nobody from hearing of the rest:
// the first of an hour go at once, then there is time between two, and what has come together goes together.
bool may_mail(std::deque<Time>& mails, Time now) {
    const auto is_old = [now](Time sent) { return sent + std::chrono::hours(1) <= now || sent > now; };
    while (!mails.empty() && is_old(mails.front())) mails.pop_front();
    return mails.size() < kMailsAtOnce || mails.back() + kMailsApart <= now;
}

}  // namespace

net::Task<void> tell_incidents(Core& core) {
    std::deque<Time>& mails = core.incidents.mails;
    if (!may_mail(mails, core.now())) co_return;
    auto read = [&core](const storage::Snapshot& snapshot) { return read_telling(snapshot, core.deps); };
    const auto telling = co_await storage::read(*core.deps.store, *core.deps.pool, *core.deps.loop, std::move(read));
    if (!telling) co_return;  // said by the next look at the queue
    const std::size_t count = telling->incidents.size();
    if (count == 0) co_return;
    std::vector<Letter> letters;
    if (count > kAlone || mails.size() + count > kMailsAtOnce) {
        letters.push_back(count == 1 ? letter_about(core, *telling, 0) : letter_about_all(core, *telling));
    } else {
        for (std::size_t i = 0; i < count; ++i) letters.push_back(letter_about(core, *telling, i));
    }
    for (Letter& letter : letters) {
        if (core.stopping.is_set()) co_return;
        const auto told = co_await tell(core, telling->to, std::move(letter));
        if (told && telling->to.is_somebody()) mails.push_back(core.now());
        if (!told) log::error("incident", "the mail about it waits: {}", told.error().context);
    }
}

}  // namespace posthouse::relay
