// LIST, LSUB (RFC 3501 6.3.8, 6.3.9), LIST-EXTENDED (RFC 5258), LIST-STATUS (RFC 5819), CHILDREN (RFC 3348),
// SPECIAL-USE (RFC 6154), LIST-METADATA (RFC 9590), LIST-MYRIGHTS (RFC 8440).
#include <algorithm>
#include <array>
#include <map>

#include "protocols/imap/list.h"
#include "protocols/imap/mailbox_name.h"
#include "protocols/imap/response.h"
#include "server/imap/answers.h"
#include "server/imap/metadata_response.h"
#include "server/imap/names.h"
#include "server/imap/offered.h"
#include "server/imap/session.h"
#include "server/imap/status.h"

namespace posthouse::server::imap {

namespace wire = posthouse::imap;

namespace {

// A name that may become a line: a mailbox, a subscribed name, or a level above one of them.
struct Node {
    const MailboxStatus* status = nullptr;  // null: there is no such mailbox
    bool subscribed = false;
    bool has_children = false;     // mailboxes below it
    bool wanted = false;           // meets the selection criteria
    bool matched = false;          // by one of the patterns
    bool wanted_below = false;     // a name below it meets the criteria
    bool unmatched_below = false;  // such a one that is matched by no pattern
};
using Nodes = std::map<std::string, Node, std::less<>>;  // by UTF-8 name

template <class Visit>
void each_level_above(Nodes& nodes, const std::string& name, Visit visit) {
    for (std::size_t at = name.find(wire::kDelimiter); at != std::string::npos;
         at = name.find(wire::kDelimiter, at + 1)) {
        visit(nodes[name.substr(0, at)]);
    }
}

// The canonical pattern is reference and pattern joined (RFC 3501 6.3.8).
std::string full_pattern(const wire::ListProgram& program, const std::string& pattern) {
    if (pattern.starts_with(wire::kDelimiter)) return pattern.substr(1);
    return program.reference + pattern;
}

std::vector<std::string> full_patterns(const wire::ListProgram& program) {
    std::vector<std::string> out;
    for (const std::string& pattern : program.patterns) out.push_back(full_pattern(program, pattern));
    return out;
}

bool too_long(std::span<const std::string> patterns, const wire::Limits& limits) {
    return std::ranges::any_of(patterns,
                               [&](const std::string& one) { return one.size() > limits.mailbox_octets_max; });
}

// Asks for the delimiter only (RFC 3501 6.3.8).
bool asks_delimiter(const wire::ListProgram& program) { return !program.extended && program.patterns[0].empty(); }

bool meets_criteria(const Node& node, std::uint8_t select) {
    if ((select & wire::kSelectSubscribed) != 0 && !node.subscribed) return false;
    if ((select & wire::kSelectSpecialUse) != 0) {
        if (node.status == nullptr || node.status->mailbox.special_use == storage::SpecialUse::none) return false;
    }
    return (select & wire::kSelectSubscribed) != 0 || node.status != nullptr;
}

Nodes make_nodes(const MailboxListing& listing, const wire::ListProgram& program, wire::NameForm form) {
    Nodes nodes;
    for (const MailboxStatus& status : listing.mailboxes) {
        nodes[status.mailbox.name].status = &status;
        each_level_above(nodes, status.mailbox.name, [](Node& above) { above.has_children = true; });
    }
    for (const std::string& name : listing.subscriptions) {
        nodes[name].subscribed = true;
        each_level_above(nodes, name, [](Node&) {});
    }
    const auto patterns = full_patterns(program);
    for (auto& [name, node] : nodes) {
        const std::string on_wire = wire::encode_mailbox(name, form);
        node.matched = std::ranges::any_of(
            patterns, [&](const std::string& pattern) { return wire::matches_pattern(on_wire, pattern); });
        node.wanted = meets_criteria(node, program.select);
        if (!node.wanted) continue;
        each_level_above(nodes, name, [&](Node& above) {
            above.wanted_below = true;
            if (!node.matched) above.unmatched_below = true;
        });
    }
    return nodes;
}

// RFC 5258 3.3: it meets the criteria, or something below does that is not listed by itself.
bool is_listed(const Node& node, const wire::ListProgram& program) {
    if (!node.matched) return false;
    if (node.wanted) return true;
    if ((program.select & wire::kSelectRecursive) != 0) return node.unmatched_below;
    // A level that is no mailbox, above mailboxes (RFC 5258 3.5).
    if (node.status != nullptr || (program.select & wire::kSelectCriteria) != 0) return false;
    return program.extended ? node.unmatched_below : node.has_children;
}

bool is_readable(const Node& node) {
    return node.status != nullptr && has(node.status->mailbox.rights, storage::Right::read);
}

void append_list(std::string& out, std::string_view name, const Node& node, const wire::ListProgram& program,
                 const Session& session) {
    out += "LIST (";
    if (node.status == nullptr) out += program.extended ? "\\NonExistent " : "\\Noselect ";
    // RFC 5819 2: it is there, and cannot be selected.
    if (node.status != nullptr && !is_readable(node)) out += "\\Noselect ";
    if (session.offers("CHILDREN")) out += node.has_children ? "\\HasChildren " : "\\HasNoChildren ";
    if (node.subscribed && (program.returns & wire::kReturnSubscribed) != 0) out += "\\Subscribed ";
    if (node.status != nullptr && session.offers("SPECIAL-USE")) {
        out += special_use_attribute(node.status->mailbox.special_use);
        out += ' ';
    }
    while (out.back() == ' ') out.pop_back();
    out += ") \"/\" ";
    wire::append_mailbox(out, name, session.names());
    if ((program.select & wire::kSelectRecursive) != 0 && node.wanted_below) {
        out += " (\"CHILDINFO\" (" + wire::format_criteria(program.select) + "))";
    }
}

net::Task<Reply> on_list(Session& session, Cursor args) {
    const auto program = wire::take_list(args, session.limits());
    if (!program) co_return syntax(program.error());
    auto offered = check_offered(session, *program);
    if (!offered) co_return syntax(offered.error());
    const auto items = find_status_items(program->status);
    if (!items) co_return syntax(items.error());
    offered = check_offered(session, *items);
    if (!offered) co_return syntax(offered.error());
    if (asks_delimiter(*program)) {
        session.untagged("LIST (\\Noselect) \"/\" \"\"");
        co_return Reply::ok("List completed");
    }
    if (too_long(full_patterns(*program), session.limits())) co_return Reply::no("LIMIT", "Pattern is too long");
    const bool annotated = !program->metadata.empty();
    const auto reads = static_cast<std::uint8_t>(reads_of(*items) | (annotated ? kReadAnnotations : 0));
    const wire::NameForm form = session.names();
    wire::GetMetadata metadata;
    metadata.entries = program->metadata;
    const auto listing = co_await session.access().list(reads);
    if (!listing) co_return reply_for(listing.error());
    if (tells_modseq(*items)) session.enable(Enabled::condstore);
    std::string out;
    for (const auto& [name, node] : make_nodes(*listing, *program, form)) {
        if (!is_listed(node, *program)) continue;
        out.clear();
        append_list(out, name, node, *program, session);
        session.untagged(out);
        // RFC 5819 3: no STATUS of what is listed for its children only.
        if (!items->empty() && node.wanted && is_readable(node)) {
            out.clear();
            append_status(out, name, *items, StatusSource{*node.status, session.limits(), form});
            session.untagged(out);
        }
        if ((program->returns & wire::kReturnMyRights) != 0 && node.wanted && node.status != nullptr) {
            out = "MYRIGHTS ";
            wire::append_mailbox(out, name, form);
            session.untagged(out + " " + format_rights(session, node.status->mailbox.rights));
        }
        if (annotated && node.wanted && is_readable(node)) {
            std::size_t left_out = 0;
            out = format_metadata(name, form, metadata, node.status->annotations, left_out);
            if (!out.empty()) session.untagged(out);
        }
        const auto relieved = co_await session.relieve();
        if (!relieved) co_return Reply::hang_up("");
    }
    co_return Reply::ok("List completed");
}

// Subscribed names, of mailboxes that are gone too; where "%" stops above a subscribed name that level is shown with
// \Noselect (RFC 3501 6.3.9).
net::Task<Reply> on_lsub(Session& session, Cursor args) {
    auto program = wire::take_lsub(args);
    if (!program) co_return syntax(program.error());
    if (asks_delimiter(*program)) {
        session.untagged("LSUB (\\Noselect) \"/\" \"\"");
        co_return Reply::ok("Lsub completed");
    }
    if (too_long(full_patterns(*program), session.limits())) co_return Reply::no("LIMIT", "Pattern is too long");
    const auto listing = co_await session.access().list(0);
    if (!listing) co_return reply_for(listing.error());
    program->select = wire::kSelectSubscribed;
    const wire::NameForm form = session.names();
    const bool levels = full_pattern(*program, program->patterns[0]).find('%') != std::string::npos;
    std::string out;
    for (const auto& [name, node] : make_nodes(*listing, *program, form)) {
        if (!node.matched || (!node.wanted && !(levels && node.wanted_below))) continue;
        out = "LSUB (";
        if (!node.wanted)
            out += "\\Noselect";
        else if (node.status != nullptr && session.offers("SPECIAL-USE"))
            out += special_use_attribute(node.status->mailbox.special_use);
        out += ") \"/\" ";
        wire::append_mailbox(out, name, form);
        session.untagged(out);
    }
    co_return Reply::ok("Lsub completed");
}

constexpr std::array<Command, 2> kCommands = {{
    {"LIST", kLoggedIn, Expunges::told, "", on_list, "3501 6.3.8"},
    {"LSUB", kLoggedIn, Expunges::told, "", on_lsub, "3501 6.3.9"},
}};

}  // namespace

std::span<const Command> list_commands() { return kCommands; }

net::Task<Result<>> tell_list(Session& session, std::string name) {
    CO_TRY(const auto listing, co_await session.access().list(0));
    wire::ListProgram program;
    program.extended = true;
    program.returns = wire::kReturnSubscribed;
    const Nodes nodes = make_nodes(listing, program, session.names());
    const auto node = nodes.find(name);
    std::string out;
    if (node == nodes.end()) {  // it may be read and not looked up (RFC 4314 4)
        out = "LIST () \"/\" ";
        wire::append_mailbox(out, name, session.names());
        session.untagged(out);
        co_return Result<>();
    }
    append_list(out, name, node->second, program, session);
    session.untagged(out);
    co_return Result<>();
}

}  // namespace posthouse::server::imap
