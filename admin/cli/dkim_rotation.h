#pragma once
/// admin/cli/dkim_rotation: signing keys that follow one another without a gap.
///
///   pending (made ahead) --in the DNS--> active --its follower took over--> retiring --aged--> retired
/// Invariants  1. A domain that signs goes on signing: a key retires only in the transaction in which its follower,
///                of the same algorithm and seen in the DNS, takes over.
///             2. A key that signed stays among the records to publish for `dkim.retire_days`.
///             3. Each step is one transaction that looks at the state anew: cut short at any moment, the next run
///                goes on from there.
/// Threads: plan_rotation is pure; the job runs on its own thread.
#include <memory>
#include <set>
#include <span>
#include <vector>

#include "admin/cli/cli.h"
#include "protocols/base/clock.h"
#include "protocols/base/metrics.h"
#include "storage/background.h"
#include "storage/store.h"

namespace posthouse::admin {

struct RotationRules {
    Milliseconds interval{0};          ///< age of the active keys at which the next are made; 0: never by itself
    Milliseconds settle{10 * 60'000};  ///< the DNS must show a new key for so long: not all servers are told at once
    Milliseconds retire{14 * 86'400'000LL};
};
Result<RotationRules> rotation_rules(const storage::CatalogView& catalog);

struct RotationStep {
    enum class What {
        make,  ///< the domain's next keys
        see,   ///< pending, and now in the DNS
        lose,  ///< pending, and gone from the DNS again
        activate,
        retire,  ///< has aged
    };
    What what = What::make;
    storage::DkimKeyId key{};
    bool operator==(const RotationStep&) const = default;
};
/// What is to be done for one domain, whose keys these are. `published`: pending keys that the DNS shows;
/// `unknown`: the DNS did not say.
std::vector<RotationStep> plan_rotation(std::span<const storage::DkimKey> keys,
                                        const std::set<storage::DkimKeyId>& published,
                                        const std::set<storage::DkimKeyId>& unknown, Time now,
                                        const RotationRules& rules);

/// The key takes over from the one of its algorithm. Errc::conflict where it is pending no more.
Result<> activate_dkim_key(storage::Tx& tx, storage::DkimKeyId id);

/// Job "dkim": looks every ten minutes, and asks the DNS only while keys are pending.
std::unique_ptr<storage::Job> make_dkim_job(storage::Store& store, Metrics& metrics, const Clock& clock,
                                            Settings settings);

}  // namespace posthouse::admin
