#include "relay/sts_cache.h"

#include <fmt/format.h>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/http/client.h"
#include "storage/await.h"

namespace posthouse::relay {

namespace {

constexpr std::size_t kRefreshedMax = 100'000;

StsPtr in_force(storage::StsEntry entry) {
    auto parsed = policy::parse_sts_policy(entry.policy);
    if (!parsed) return nullptr;
    return std::make_shared<const StsInForce>(std::move(entry), *std::move(parsed));
}

}  // namespace

net::Task<StsPtr> StsCache::kept(std::string domain) {
    auto look = [domain](const storage::Snapshot& snapshot) {
        return storage::TransportView(snapshot).sts_policy(domain);
    };
    auto entry = co_await storage::read(*deps_.store, *deps_.pool, *deps_.loop, std::move(look));
    if (!entry) {
        log::error("relay", "the MTA-STS policy of {} cannot be read: {}", domain, entry.error().context);
        co_return nullptr;
    }
    if (!*entry || (*entry)->expires <= deps_.clock->now()) co_return nullptr;
    co_return in_force(*std::move(*entry));
}

// RFC 8461 5.1: the policy that is kept, unless the DNS tells of another edition that can be had.
net::Task<StsFound> StsCache::find(std::string domain) {
    StsFound out;
    if (domain.empty() || domain.starts_with('[')) co_return out;  // RFC 8461 3.4: no policies for literals
    domain = ascii::to_lower(domain);
    const auto texts = co_await deps_.resolver->txt("_mta-sts." + domain);
    const auto id = texts ? policy::parse_sts_record(texts->records) : Result<std::string>(texts.error());
    out.policy = co_await kept(domain);
    if (!id) {
        // A record that cannot be read is worth a line in a report; one that is not there is no fault.
        if (texts && id.error().code == Errc::invalid) {
            out.trouble = policy::TlsResult::sts_policy_invalid;
            out.reason = id.error().context;
        }
        co_return out;
    }
    if (out.policy && out.policy->entry.id == *id) co_return out;
    if (const auto known = failures_.find(domain); known != failures_.end()) {
        const bool same = known->second.id == *id && deps_.clock->now() - known->second.at < kStsRetryAfter;
        if (same) {
            out.trouble = known->second.result;
            out.reason = known->second.reason;
            co_return out;
        }
        failures_.erase(known);
    }
    StsFound fetched = co_await fetch(domain, *id);
    if (fetched.policy == nullptr) fetched.policy = out.policy;
    co_return fetched;
}

StsFound StsCache::failed(const std::string& domain, Failure failure) {
    log::warn("relay", "the MTA-STS policy of {} cannot be had: {}", domain, failure.reason);
    StsFound out;
    out.trouble = failure.result;
    out.reason = failure.reason;
    failure.at = deps_.clock->now();
    if (failures_.size() >= kStsFailuresMax) failures_.clear();
    failures_.insert_or_assign(domain, std::move(failure));
    return out;
}

net::Task<StsFound> StsCache::fetch(std::string domain, std::string id) {
    http::Deps deps;
    deps.resolver = deps_.resolver;
    deps.dialer = deps_.dialer;
    deps.tls = deps_.verified_tls;
    deps.allow_private = deps_.options.allow_loopback;
    deps.open = &open_;
    http::Request request;
    request.host = "mta-sts." + domain;
    request.port = deps_.options.sts_port;
    request.target = policy::kStsTarget;
    http::Limits limits;
    limits.body_octets_max = policy::kStsPolicyOctetsMax;
    limits.time_max = kStsFetchMax;
    Failure failure;
    failure.id = id;
    if (stopping_.is_set()) co_return StsFound();
    if (deps.tls == nullptr) {
        failure.reason = "TLS is not available on this server";
        co_return failed(domain, std::move(failure));
    }
    auto response = co_await http::exchange(deps, std::move(request), limits);
    if (!response) {
        const bool certificate = response.error().code == Errc::tls;
        failure.result =
            certificate ? policy::TlsResult::sts_webpki_invalid : policy::TlsResult::sts_policy_fetch_error;
        failure.reason = response.error().context;
        co_return failed(domain, std::move(failure));
    }
    // RFC 8461 3.3: only 200 counts; 3.2: the type guards against sites where strangers may place files.
    if (response->status != 200) {
        failure.reason = fmt::format("https://mta-sts.{} answered with {}", domain, response->status);
        co_return failed(domain, std::move(failure));
    }
    if (response->media_type() != "text/plain") {
        failure.result = policy::TlsResult::sts_policy_invalid;
        failure.reason = fmt::format("the policy is of the type {}", response->media_type());
        co_return failed(domain, std::move(failure));
    }
    co_return co_await take_over(std::move(domain), std::move(id), std::move(response->body));
}

net::Task<StsFound> StsCache::take_over(std::string domain, std::string id, std::string text) {
    auto parsed = policy::parse_sts_policy(text);
    if (!parsed) {
        Failure failure;
        failure.id = id;
        failure.result = policy::TlsResult::sts_policy_invalid;
        failure.reason = parsed.error().context;
        co_return failed(domain, std::move(failure));
    }
    storage::StsEntry entry;
    entry.domain = domain;
    entry.id = std::move(id);
    entry.policy = std::move(text);
    entry.fetched = deps_.clock->now();
    entry.expires = entry.fetched + parsed->max_age;
    std::vector<storage::StagedBodyPtr> no_bodies;
    auto keep = [entry](storage::Tx& tx) { return storage::TransportTx(tx).keep_sts_policy(entry); };
    const auto written = co_await storage::commit(*deps_.store, *deps_.loop, std::move(no_bodies), std::move(keep));
    if (!written) log::error("relay", "the MTA-STS policy of {} cannot be kept: {}", domain, written.error().context);
    log::info("relay", "MTA-STS policy of {}: mode {}, edition {}", domain, policy::to_string(parsed->mode), entry.id);
    StsFound out;
    out.policy = std::make_shared<const StsInForce>(std::move(entry), *std::move(parsed));
    co_return out;
}

// RFC 8461 3.3: once a day, long before they end, and at half of a short life.
net::Task<Milliseconds> StsCache::refresh() {
    Milliseconds next = kStsLookMax;
    const Time now = deps_.clock->now();
    auto look = [now](const storage::Snapshot& snapshot) {
        return storage::TransportView(snapshot).sts_policies(now, kRefreshedMax);
    };
    const auto all = co_await storage::read(*deps_.store, *deps_.pool, *deps_.loop, std::move(look));
    if (!all) co_return next;
    for (const storage::StsEntry& entry : *all) {
        if (stopping_.is_set()) co_return next;
        const auto due = std::min<Milliseconds>(kStsRefreshAfter, (entry.expires - entry.fetched) / 2);
        next = std::min(next, now - entry.fetched < due ? due - (now - entry.fetched) : std::max(due, kStsLookMin));
        if (now - entry.fetched < due) continue;
        // The edition of now, where the DNS tells it; else the one that is kept.
        const auto texts = co_await deps_.resolver->txt("_mta-sts." + entry.domain);
        const auto id = texts ? policy::parse_sts_record(texts->records) : Result<std::string>(texts.error());
        const std::string edition = id ? *id : entry.id;
        const StsFound fetched = co_await fetch(entry.domain, edition);
        if (fetched.policy == nullptr && in_force(entry) != nullptr) {
            log::warn("relay", "the MTA-STS policy of {} stays in force until {}", entry.domain,
                      format_rfc3339(entry.expires));
        }
    }
    std::vector<storage::StagedBodyPtr> no_bodies;
    auto drop = [now](storage::Tx& tx) { return storage::TransportTx(tx).drop_sts_expired(now); };
    const auto dropped = co_await storage::commit(*deps_.store, *deps_.loop, std::move(no_bodies), std::move(drop));
    if (!dropped) log::error("relay", "old MTA-STS policies cannot be removed: {}", dropped.error().context);
    co_return std::max(next, kStsLookMin);
}

}  // namespace posthouse::relay
