#pragma once
/// storage/upkeep/retention (internal): expunges what has lain in a mailbox longer than its rule allows.
#include <cstdint>
#include <string_view>
#include <vector>

#include "storage/store.h"
#include "storage/upkeep/pace.h"

namespace posthouse::storage {

/// The rule that counts for a mailbox; null where none fits. Pure.
const RetentionRule* find_rule(const std::vector<RetentionRule>& rules, std::string_view address,
                               const Mailbox& mailbox);

/// One pass over all accounts that have a rule; gives back how many messages were expunged.
Result<std::uint64_t> apply_retention(Store& store, const std::vector<RetentionRule>& rules, Time now, Pace& pace,
                                      double messages_per_second);

}  // namespace posthouse::storage
