#pragma once
/// storage/capability_switches: capabilities of IMAP that are not offered, to an account, to a client, or to anybody.
/// Threads: as Tx and Snapshot, which these are made from and must outlive them.  Limits: kCapabilitySwitchesMax.
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/result.h"
#include "storage/types.h"

namespace posthouse::storage {

class Connection;
class Snapshot;
class Tx;

inline constexpr std::size_t kCapabilitySwitchesMax = 1000;
inline constexpr std::size_t kCapabilityOctetsMax = 64;
inline constexpr std::size_t kClientOctetsMax = 128;

/// One capability that is switched off.
struct CapabilitySwitch {
    AccountId account{};     ///< 0: everyone
    std::string client;      ///< part of the name in the client's ID, lower case; "": any client
    std::string capability;  ///< upper case
    std::string address;     ///< of the account; "" for everyone

    bool operator==(const CapabilitySwitch&) const = default;
};

class SwitchView {
 public:
    explicit SwitchView(const Snapshot& snapshot);
    Result<std::vector<CapabilitySwitch>> list() const;  ///< by capability, account and client

 protected:
    explicit SwitchView(Connection& db) : db_(db) {}
    Connection& db_;
};

class SwitchTx final : public SwitchView {
 public:
    explicit SwitchTx(Tx& tx);
    /// Errc::invalid for names that cannot be, and for IMAP4REV1, without which there is nothing left; limit. Twice is
    /// as good as once.
    Result<> switch_off(AccountId account, std::string_view client, std::string_view capability);
    /// Errc::not_found where it was not off.
    Result<> switch_on(AccountId account, std::string_view client, std::string_view capability);

 private:
    Tx& tx_;
};

}  // namespace posthouse::storage
