#include "admin/cli/dkim_rotation.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>

#include "admin/cli/dns_facts.h"
#include "admin/cli/keys.h"
#include "protocols/base/log.h"
#include "storage/settings.h"

namespace posthouse::admin {
namespace {

using storage::DkimKey;
using storage::DkimKeyId;
using storage::DkimState;
using What = RotationStep::What;

constexpr std::int64_t kDayMs = 86'400'000;
constexpr std::chrono::minutes kRest{10};

}  // namespace

Result<RotationRules> rotation_rules(const storage::CatalogView& catalog) {
    RotationRules rules;
    TRY(const std::int64_t rotate, storage::setting_number(catalog, "dkim.rotate_days"));
    TRY(const std::int64_t retire, storage::setting_number(catalog, "dkim.retire_days"));
    rules.interval = Milliseconds(rotate * kDayMs);
    rules.retire = Milliseconds(retire * kDayMs);
    return rules;
}

std::vector<RotationStep> plan_rotation(std::span<const DkimKey> keys, const std::set<DkimKeyId>& published,
                                        const std::set<DkimKeyId>& unknown, Time now, const RotationRules& rules) {
    std::vector<RotationStep> steps;
    bool any_pending = false;
    bool any_active = false;
    Time newest{};
    for (const DkimKey& key : keys) {
        const bool is_seen = key.seen != Time{};
        if (key.state == DkimState::pending) {
            any_pending = true;
            if (unknown.contains(key.id)) continue;
            const bool there = published.contains(key.id);
            if (there && !is_seen) steps.push_back({What::see, key.id});
            if (!there && is_seen) steps.push_back({What::lose, key.id});
            if (there && is_seen && now - key.seen >= rules.settle) steps.push_back({What::activate, key.id});
        } else if (key.state == DkimState::active) {
            any_active = true;
            newest = std::max(newest, key.changed);
        } else if (key.state == DkimState::retiring && now - key.changed >= rules.retire) {
            steps.push_back({What::retire, key.id});
        }
    }
    const bool due = rules.interval.count() > 0 && now - newest >= rules.interval;
    if (any_active && !any_pending && due) steps.push_back({What::make, DkimKeyId{}});
    return steps;
}

namespace {

Result<> tell(storage::Tx& tx, const std::string& sentence) {
    storage::Event event;
    event.at = tx.now();
    event.kind = storage::EventKind::system;
    event.detail = sentence;
    log::info("dkim", "{}", sentence);
    return tx.events().append(event);
}

}  // namespace

Result<> activate_dkim_key(storage::Tx& tx, DkimKeyId id) {
    TRY(const auto keys, tx.catalog().dkim_keys());
    const auto next = std::ranges::find(keys, id, &DkimKey::id);
    if (next == keys.end() || next->state != DkimState::pending) {
        return Error(Errc::conflict, "the key is pending no more");
    }
    for (const DkimKey& key : keys) {
        const bool before = key.domain == next->domain && key.algorithm == next->algorithm && key.id != id;
        if (!before || key.state != DkimState::active) continue;
        TRY_VOID(tx.catalog().set_dkim_state(key.id, DkimState::retiring));
    }
    TRY_VOID(tx.catalog().set_dkim_state(id, DkimState::active));
    return tell(tx, fmt::format("the DKIM key {} of {} signs from now on; leave the record of the one before it in the "
                                "DNS until posthouse dkim list calls it retired",
                                next->selector, next->domain_name));
}

namespace {

class DkimJob final : public storage::Job {
 public:
    DkimJob(storage::Store& store, Metrics& metrics, const Clock& clock, Settings settings)
        : store_(store),
          clock_(clock),
          settings_(std::move(settings)),
          taken_over_(metrics.counter("dkim_rotations_total", "Signing keys that took over from another")),
          pending_(metrics.gauge("dkim_keys_pending", "Signing keys that wait to be published")) {}

    std::string_view name() const override { return "dkim"; }

    Result<std::chrono::milliseconds> step() override {
        RotationRules rules;
        TRY(const auto keys, store_.read([&](const storage::Snapshot& snapshot) -> Result<std::vector<DkimKey>> {
            TRY(rules, rotation_rules(snapshot.catalog()));
            return snapshot.catalog().dkim_keys();
        }));
        std::map<std::string, std::vector<DkimKey>> by_domain;
        for (const DkimKey& key : keys) by_domain[key.domain_name].push_back(key);
        std::set<DkimKeyId> published;
        std::set<DkimKeyId> unknown;
        TRY_VOID(ask(keys, published, unknown));
        for (const auto& [domain, own] : by_domain) {
            for (const RotationStep& one : plan_rotation(own, published, unknown, clock_.now(), rules)) {
                if (stopping()) return kRest;
                const Result<> done = take(domain, one);
                if (!done && done.error().code != Errc::conflict) return Error(done.error());
            }
        }
        return kRest;
    }

 private:
    // Which pending keys does the DNS show? A new Lookup each time: no cache of ours is asked.
    Result<> ask(const std::vector<DkimKey>& keys, std::set<DkimKeyId>& published, std::set<DkimKeyId>& unknown) {
        std::int64_t count = 0;
        std::unique_ptr<Lookup> lookup;
        for (const DkimKey& key : keys) {
            if (key.state != DkimState::pending || stopping()) continue;
            ++count;
            if (!lookup) {
                TRY(lookup, make_lookup(settings_));
            }
            const RecordStatus status = look_up_key(*lookup, key);
            if (status == RecordStatus::good) published.insert(key.id);
            if (status == RecordStatus::unknown) unknown.insert(key.id);
        }
        pending_.set(count);
        return {};
    }

    Result<> take(const std::string& domain, const RotationStep& step) {
        if (step.what == What::make) {
            TRY(const std::vector<DkimKey> made, make_next_dkim_keys(store_, domain, clock_.now()));
            return store_.write({}, [&](storage::Tx& tx) -> Result<> {
                TRY(const storage::Domain home, tx.catalog().domain(domain));
                TRY_VOID(add_dkim_keys(tx, home.id, made));
                return tell(tx, fmt::format("the next DKIM keys of {} are made; publish what posthouse domain records "
                                            "{} shows, and they take over",
                                            domain, domain));
            });
        }
        if (step.what == What::activate) {
            TRY_VOID(store_.write({}, [&](storage::Tx& tx) { return activate_dkim_key(tx, step.key); }));
            taken_over_.add();
            return {};
        }
        const Time now = clock_.now();
        return store_.write({}, [&](storage::Tx& tx) -> Result<> {
            if (step.what == What::see) return tx.catalog().set_dkim_seen(step.key, now);
            if (step.what == What::lose) return tx.catalog().set_dkim_seen(step.key, Time{});
            TRY_VOID(tx.catalog().set_dkim_state(step.key, DkimState::retired));
            return tell(tx, fmt::format("a DKIM key of {} is retired: its record may go from the DNS", domain));
        });
    }

    storage::Store& store_;
    const Clock& clock_;
    const Settings settings_;
    Metrics::Value& taken_over_;
    Metrics::Value& pending_;
};

}  // namespace

std::unique_ptr<storage::Job> make_dkim_job(storage::Store& store, Metrics& metrics, const Clock& clock,
                                            Settings settings) {
    return std::make_unique<DkimJob>(store, metrics, clock, std::move(settings));
}

}  // namespace posthouse::admin
