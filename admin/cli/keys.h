#pragma once
/// admin/cli/keys: signing keys for a domain: RSA-2048 and Ed25519, selectors rYYYYMM and eYYYYMM, sealed for the
/// store.
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/result.h"
#include "storage/store.h"

namespace posthouse::admin {

inline constexpr std::string_view kDkimSealPurpose = "dkim";
inline constexpr std::string_view kRouteSealPurpose = "route";

/// Two keys, not yet in the store (making an RSA key takes a while: not inside a transaction). A selector that the
/// domain has already gets a letter behind it.
Result<std::vector<storage::DkimKey>> make_dkim_keys(storage::Store& store, const std::string& domain, Time now);
/// The same, pending: to be published, and to take over then.
Result<std::vector<storage::DkimKey>> make_next_dkim_keys(storage::Store& store, const std::string& domain, Time now);
Result<> add_dkim_keys(storage::Tx& tx, storage::DomainId domain, const std::vector<storage::DkimKey>& keys);

}  // namespace posthouse::admin
