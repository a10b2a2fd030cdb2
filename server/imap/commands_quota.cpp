// GETQUOTA, GETQUOTAROOT, SETQUOTA (RFC 9208). All mailboxes of an account have one root; its name is "".
#include <array>

#include "protocols/imap/grammar.h"
#include "protocols/imap/response.h"
#include "server/imap/names.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

constexpr std::uint64_t kUnitOctets = 1024;  // of STORAGE (RFC 9208 5.1)

// quota-response = "QUOTA" SP quota-root-name SP quota-list; what has no limit is not in the list (RFC 9208 4.2.1).
std::string format_quota(const Session& session, const Quota& quota) {
    std::string out = "QUOTA \"\" (";
    const auto add = [&](std::string_view resource, std::uint64_t used, std::uint64_t limit) {
        if (out.back() != '(') out += ' ';
        out += resource;
        out += ' ';
        wire::append_number(out, used);
        out += ' ';
        wire::append_number(out, limit);
    };
    if (quota.octets_max != 0 && session.offers("QUOTA=RES-STORAGE")) {
        // Rounded so that a full account never looks as if there were room.
        const std::uint64_t used = (quota.octets + kUnitOctets - 1) / kUnitOctets;
        add("STORAGE", used, quota.octets_max / kUnitOctets);
    }
    const bool counted = quota.messages_max != 0 && session.offers("QUOTA=RES-MESSAGE");
    if (counted) add("MESSAGE", quota.messages, quota.messages_max);
    return out + ')';
}

net::Task<Reply> on_get_quota(Session& session, Cursor args) {
    const auto root = wire::take_astring(args);
    if (!root) co_return syntax(root.error());
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    if (!root->empty()) co_return Reply::no("NONEXISTENT", "No such quota root");
    const auto quota = co_await session.access().quota();
    if (!quota) co_return reply_for(quota.error());
    session.untagged(format_quota(session, *quota));
    co_return Reply::ok("Quota listed");
}

// The mailbox need not exist (RFC 9208 4.1.2).
net::Task<Reply> on_get_quota_root(Session& session, Cursor args) {
    const auto name = take_mailbox(args, session.names());
    if (!name) co_return syntax(name.error());
    const auto end = wire::take_end(args);
    if (!end) co_return syntax(end.error());
    const auto quota = co_await session.access().quota();
    if (!quota) co_return reply_for(quota.error());
    std::string out = "QUOTAROOT ";
    wire::append_mailbox(out, *name, session.names());
    // What others share counts for them, and how much they have is theirs to know.
    const auto status = co_await session.access().status(*name);
    const bool shared = status ? status->mailbox.account != session.account() : is_shared_name(*name);
    if (shared) {
        session.untagged(out);
        co_return Reply::ok("Quota listed");
    }
    session.untagged(out + " \"\"");
    session.untagged(format_quota(session, *quota));
    co_return Reply::ok("Quota listed");
}

// Quotas are the administrator's to set, so QUOTASET is not announced (RFC 9208 4.1.3).
net::Task<Reply> on_set_quota(Session&, Cursor args) {
    const auto root = wire::take_astring(args);
    if (!root) co_return syntax(root.error());
    const auto space = wire::take_space(args);
    if (!space) co_return syntax(space.error());
    if (args.peek() != '(') co_return Reply::bad("Resource limits expected");
    co_return Reply::no("NOPERM", "Only the administrator sets quotas");
}

constexpr auto kCommands = std::to_array<Command>({
    {"GETQUOTA", kLoggedIn, Expunges::told, "QUOTA", on_get_quota, "9208 4.1.1"},
    {"GETQUOTAROOT", kLoggedIn, Expunges::told, "", on_get_quota_root, "9208 4.1.2"},
    {"SETQUOTA", kLoggedIn, Expunges::told, "", on_set_quota, "9208 4.1.3"},
});

}  // namespace

std::span<const Command> quota_commands() { return kCommands; }

}  // namespace posthouse::server::imap
