#include "admin/cli/import_report.h"

#include <fmt/format.h>

#include <iostream>

#include "admin/cli/command.h"
#include "protocols/base/ascii.h"
#include "protocols/base/log.h"

namespace posthouse::admin {
namespace {

constexpr std::size_t kFailuresKeptMax = 1000;

}  // namespace

Result<storage::Account> import_account(storage::Store& store, const std::string& address) {
    auto found = store.read(
        [&](const storage::Snapshot& snapshot) { return snapshot.catalog().account(ascii::to_lower(address)); });
    if (!found && found.error().code == Errc::not_found) {
        return Error(Errc::not_found,
                     fmt::format("there is no account {}; posthouse account list shows them", address));
    }
    return found;
}

ImportReport::ImportReport(Output& output, std::string account)
    : output_(output), account_(std::move(account)), progress_(output, "messages", 0) {}

transfer::FailureListener ImportReport::listener() {
    return [this](const std::string& name, const Error& why) {
        const std::string text = fmt::format("{}: {}", name, why.context);
        if (output_.json()) {
            if (failures_.size() < kFailuresKeptMax) failures_.push_back(text);
        } else {
            std::cerr << "left out: " << log::escape(text) << '\n';
        }
    };
}

transfer::Watch ImportReport::watch() {
    transfer::Watch watch;
    watch.interrupted = Progress::interrupted;
    watch.expect = [this](std::uint64_t messages) { progress_.set_total(messages); };
    watch.show = [this](std::uint64_t done, std::uint64_t octets, const std::string& what) {
        progress_.show(done, octets, what);
    };
    return watch;
}

Result<> ImportReport::end(const transfer::Taker& taker, const Result<>& done) {
    const transfer::TakerStatistics& figures = taker.statistics();
    if (output_.json()) {
        Record record;
        record.add("account", account_).add("complete", done.has_value() && figures.failed == 0);
        record.add("taken", figures.taken).add("known", figures.known).add("failed", figures.failed);
        record.add("octets", figures.octets).add("flags_changed", figures.flags_changed);
        record.add("removed", figures.removed).add("failures", failures_);
        record.add("error", done ? std::string() : done.error().context);
        output_.record(record);
    } else {
        std::string text =
            fmt::format("{} messages ({}) were taken into {}", figures.taken, format_octets(figures.octets), account_);
        if (figures.known > 0) text += fmt::format("; {} were there already", figures.known);
        if (figures.flags_changed > 0) text += fmt::format(", {} of them got new flags", figures.flags_changed);
        if (figures.removed > 0) text += fmt::format("; {} were removed", figures.removed);
        output_.say(text + ".");
    }
    if (!done) return done;
    if (figures.failed == 0) return {};
    if (output_.json()) return told_already();
    return Error(Errc::invalid, fmt::format("{} messages or folders could not be taken and are named above; the rest "
                                            "is in",
                                            figures.failed));
}

Result<> ImportReport::end(const transfer::ExportStatistics& figures, const Result<>& done) {
    if (output_.json()) {
        Record record;
        record.add("account", account_).add("complete", done.has_value() && figures.failed == 0);
        record.add("written", figures.written).add("known", figures.known).add("failed", figures.failed);
        record.add("octets", figures.octets).add("keywords_left_out", figures.keywords_left_out);
        record.add("failures", failures_).add("error", done ? std::string() : done.error().context);
        output_.record(record);
    } else {
        std::string text = fmt::format("{} messages ({}) of {} were written", figures.written,
                                       format_octets(figures.octets), account_);
        if (figures.known > 0) text += fmt::format("; {} were there already", figures.known);
        if (figures.keywords_left_out > 0) {
            text += fmt::format("; {} keywords found no room, for a folder has 26 letters for them",
                                figures.keywords_left_out);
        }
        output_.say(text + ".");
    }
    if (!done) return done;
    if (figures.failed == 0) return {};
    if (output_.json()) return told_already();
    return Error(Errc::corrupt, fmt::format("{} messages or mailboxes could not be written and are named above; "
                                            "the rest is there",
                                            figures.failed));
}

}  // namespace posthouse::admin
