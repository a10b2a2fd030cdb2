// GETMETADATA, SETMETADATA (RFC 5464).
#include <algorithm>
#include <array>

#include "protocols/imap/grammar.h"
#include "protocols/imap/mailbox_name.h"
#include "protocols/imap/response.h"
#include "server/imap/metadata_response.h"
#include "server/imap/names.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

using storage::Annotation;
using storage::AnnotationChange;
using storage::Audience;

constexpr std::string_view kPrivate = "/private";
constexpr std::string_view kShared = "/shared";

// The name on the wire, or "" for the server.
Result<std::string> mailbox_of(const std::string& on_wire, wire::NameForm form) {
    if (on_wire.empty()) return std::string();
    auto name = wire::decode_mailbox(on_wire, form);
    if (!name) return Error(Errc::denied, name.error().context);
    return name;
}

net::Task<Reply> on_get_metadata(Session& session, Cursor args) {
    const auto wanted = wire::take_get_metadata(args, session.limits());
    if (!wanted) co_return syntax(wanted.error());
    const auto name = mailbox_of(wanted->mailbox_wire, session.names());
    if (!name) co_return syntax(name.error());
    const auto annotations = co_await session.access().annotations(*name);
    if (!annotations) co_return reply_for(annotations.error());
    std::size_t left_out = 0;
    const std::string out = format_metadata(*name, session.names(), *wanted, *annotations, left_out);
    if (!out.empty()) session.untagged(out);
    if (left_out == 0) co_return Reply::ok("Metadata listed");
    co_return Reply::ok("METADATA LONGENTRIES " + std::to_string(left_out), "Metadata listed");  // RFC 5464 4.2.1
}

AnnotationChange change_of(const std::string& entry, const std::optional<std::string>& value) {
    const bool shared = entry.starts_with(kShared);
    AnnotationChange out;
    out.audience = shared ? Audience::everyone : Audience::owner;
    out.entry = entry.substr(shared ? kShared.size() : kPrivate.size());
    out.value = value;
    return out;
}

// All or nothing (RFC 5464 4.3).
net::Task<Reply> on_set_metadata(Session& session, Cursor args) {
    const auto wanted = wire::take_set_metadata(args, session.limits());
    if (!wanted) co_return syntax(wanted.error());
    auto name = mailbox_of(wanted->mailbox_wire, session.names());
    if (!name) co_return syntax(name.error());
    std::vector<AnnotationChange> changes;
    for (const auto& [entry, value] : wanted->values) changes.push_back(change_of(entry, value));
    const auto done = co_await session.access().annotate(*name, changes);
    if (done) session.note_own_metadata(*name, changes);
    if (done) co_return Reply::ok("Metadata set");
    switch (done.error().code) {
        case Errc::too_large:
            co_return Reply::no("METADATA MAXSIZE " + std::to_string(storage::kAnnotationOctetsMax),
                                "Value is too large");
        case Errc::limit: co_return Reply::no("METADATA TOOMANY", "There are too many annotations");
        case Errc::denied: co_return Reply::no("NOPERM", "Only the administrator sets that");
        case Errc::unsupported: co_return Reply::no("USEATTR", "That special use is not supported here");
        default: co_return reply_for(done.error());
    }
}

constexpr auto kCommands = std::to_array<Command>({
    {"GETMETADATA", kLoggedIn, Expunges::told, "METADATA", on_get_metadata, "5464 4.2"},
    {"SETMETADATA", kLoggedIn, Expunges::told, "", on_set_metadata, "5464 4.3", Progress::untold, Octets::any},
});

}  // namespace

std::span<const Command> metadata_commands() { return kCommands; }

std::string full_entry(const Annotation& annotation) {
    return std::string(annotation.audience == Audience::owner ? kPrivate : kShared) + annotation.entry;
}

std::string format_metadata(std::string_view name, wire::NameForm form, const wire::GetMetadata& wanted,
                            std::span<const Annotation> annotations, std::size_t& octets_left_out) {
    std::string list;
    const auto begin_entry = [&](std::string_view entry) {
        if (!list.empty()) list += ' ';
        wire::append_astring(list, entry);
        list += ' ';
    };
    for (const Annotation& annotation : annotations) {
        const std::string entry = full_entry(annotation);
        const bool named = std::ranges::any_of(
            wanted.entries, [&](const std::string& one) { return wire::names_entry(one, wanted.depth, entry); });
        if (!named) continue;
        if (annotation.value.size() > wanted.octets_max) {
            octets_left_out = std::max(octets_left_out, annotation.value.size());
            continue;
        }
        begin_entry(entry);
        if (annotation.value.find('\0') == std::string::npos)
            wire::append_string(list, annotation.value);
        else
            wire::append_literal8(list, annotation.value);
    }
    for (const std::string& entry : wanted.entries) {
        if (wanted.depth != wire::GetMetadata::Depth::self || std::ranges::count(entry, '/') < 2) continue;
        if (std::ranges::any_of(annotations, [&](const Annotation& one) { return full_entry(one) == entry; })) continue;
        begin_entry(entry);
        list += "NIL";
    }
    if (list.empty()) return "";
    std::string out = "METADATA ";
    wire::append_mailbox(out, name, form);
    return out + " (" + list + ")";
}

}  // namespace posthouse::server::imap
