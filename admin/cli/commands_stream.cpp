// posthouse stream ...: kinds of mail that a domain or an account sends, and which of them can be unsubscribed from.
#include <fmt/format.h>

#include "admin/cli/command.h"
#include "protocols/base/ascii.h"
#include "storage/settings.h"
#include "storage/streams.h"

namespace posthouse::admin {
namespace {

using storage::QueueClass;
using storage::Snapshot;
using storage::Stream;
using storage::StreamView;

Record record_of(const Stream& one) {
    Record row;
    row.add("name", one.name).add("owner", one.owner).add("class", storage::to_string(one.mail_class));
    row.add("list", one.is_list);
    return row;
}

// stream list
Result<> stream_list(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const auto streams, store->read([](const Snapshot& snapshot) { return StreamView(snapshot).list(); }));
    std::vector<Record> rows;
    for (const Stream& one : streams) rows.push_back(record_of(one));
    call.out().table(rows, "There is no stream: all mail of an account is alike.");
    return {};
}

Result<Stream> known_stream(const Snapshot& snapshot, const std::string& name) {
    TRY(auto found, StreamView(snapshot).find(name));
    if (found) return *std::move(found);
    return Error(Errc::not_found, fmt::format("there is no stream {}; posthouse stream list shows them", name));
}

// stream show NAME
Result<> stream_show(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(const Settings settings, call.settings());
    TRY(const Record row, store->read([&](const Snapshot& snapshot) -> Result<Record> {
        TRY(const Stream one, known_stream(snapshot, ascii::to_lower(call.get("NAME"))));
        Record out = record_of(one);
        TRY(const std::uint64_t recipients, StreamView(snapshot).recipient_count(one.name));
        TRY(const std::string url, storage::setting_text(snapshot.catalog(), "unsubscribe.url"));
        out.add("created", format_rfc3339(one.created)).add("recipients", recipients);
        if (one.is_list) out.add("unsubscribe_url", url.empty() ? "https://" + settings.hostname : url);
        return out;
    }));
    call.out().record(row);
    return {};
}

Result<> take_options(Invocation& call, Stream& stream) {
    const std::string word = call.get("--class");
    if (!word.empty() && word != "bulk" && word != "transactional") {
        return Error(Errc::invalid, fmt::format("--class takes bulk or transactional, not \"{}\"", word));
    }
    if (!word.empty()) stream.mail_class = word == "bulk" ? QueueClass::bulk : QueueClass::transactional;
    if (call.has("--list") && call.has("--no-list")) return Error(Errc::invalid, "it is a list, or it is none");
    if (call.has("--list")) stream.is_list = true;
    if (call.has("--no-list")) stream.is_list = false;
    const std::string owner = ascii::to_lower(call.get("--owner"));
    if (!owner.empty()) stream.owner = owner;
    return {};
}

// Streams of nobody would never be used.
Result<> check_owner(const Snapshot& snapshot, const std::string& owner) {
    if (owner.contains('@')) {
        const auto account = snapshot.catalog().account(owner);
        if (!account && account.error().code == Errc::not_found) {
            return Error(Errc::not_found, fmt::format("there is no account {}", owner));
        }
        return account ? Result<>() : Result<>(account.error());
    }
    const auto domain = snapshot.catalog().domain(owner);
    if (!domain && domain.error().code == Errc::not_found) {
        return Error(Errc::not_found, fmt::format("there is no domain {}; posthouse domain list shows them", owner));
    }
    return domain ? Result<>() : Result<>(domain.error());
}

// stream add NAME --owner DOMAIN|ACCOUNT [--class C] [--list]
Result<> stream_add(Invocation& call) {
    Stream stream;
    stream.name = ascii::to_lower(call.get("NAME"));
    TRY_VOID(take_options(call, stream));
    if (stream.owner.empty()) return Error(Errc::invalid, "say whose it is: --owner example.org, or an account");
    TRY(storage::Store* const store, call.store());
    TRY_VOID(store->read([&](const Snapshot& snapshot) { return check_owner(snapshot, stream.owner); }));
    TRY_VOID(store->write({}, [&](storage::Tx& tx) { return storage::StreamTx(tx).add(stream); }));
    if (call.out().json()) call.out().record(record_of(stream));
    call.out().say(fmt::format("The stream {} is there.{}", stream.name,
                               stream.is_list ? " https must reach this server for its unsubscribe page." : ""));
    return {};
}

// stream set NAME ...
Result<> stream_set(Invocation& call) {
    TRY(storage::Store* const store, call.store());
    TRY(Stream stream, store->read([&](const Snapshot& snapshot) -> Result<Stream> {
        TRY(Stream one, known_stream(snapshot, ascii::to_lower(call.get("NAME"))));
        TRY_VOID(take_options(call, one));
        TRY_VOID(check_owner(snapshot, one.owner));
        return one;
    }));
    TRY_VOID(store->write({}, [&](storage::Tx& tx) { return storage::StreamTx(tx).set(stream); }));
    if (call.out().json()) call.out().record(record_of(stream));
    call.out().say(fmt::format("The stream {} is changed.", stream.name));
    return {};
}

// stream remove NAME
Result<> stream_remove(Invocation& call) {
    const std::string name = ascii::to_lower(call.get("NAME"));
    TRY(storage::Store* const store, call.store());
    TRY_VOID(store->write({}, [&](storage::Tx& tx) { return storage::StreamTx(tx).remove(name); }));
    if (call.out().json()) call.out().record(Record().add("removed", name));
    call.out().say(fmt::format(
        "The stream {} is removed. Who unsubscribed from it stays so, and the addresses in its mail still work.",
        name));
    return {};
}

using Kind = Argument::Kind;
constexpr Argument kName{Kind::positional, "NAME", "letters, digits, '-' and '_'"};
constexpr Argument kOwner{Kind::option, "--owner", "a domain: whoever writes as it; or an account: that one alone"};
constexpr Argument kClass{Kind::option, "--class", "bulk (the default; yields to other mail) or transactional"};
constexpr Argument kList{Kind::flag, "--list", "recipients can unsubscribe in one step (RFC 8058)"};
constexpr Argument kOnlyName[] = {kName};
constexpr Argument kAddArguments[] = {kName, kOwner, kClass, kList};
constexpr Argument kSetArguments[] = {kName, kOwner, kClass, kList, {Kind::flag, "--no-list", "they cannot any more"}};

constexpr Command kRows[] = {
    {"stream", "list", "list the streams", "posthouse stream list", {}, stream_list},
    {"stream", "show", "tell all about one", "posthouse stream show news", kOnlyName, stream_show},
    {"stream", "add", "add a stream", "posthouse stream add news --owner example.org --list", kAddArguments,
     stream_add},
    {"stream", "set", "change a stream", "posthouse stream set news --class transactional", kSetArguments, stream_set},
    {"stream", "remove", "remove a stream", "posthouse stream remove news", kOnlyName, stream_remove},
};

}  // namespace

std::span<const Command> stream_commands() { return kRows; }

}  // namespace posthouse::admin
