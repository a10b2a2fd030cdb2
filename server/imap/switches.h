#pragma once
/// server/imap/switches: what is not offered, for the day a client trips over it: to everyone, to an account, or to a
/// client by the name in its ID (RFC 2971). What is switched off is neither announced nor understood.
/// Threads: the loop's.
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/net/loop.h"
#include "protocols/net/offload.h"
#include "server/imap/command.h"
#include "storage/capability_switches.h"
#include "storage/store.h"

namespace posthouse::server::imap {

/// All switches of one moment.
class Switches {
 public:
    Switches() = default;
    explicit Switches(std::vector<storage::CapabilitySwitch> rows) : rows_(std::move(rows)) {}

    bool empty() const { return rows_.empty(); }
    /// `account`: 0 before login. `client`: its name in lower case; "" before ID.
    bool is_off(std::string_view capability, storage::AccountId account, std::string_view client) const;
    /// The same of a command: all that announces it is off.
    bool is_off(const Command& row, storage::AccountId account, std::string_view client) const;

 private:
    std::vector<storage::CapabilitySwitch> rows_;
};

/// The switches in force, kept current.
class SwitchBoard {
 public:
    /// Reads them at once (at start, before the loop runs).
    static Result<std::unique_ptr<SwitchBoard>> open(storage::Store& store, net::Loop& loop, net::ThreadPool& pool);
    const Switches& current() const { return *state_->switches; }
    /// The catalog changed: reads them anew on the pool.
    void refresh();

 private:
    struct State {
        std::shared_ptr<const Switches> switches = std::make_shared<Switches>();
    };
    SwitchBoard(storage::Store& store, net::Loop& loop, net::ThreadPool& pool)
        : store_(store), loop_(loop), pool_(pool) {}

    storage::Store& store_;
    net::Loop& loop_;
    net::ThreadPool& pool_;
    std::shared_ptr<State> state_ = std::make_shared<State>();
};

}  // namespace posthouse::server::imap
