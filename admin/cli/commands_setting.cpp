// posthouse setting ...: the rows of storage/settings.h, shown and changed. The running server hears of it at once.
#include <fmt/format.h>

#include "admin/cli/command.h"
#include "protocols/smtp/block_list.h"
#include "storage/settings.h"

namespace posthouse::admin {
namespace {

using storage::SettingRow;
using storage::Snapshot;

Error no_setting(const std::string& key) {
    return Error(Errc::not_found, fmt::format("there is no setting {}; posthouse setting list shows them all", key));
}

// "" is a value of some: shown so that it can be seen.
std::string shown(std::string_view value) { return value.empty() ? "(none)" : std::string(value); }

Result<Record> to_record(const Snapshot& snapshot, const SettingRow& row) {
    TRY(const auto set, snapshot.catalog().setting(row.key));
    Record out;
    out.add("key", row.key).add("value", shown(set ? *set : row.default_value));
    out.add("default", shown(row.default_value)).add("meaning", row.help);
    return out;
}

// setting list
Result<> setting_list(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const std::vector<Record> rows, store->read([](const Snapshot& snapshot) -> Result<std::vector<Record>> {
        std::vector<Record> out;
        for (const SettingRow& row : storage::setting_rows()) {
            TRY(Record record, to_record(snapshot, row));
            out.push_back(std::move(record));
        }
        return out;
    }));
    call.out().table(rows, "There are no settings.");
    return {};
}

// setting get KEY
Result<> setting_get(Invocation& call) {
    const SettingRow* const row = storage::find_setting(call.get("KEY"));
    if (row == nullptr) return no_setting(call.get("KEY"));
    TRY(storage::Store* const store, call.store());
    TRY(const Record record, store->read([&](const Snapshot& snapshot) { return to_record(snapshot, *row); }));
    call.out().record(record);
    return {};
}

void done(Invocation& call, const std::string& key, std::string_view value) {
    if (call.out().json()) return call.out().record(Record().add("key", key).add("value", value));
    call.out().say(fmt::format("{} is {} now.", key, shown(value)));
}

// setting set KEY VALUE
Result<> setting_set(Invocation& call) {
    const std::string key = call.get("KEY");
    TRY(const std::string value, storage::check_setting(key, call.get("VALUE")));
    if (key == "dnsbl.lists" && value != "none") {
        if (auto why = smtp::judge_block_lists(value)) return Error(Errc::invalid, *std::move(why));
    }
    TRY(storage::Store* const store, call.store());
    TRY_VOID(store->write({}, [&](storage::Tx& tx) { return tx.catalog().set_setting(key, value); }));
    return done(call, key, value), Result<>();
}

// setting reset KEY
Result<> setting_reset(Invocation& call) {
    const SettingRow* const row = storage::find_setting(call.get("KEY"));
    if (row == nullptr) return no_setting(call.get("KEY"));
    TRY(storage::Store* const store, call.store());
    TRY_VOID(store->write({}, [&](storage::Tx& tx) { return tx.catalog().reset_setting(row->key); }));
    return done(call, std::string(row->key), row->default_value), Result<>();
}

constexpr Argument kKey{Argument::Kind::positional, "KEY", "the setting, such as undelete.days"};
constexpr Argument kKeyOnly[] = {kKey};
constexpr Argument kSetArguments[] = {kKey, {Argument::Kind::positional, "VALUE", "a number, a size like 16M, a text"}};

constexpr Command kRows[] = {
    {"setting", "list", "list all settings with their values and defaults", "posthouse setting list", {}, setting_list},
    {"setting", "get", "show one setting", "posthouse setting get undelete.days", kKeyOnly, setting_get},
    {"setting", "set", "change a setting", "posthouse setting set undelete.days 30", kSetArguments, setting_set},
    {"setting", "reset", "go back to the default", "posthouse setting reset undelete.days", kKeyOnly, setting_reset},
};

}  // namespace

std::span<const Command> setting_commands() { return kRows; }

}  // namespace posthouse::admin
