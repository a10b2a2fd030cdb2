#include "relay/receipts.h"

#include <algorithm>
#include <vector>

#include "protocols/base/log.h"
#include "protocols/mime/build.h"
#include "relay/outcome.h"
#include "storage/await.h"
#include "storage/receipts.h"

namespace posthouse::relay {

namespace {

/// One report, and the rows that it stands for.
struct Owed {
    std::vector<std::int64_t> ids;
    Report report;
};

ReportedRecipient reported(const storage::Receipt& receipt) {
    ReportedRecipient out;
    out.address = receipt.recipient;
    out.orcpt = receipt.orcpt;
    return out;
}

Report begin_report(const Core& core, const storage::Receipt& receipt, Time now) {
    Report out;
    out.kind = receipt.expanded ? ReportKind::expanded : ReportKind::delivered;
    out.hostname = core.deps.hostname;
    out.item.message = receipt.message;
    out.item.message_id = receipt.message_id;
    out.item.reverse_path = receipt.sender;
    out.item.envid = receipt.envid;
    out.item.tls = receipt.tls;
    out.item.created = receipt.accepted;
    out.now = now;
    return out;
}

Result<std::vector<Owed>> read_owed(const storage::Snapshot& snapshot, const Core& core, Time now) {
    constexpr std::string_view kOurs[] = {"Return-Path"};
    std::vector<Owed> out;
    const storage::ReceiptView view(snapshot);
    TRY(const auto rows, view.owed(kReceiptsAStep));
    for (const storage::Receipt& row : rows) {
        const Report wanted = begin_report(core, row, now);
        const bool joins = !out.empty() && out.back().report.item.message == row.message &&
                           out.back().report.kind == wanted.kind && out.back().report.item.reverse_path == row.sender;
        if (!joins) {
            out.push_back(Owed{{}, wanted});
            TRY(const std::string header, view.header(row.message));
            out.back().report.original_header = mime::remove_fields(header, kOurs);
        }
        out.back().ids.push_back(row.id);
        out.back().report.recipients.push_back(reported(row));
    }
    return out;
}

// Those that may go another time: the store itself has no room, fails, or ends.
bool is_passing(Errc code) {
    return code == Errc::io || code == Errc::no_space || code == Errc::unavailable || code == Errc::cancelled ||
           code == Errc::closed || code == Errc::limit;
}

// A receipt that can never go, or whose reader has no room, is dropped: it is no loss, and holds up no other.
net::Task<Result<>> drop(Core& core, std::vector<std::int64_t> ids, std::string sender, Error why) {
    log::warn("relay", "the receipt for {} is dropped: {}", sender, why.context);
    std::vector<storage::StagedBodyPtr> no_bodies;
    auto remove = [ids = std::move(ids)](storage::Tx& tx) { return storage::ReceiptTx(tx).remove(ids); };
    co_return co_await storage::commit(*core.deps.store, *core.deps.loop, std::move(no_bodies), std::move(remove));
}

net::Task<Result<>> send_one(Core& core, Owed owed) {
    storage::Store& store = *core.deps.store;
    const std::string sender = owed.report.item.reverse_path;
    auto make = [&store, report = std::move(owed.report), random = core.deps.random]() mutable {
        std::vector<Report> one;
        one.push_back(std::move(report));
        return stage_reports(store, std::move(one), nullptr, *random);
    };
    auto staged = co_await net::offload(*core.deps.pool, *core.deps.loop, std::move(make));
    if (!staged && is_passing(staged.error().code)) co_return Error(staged.error());
    if (!staged) co_return co_await drop(core, std::move(owed.ids), sender, staged.error());
    std::vector<storage::StagedBodyPtr> bodies{staged->front().body};
    auto write = [ids = owed.ids, report = staged->front(), options = core.deps.options,
                  &store](storage::Tx& tx) -> Result<> {
        TRY_VOID(storage::ReceiptTx(tx).remove(ids));
        return deliver_report(tx, report, options, store.sealing_key());
    };
    auto sent = co_await storage::commit(store, *core.deps.loop, std::move(bodies), std::move(write));
    if (sent) core.reports.add();
    if (sent || is_passing(sent.error().code)) co_return sent;
    co_return co_await drop(core, std::move(owed.ids), sender, sent.error());
}

}  // namespace

net::Task<bool> send_receipts(Core& core) {
    auto read = [&core, now = core.now()](const storage::Snapshot& snapshot) { return read_owed(snapshot, core, now); };
    auto owed = co_await storage::read(*core.deps.store, *core.deps.pool, *core.deps.loop, std::move(read));
    if (!owed) {
        log::error("relay", "what receipts are owed cannot be read: {}", owed.error().context);
        co_return false;
    }
    bool is_due = false;
    for (Owed& one : *owed) {
        if (core.stopping.is_set()) break;
        const auto sent = co_await send_one(core, std::move(one));
        if (!sent) log::error("relay", "a receipt waits: {}", sent.error().context);
        if (!sent) break;
        is_due = true;
    }
    co_return is_due;
}

}  // namespace posthouse::relay
