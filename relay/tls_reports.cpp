// Sends what is due; the text of a report is made in tls_report_text.cpp.
#include "relay/tls_reports.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/http/client.h"
#include "protocols/mime/facts.h"
#include "storage/await.h"
#include "storage/settings.h"

namespace posthouse::relay {

namespace {

constexpr std::int64_t kKeptDays = 2;
constexpr Milliseconds kReportLifetime{24 * 3'600'000};  // RFC 8460 5.5

struct Due {
    std::vector<std::pair<std::int64_t, std::string>> domains;
    TlsReporter reporter;
    bool wanted = false;
};

// The domain at home that this host belongs to, else the first: its keys sign the report (RFC 8460 3).
Result<Due> find_due(const storage::Snapshot& snapshot, const std::string& hostname, std::int64_t today) {
    Due out;
    TRY(const std::int64_t send, storage::setting_number(snapshot.catalog(), "tlsrpt.send"));
    TRY(const std::string organization, storage::setting_text(snapshot.catalog(), "tlsrpt.organization"));
    TRY(const auto domains, snapshot.catalog().hosted_domains());
    TRY(out.domains, storage::TransportView(snapshot).tls_days_before(today));
    if (domains.empty()) return out;
    const auto holds = [&](const storage::Domain& domain) {
        return hostname == domain.name || hostname.ends_with("." + domain.name);
    };
    const auto found = std::ranges::find_if(domains, holds);
    out.reporter.domain = found != domains.end() ? found->name : domains.front().name;
    out.reporter.contact = "postmaster@" + out.reporter.domain;
    out.reporter.organization = organization.empty() ? hostname : organization;
    out.wanted = send != 0;
    return out;
}

using Rows = std::vector<storage::TlsSessions>;

net::Task<Result<Rows>> load_rows(Core& core, std::int64_t day, std::string domain) {
    auto look = [day, domain](const storage::Snapshot& snapshot) {
        return storage::TransportView(snapshot).tls_sessions(day, domain);
    };
    co_return co_await storage::read(*core.deps.store, *core.deps.pool, *core.deps.loop, std::move(look));
}

net::Task<bool> post(Core& core, std::string url, std::string body) {
    auto request = http::request_for(url);
    if (!request || core.deps.verified_tls == nullptr) co_return false;
    request->method = "POST";
    request->fields.emplace_back("Content-Type", "application/tlsrpt+gzip");
    request->body = std::move(body);
    http::Deps deps;
    deps.resolver = core.deps.resolver;
    deps.dialer = core.deps.dialer;
    deps.tls = core.deps.verified_tls;
    deps.allow_private = core.deps.options.allow_loopback;
    deps.open = &core.https_open;
    const http::Limits limits;
    const auto answer = co_await http::exchange(deps, *std::move(request), limits);
    if (!answer) log::warn("relay", "the TLS report was not taken at {}: {}", url, answer.error().context);
    co_return answer && answer->status >= 200 && answer->status < 300;
}

net::Task<Result<>> forget(Core& core, std::int64_t day, std::string domain) {
    std::vector<storage::StagedBodyPtr> no_bodies;
    auto drop = [day, domain](storage::Tx& tx) { return storage::TransportTx(tx).drop_tls_sessions(day, domain); };
    co_return co_await storage::commit(*core.deps.store, *core.deps.loop, std::move(no_bodies), std::move(drop));
}

// Into the queue and out of the counts in one commit.
net::Task<Result<>> mail(Core& core, std::int64_t day, std::string domain, TlsReporter reporter, std::string to,
                         policy::TlsReport report) {
    const std::string text = format_tls_report_mail(report, domain, day, reporter, to, core.now(), *core.deps.random);
    storage::Store& store = *core.deps.store;
    auto stage = [&store, text]() -> Result<storage::StagedBodyPtr> {
        const auto writer = store.stage();
        TRY_VOID(writer->append(text));
        return writer->finish();
    };
    CO_TRY(const storage::StagedBodyPtr body,
           co_await net::offload(*core.deps.pool, *core.deps.loop, std::move(stage)));
    storage::Delivery delivery;
    delivery.body = body;
    delivery.facts = mime::compute_facts(text);
    delivery.sender = reporter.contact;
    delivery.received_detail = "TLS report to " + domain;
    delivery.first_attempt = core.now();
    storage::NewQueueItem item;
    item.reverse_path = reporter.contact;
    item.expires = core.now() + kReportLifetime;
    item.tls = storage::TlsWish::best_effort;  // RFC 8460 5.3: it must arrive, whatever policies say
    storage::NewRecipient recipient;
    recipient.address = std::move(to);
    recipient.notify = static_cast<storage::NotifyBits>(storage::Notify::never);
    item.recipients.push_back(std::move(recipient));
    delivery.outgoing = std::move(item);
    std::vector<storage::StagedBodyPtr> bodies{body};
    auto write = [delivery = std::move(delivery), day, domain](storage::Tx& tx) -> Result<> {
        TRY_VOID(storage::TransportTx(tx).drop_tls_sessions(day, domain));
        TRY_VOID(tx.deliver(delivery));
        return {};
    };
    co_return co_await storage::commit(store, *core.deps.loop, std::move(bodies), std::move(write));
}

net::Task<void> send_one(Core& core, std::int64_t day, std::string domain, TlsReporter reporter) {
    const auto texts = co_await core.deps.resolver->txt("_smtp._tls." + domain);
    if (!texts) co_return;  // the next round asks again, for kKeptDays
    const auto record = policy::parse_tls_report_record(texts->records);
    if (!record) {
        const auto forgotten = co_await forget(core, day, domain);
        if (!forgotten) log::warn("relay", "TLS counts of {} stay: {}", domain, forgotten.error().context);
        co_return;
    }
    const auto rows = co_await load_rows(core, day, domain);
    if (!rows || rows->empty()) co_return;
    policy::TlsReport report = build_tls_report(*rows, reporter);
    bool sent = false;
    for (const std::string& url : record->https) {
        if (sent) break;
        std::string body = gzip(format_tls_report(report));
        sent = co_await post(core, url, std::move(body));
    }
    Result<> done;
    if (sent) {
        done = co_await forget(core, day, domain);
    } else if (!record->mail.empty()) {
        done = co_await mail(core, day, domain, reporter, record->mail.front(), std::move(report));
        sent = done.has_value();
    }
    if (!done) log::warn("relay", "the TLS report for {} waits: {}", domain, done.error().context);
    if (!sent || !done) co_return;
    core.tls_reports.add();
    log::info("relay", "TLS report for {} on {} is on its way", domain,
              format_rfc3339(storage::start_of_day(day)).substr(0, 10));
}

}  // namespace

net::Task<void> send_due_tls_reports(Core& core) {
    // The last sessions of the day are still in memory for a while, and not everybody must report at midnight.
    const std::int64_t today = storage::day_of(core.now() - core.deps.options.tls_reports_after);
    auto look = [hostname = core.deps.hostname, today](const storage::Snapshot& snapshot) {
        return find_due(snapshot, hostname, today);
    };
    const auto due = co_await storage::read(*core.deps.store, *core.deps.pool, *core.deps.loop, std::move(look));
    if (!due) {
        log::warn("relay", "what TLS reports are due cannot be read: {}", due.error().context);
        co_return;
    }
    if (due->domains.empty()) co_return;
    if (due->wanted) {
        for (const auto& [day, domain] : due->domains) {
            if (core.stopping.is_set()) co_return;
            co_await send_one(core, day, domain, due->reporter);
        }
    }
    const std::int64_t oldest = due->wanted ? today - kKeptDays : today;
    std::vector<storage::StagedBodyPtr> no_bodies;
    auto drop = [oldest](storage::Tx& tx) { return storage::TransportTx(tx).drop_tls_before(oldest); };
    const auto dropped =
        co_await storage::commit(*core.deps.store, *core.deps.loop, std::move(no_bodies), std::move(drop));
    if (!dropped) log::warn("relay", "old TLS counts stay: {}", dropped.error().context);
}

}  // namespace posthouse::relay
