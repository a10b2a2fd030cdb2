// What an account removed, and what brings it back. The same as `posthouse undelete`, by the same code.
//
//   GET  /api/v1/accounts/{address}/deleted?mailbox=&since=&limit=&cursor=
//   POST /api/v1/accounts/{address}/deleted/restore
//        {"messages": [ids]} | {"mailbox": name, "since": time} | {"all": true}, and "into": name with any
#include <Poco/Exception.h>
#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <fmt/format.h>

#include <sstream>

#include "admin/http/json_body.h"
#include "admin/http/router.h"
#include "admin/undelete/moment.h"
#include "admin/undelete/undelete.h"
#include "protocols/base/ascii.h"
#include "storage/settings.h"

namespace posthouse::admin {
namespace {

using storage::DeletedEntry;
using storage::DeletedKey;
using storage::DeletedMailbox;
using storage::DeletedQuery;
using storage::Snapshot;

constexpr std::size_t kLimitDefault = 100;
constexpr std::size_t kLimitMax = 1000;
constexpr std::size_t kIdsMax = 1000;

/// What is wrong with a request, and where.
struct Fault {
    std::string field;
    std::string sentence;
};

std::string text_of(const Poco::JSON::Object& object) {
    std::ostringstream text;
    object.stringify(text);
    return text.str() + "\n";
}

// ---- GET .../deleted

// A cursor is the key of the last message that was given: "MILLISECONDS.MAILBOX.UID".
std::string cursor_of(const DeletedKey& key) { return fmt::format("{}.{}", to_unix_ms(key.deleted), removed_id(key)); }

std::optional<DeletedKey> parse_cursor(std::string_view text) {
    const std::size_t dot = text.find('.');
    const auto ms = ascii::parse_number(text.substr(0, dot));
    if (dot == std::string_view::npos || !ms || *ms > 1ULL << 62U) return std::nullopt;
    const auto rest = query_of_id(text.substr(dot + 1));
    if (!rest) return std::nullopt;
    return DeletedKey{from_unix_ms(static_cast<std::int64_t>(*ms)), *rest->lay_in, *rest->uid};
}

std::optional<Fault> read_query(const Call& call, DeletedQuery& query) {
    query.limit = kLimitDefault;
    for (const auto& [name, value] : call.query) {
        if (name == "mailbox") {
            query.mailbox = value;
        } else if (name == "since") {
            const auto since = parse_moment(value, call.deps.clock->now());
            if (!since) return Fault{name, since.error().context};
            query.since = *since;
        } else if (name == "limit") {
            const auto limit = ascii::parse_number(value);
            if (!limit || *limit == 0 || *limit > kLimitMax) {
                return Fault{name, fmt::format("The limit is a number from 1 to {}.", kLimitMax)};
            }
            query.limit = static_cast<std::size_t>(*limit);
        } else if (name == "cursor") {
            query.before = parse_cursor(value);
            if (!query.before) return Fault{name, "The cursor is none of those that were given."};
        } else {
            return Fault{name, "There are mailbox, since, limit and cursor."};
        }
    }
    return std::nullopt;
}

Poco::JSON::Object::Ptr message_of(const DeletedEntry& entry) {
    Poco::JSON::Object::Ptr out = new Poco::JSON::Object(Poco::JSON_PRESERVE_KEY_ORDER);
    out->set("id", removed_id(entry.key));
    out->set("removed", format_rfc3339(entry.key.deleted));
    out->set("mailbox", utf8_of(entry.mailbox_name));
    out->set("received", format_rfc3339(from_unix_ms(entry.internal_date_s * 1000)));
    out->set("size", entry.size_octets);
    out->set("from", utf8_of(entry.from));
    out->set("subject", utf8_of(entry.subject));
    return out;
}

/// One picture of what is there.
struct Listing {
    std::vector<DeletedEntry> entries;
    std::vector<DeletedMailbox> mailboxes;
    std::int64_t days = 0;
};

HttpAnswer list_deleted(Call& call) {
    DeletedQuery query;
    if (const auto fault = read_query(call, query)) return problem(400, fault->sentence, fault->field);
    const auto found = call.deps.store->read([&](const Snapshot& s) -> Result<Listing> {
        Listing out;
        TRY(out.entries, s.mail(call.account->id).deleted(query));
        TRY(out.mailboxes, s.mail(call.account->id).deleted_mailboxes());
        TRY(out.days, storage::setting_number(s.catalog(), "undelete.days"));
        return out;
    });
    if (!found) return problem(found.error());
    Poco::JSON::Array messages;
    for (const DeletedEntry& entry : found->entries) messages.add(message_of(entry));
    Poco::JSON::Array mailboxes;
    for (const DeletedMailbox& gone : found->mailboxes) {
        if (query.before || !fits(gone, query)) continue;  // they stand on the first page
        Poco::JSON::Object::Ptr one = new Poco::JSON::Object(Poco::JSON_PRESERVE_KEY_ORDER);
        one->set("name", utf8_of(gone.name));
        one->set("removed", format_rfc3339(gone.deleted));
        mailboxes.add(one);
    }
    Poco::JSON::Object object(Poco::JSON_PRESERVE_KEY_ORDER);
    object.set("messages", messages);
    object.set("mailboxes", mailboxes);
    const bool more = found->entries.size() == query.limit;
    object.set("next", more ? Poco::Dynamic::Var(cursor_of(found->entries.back().key)) : Poco::Dynamic::Var());
    object.set("kept_days", found->days);
    HttpAnswer out;
    out.body = text_of(object);
    return out;
}

// ---- POST .../deleted/restore

std::optional<Fault> read_ids(const Poco::Dynamic::Var& value, std::vector<std::string>& ids) {
    const std::string sentence = fmt::format("messages is a list of 1 to {} ids of the list.", kIdsMax);
    if (value.type() != typeid(Poco::JSON::Array::Ptr)) return Fault{"messages", sentence};
    const auto& list = value.extract<Poco::JSON::Array::Ptr>();
    if (list->size() == 0 || list->size() > kIdsMax) return Fault{"messages", sentence};
    for (const Poco::Dynamic::Var& one : *list) {
        if (!one.isString()) return Fault{"messages", sentence};
        ids.push_back(one.extract<std::string>());
        if (const auto id = query_of_id(ids.back()); !id) return Fault{"messages", id.error().context};
    }
    return std::nullopt;
}

// One member of the body.
std::optional<Fault> read_member(const std::string& name, const Poco::Dynamic::Var& value, Time now,
                                 RestoreRequest& request) {
    if (name == "messages") return read_ids(value, request.ids);
    if (name == "all") {
        if (value.isBoolean() && value.extract<bool>()) return std::nullopt;
        return Fault{name, "all is true or not there."};
    }
    if (name != "mailbox" && name != "since" && name != "into") {
        return Fault{utf8_of(name), "There are messages, mailbox, since, all and into."};
    }
    if (!value.isString() || value.extract<std::string>().empty()) return Fault{name, name + " is a text."};
    const std::string text = value.extract<std::string>();
    if (name == "mailbox") request.query.mailbox = text;
    if (name == "into") request.into = text;
    if (name != "since") return std::nullopt;
    const auto since = parse_moment(text, now);
    if (!since) return Fault{name, since.error().context};
    request.query.since = *since;
    return std::nullopt;
}

// What is asked for must be said: an empty object does not mean everything.
std::optional<Fault> read_selection(const Poco::JSON::Object& object, Time now, RestoreRequest& request) {
    for (const auto& [name, value] : object) {
        if (auto fault = read_member(name, value, now, request)) return fault;
    }
    const bool by_query = object.has("mailbox") || object.has("since");
    const int ways = (object.has("messages") ? 1 : 0) + (object.has("all") ? 1 : 0) + (by_query ? 1 : 0);
    if (ways == 1) return std::nullopt;
    return Fault{"messages", "Say what to restore by one of: messages; mailbox, since or both; all."};
}

std::string report_text(const RestoreReport& report) {
    Poco::JSON::Object places(Poco::JSON_PRESERVE_KEY_ORDER);
    for (const auto& [name, count] : report.places) places.set(utf8_of(name), count);
    Poco::JSON::Object object(Poco::JSON_PRESERVE_KEY_ORDER);
    object.set("restored", report.messages);
    object.set("mailboxes", places);
    return text_of(object);
}

HttpAnswer restore_deleted(Call& call) {
    const Poco::JSON::Object::Ptr object = parse_json_object(call.body);
    if (!object) return problem(400, "The body is no JSON object.");
    RestoreRequest request;
    if (const auto fault = read_selection(*object, call.deps.clock->now(), request)) {
        return problem(422, fault->sentence, fault->field);
    }
    RestoreReport report;
    const auto done = restore(
        *call.deps.store, call.account->id, request,
        [&call](std::uint64_t, std::uint64_t) { return !call.stopping.load(); }, report);
    if (!done) {
        const Errc code = done.error().code;
        // Each step is durable by itself: who asks again restores the rest.
        const std::string sentence = report.messages == 0
                                         ? done.error().context
                                         : fmt::format("{}; {} of {} messages were restored before",
                                                       done.error().context, report.messages, report.wanted);
        const bool by_id = code == Errc::not_found && !request.ids.empty();
        const bool by_name = code == Errc::invalid && !request.into.empty();
        return problem(Error(code, sentence), by_id ? "messages" : by_name ? "into" : "");
    }
    HttpAnswer out;
    out.body = report_text(report);
    return out;
}

constexpr Endpoint kRows[] = {
    {"GET", "/api/v1/accounts/{}/deleted", Access::account, list_deleted},
    {"POST", "/api/v1/accounts/{}/deleted/restore", Access::account, restore_deleted},
};

}  // namespace

std::span<const Endpoint> deleted_endpoints() { return kRows; }

}  // namespace posthouse::admin
