#include "admin/transfer/imap_folders.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>

#include "protocols/base/ascii.h"

namespace posthouse::transfer {
namespace {

using imap::ListEntry;
using imap::Namespaces;
using storage::SpecialUse;

bool has(const ListEntry& entry, std::string_view attribute) {
    return std::ranges::any_of(entry.attributes, [&](const std::string& a) { return ascii::equals_ci(a, attribute); });
}

SpecialUse use_by_attribute(const ListEntry& entry) {
    struct Row {
        std::string_view attribute;
        SpecialUse use;
    };
    constexpr std::array<Row, 6> kRows = {{{"\\Drafts", SpecialUse::drafts},
                                           {"\\Sent", SpecialUse::sent},
                                           {"\\Junk", SpecialUse::junk},
                                           {"\\Spam", SpecialUse::junk},  // XLIST of old
                                           {"\\Trash", SpecialUse::trash},
                                           {"\\Archive", SpecialUse::archive}}};
    for (const Row& row : kRows) {
        if (has(entry, row.attribute)) return row.use;
    }
    return SpecialUse::none;
}

bool is_inbox(std::string_view wire) { return ascii::equals_ci(wire, "INBOX"); }

// "INBOX." or "Mail/" where all folders but INBOX lie beneath it.
std::string common_prefix(const std::vector<ListEntry>& listed, const Namespaces& namespaces) {
    for (const Namespaces::One& one : namespaces.personal) {
        if (!one.prefix.empty()) return one.prefix;
    }
    if (!namespaces.personal.empty()) return "";
    std::string prefix;
    for (const ListEntry& entry : listed) {
        if (is_inbox(entry.name) || entry.delimiter == '\0') continue;
        const std::string inbox = std::string("INBOX") + entry.delimiter;
        if (!ascii::starts_with_ci(entry.name, inbox)) return "";
        prefix = inbox;
    }
    return prefix;
}

bool belongs_to_others(const ListEntry& entry, const Namespaces& namespaces) {
    for (const auto* kind : {&namespaces.others, &namespaces.shared}) {
        for (const Namespaces::One& one : *kind) {
            if (one.prefix.empty()) continue;
            std::string_view prefix = one.prefix;
            if (ascii::starts_with_ci(entry.name, prefix)) return true;
            if (one.delimiter != '\0' && prefix.ends_with(one.delimiter)) prefix.remove_suffix(1);
            if (ascii::equals_ci(entry.name, prefix)) return true;
        }
    }
    return false;
}

std::string path_of(const ListEntry& entry, std::string_view prefix) {
    if (is_inbox(entry.name)) return "INBOX";
    std::string_view rest = entry.name;
    if (!prefix.empty() && ascii::starts_with_ci(rest, prefix) && rest.size() > prefix.size()) {
        rest.remove_prefix(prefix.size());
    }
    std::string out;
    for (bool more = true; more;) {
        std::size_t end = entry.delimiter == '\0' ? std::string_view::npos : rest.find(entry.delimiter);
        more = end != std::string_view::npos;
        if (!more) end = rest.size();
        std::string level = decode_folder_level(rest.substr(0, end));
        std::ranges::replace(level, '/', '_');
        if (!out.empty() && !level.empty()) out += '/';
        out += level;
        rest.remove_prefix(more ? end + 1 : end);
    }
    if (ascii::starts_with_ci(out, "INBOX/")) out.replace(0, 5, "INBOX");
    // The prefix is gone, so that INBOX beneath INBOX would be INBOX itself.
    return is_inbox(out) ? "INBOX_" : out;
}

bool matches(const std::string& wish, const ImapFolder& folder) {
    std::string_view stem = wish;
    if (stem.ends_with("/*")) {
        stem.remove_suffix(2);
        if (ascii::starts_with_ci(folder.path, std::string(stem) + "/")) return true;
    }
    return ascii::equals_ci(stem, folder.path) || wish == folder.wire;
}

bool wished(const FolderWishes& wishes, const ImapFolder& folder) {
    const auto is = [&](const std::string& wish) { return matches(wish, folder); };
    if (!wishes.only.empty() && std::ranges::none_of(wishes.only, is)) return false;
    return std::ranges::none_of(wishes.exclude, is);
}

// A folder as listed and what its attributes say of its use.
struct Candidate {
    ImapFolder folder;
    SpecialUse by_attribute = SpecialUse::none;
    std::size_t listed = 0;  // its place in the list
};

// One folder of a use is that mailbox of ours: the one with the attribute, else the first by name. Two folders never
// share a mailbox, so that what one of them loses is never taken from the other.
void settle_places(std::vector<Candidate>& all, const FolderWishes& wishes) {
    std::set<SpecialUse> taken;
    std::set<std::string> names;
    const auto claim = [&](Candidate& candidate, SpecialUse use) {
        if (!taken.insert(use).second) return false;
        candidate.folder.place.use = use;
        const auto own = std::ranges::find(wishes.own, use, [](const auto& pair) { return pair.first; });
        if (own != wishes.own.end()) candidate.folder.place.mailbox = own->second;
        return true;
    };
    for (Candidate& one : all) {
        one.folder.place = place_folder(one.folder.path, wishes.into);
        if (!wishes.into.empty()) one.by_attribute = SpecialUse::none;
    }
    std::vector<bool> placed(all.size(), false);
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (all[i].by_attribute != SpecialUse::none) placed[i] = claim(all[i], all[i].by_attribute);
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
        const SpecialUse use = all[i].folder.place.use;
        if (!placed[i] && use != SpecialUse::none) placed[i] = claim(all[i], use);
        if (placed[i]) names.insert(all[i].folder.place.mailbox);
        if (!placed[i]) all[i].folder.place.use = SpecialUse::none;
    }
    for (std::size_t i = 0; i < all.size(); ++i) {
        if (placed[i]) continue;
        const std::string base = all[i].folder.place.mailbox;
        std::string& name = all[i].folder.place.mailbox;
        for (int n = 2; !names.insert(name).second; ++n) name = fmt::format("{}_{}", base, n);
    }
}

// INBOX first, \\All last, the others as listed.
std::pair<int, std::size_t> rank(const Candidate& one) {
    return {one.folder.all_mail ? 2 : is_inbox(one.folder.wire) ? 0 : 1, one.listed};
}

// Whether the folder holds nothing of its own; says so where a person would miss it.
bool is_left_out(const ListEntry& entry, const std::string& path, bool named, bool message_ids, FolderPlan& plan) {
    if (has(entry, "\\Noselect") || has(entry, "\\NonExistent")) return true;
    if (named) return false;
    const bool all = has(entry, "\\All") || has(entry, "\\AllMail");
    if (all && message_ids) return false;
    if (!all && !has(entry, "\\Flagged") && !has(entry, "\\Starred") && !has(entry, "\\Important")) return false;
    plan.notes.push_back(
        fmt::format("\"{}\" is a view of the other folders and is left out; name it with --folder to "
                    "take it as well",
                    path));
    return true;
}

}  // namespace

Result<FolderPlan> plan_folders(const std::vector<ListEntry>& listed, const std::vector<std::string>& subscribed,
                                const Namespaces& namespaces, const FolderWishes& wishes, bool message_ids) {
    FolderPlan plan;
    const std::string prefix = common_prefix(listed, namespaces);
    const std::set<std::string, std::less<>> subscriptions(subscribed.begin(), subscribed.end());
    std::set<std::string> seen;
    std::vector<Candidate> all;
    std::size_t of_others = 0;
    for (const ListEntry& entry : listed) {
        if (entry.name.empty() || !seen.insert(entry.name).second) continue;
        Candidate one;
        one.listed = all.size();
        one.folder.wire = entry.name;
        one.folder.path = path_of(entry, prefix);
        one.by_attribute = use_by_attribute(entry);
        one.folder.subscribed = has(entry, "\\Subscribed") || subscriptions.contains(entry.name);
        one.folder.all_mail = message_ids && (has(entry, "\\All") || has(entry, "\\AllMail"));
        if (one.folder.all_mail) one.by_attribute = SpecialUse::archive;
        const bool named = !wishes.only.empty() && wished(wishes, one.folder);
        if (!named && belongs_to_others(entry, namespaces)) {
            of_others += has(entry, "\\Noselect") ? 0 : 1;
            continue;
        }
        if (is_left_out(entry, one.folder.path, named, message_ids, plan)) continue;
        all.push_back(std::move(one));
    }
    if (of_others > 0) {
        plan.notes.push_back(fmt::format("{} folders of others are left out; name them with --folder", of_others));
    }
    std::ranges::sort(all, {}, rank);
    settle_places(all, wishes);
    for (const std::string& wish : wishes.only) {
        if (std::ranges::any_of(all, [&](const Candidate& one) { return matches(wish, one.folder); })) continue;
        return Error(Errc::not_found, fmt::format("there is no folder \"{}\" at the source", wish));
    }
    for (Candidate& one : all) {
        // INBOX cannot be unsubscribed from in any way that matters.
        if (is_inbox(one.folder.wire)) one.folder.subscribed = true;
        if (wished(wishes, one.folder)) plan.folders.push_back(std::move(one.folder));
    }
    return plan;
}

}  // namespace posthouse::transfer
