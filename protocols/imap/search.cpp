#include "protocols/imap/search.h"

#include <algorithm>
#include <array>

#include "protocols/imap/grammar.h"
#include "protocols/imap/modseq.h"
#include "protocols/imap/object_id.h"
#include "protocols/mime/date.h"
#include "protocols/mime/header.h"
#include "protocols/mime/text.h"

namespace posthouse::imap {

namespace {

Match to_match(bool yes) { return yes ? Match::yes : Match::no; }

template <std::uint8_t bits>
Match has_flag(const SearchNode&, const SearchMessage& message) {
    return to_match((message.system_flags & bits) != 0);
}
template <std::uint8_t bits>
Match lacks_flag(const SearchNode&, const SearchMessage& message) {
    return to_match((message.system_flags & bits) == 0);
}
Match is_any(const SearchNode&, const SearchMessage&) { return Match::yes; }
Match is_recent(const SearchNode&, const SearchMessage& message) { return to_match(message.recent); }
Match is_old(const SearchNode&, const SearchMessage& message) { return to_match(!message.recent); }
Match is_new(const SearchNode&, const SearchMessage& message) {
    return to_match(message.recent && (message.system_flags & kSeen) == 0);
}
Match has_keyword(const SearchNode& node, const SearchMessage& message) {
    return to_match(std::any_of(message.keywords.begin(), message.keywords.end(),
                                [&](const std::string& keyword) { return ascii::equals_ci(keyword, node.text); }));
}
Match lacks_keyword(const SearchNode& node, const SearchMessage& message) {
    return to_match(has_keyword(node, message) == Match::no);
}
Match is_larger(const SearchNode& node, const SearchMessage& message) {
    return to_match(message.size_octets > node.number);
}
Match is_smaller(const SearchNode& node, const SearchMessage& message) {
    return to_match(message.size_octets < node.number);
}
Match is_changed(const SearchNode& node, const SearchMessage& message) {
    return to_match(message.modseq >= node.number);
}
Match in_uids(const SearchNode& node, const SearchMessage& message) {
    return to_match(contains(node.ranges, message.uid));
}
Match in_numbers(const SearchNode& node, const SearchMessage& message) {
    return to_match(contains(node.ranges, message.number));
}

// INTERNALDATE is kept and shown in UTC, so its day is the UTC day (RFC 3501 6.4.4: time and zone disregarded).
std::int64_t day_of(std::int64_t s) {
    constexpr std::int64_t kDay = 86'400;
    return s >= 0 ? s / kDay : -((-s + kDay - 1) / kDay);
}
std::int64_t arrival_day(const SearchMessage& message) { return day_of(message.internal_date_s); }
Match arrived_before(const SearchNode& node, const SearchMessage& message) {
    return to_match(arrival_day(message) < node.day);
}
Match arrived_on(const SearchNode& node, const SearchMessage& message) {
    return to_match(arrival_day(message) == node.day);
}
Match arrived_since(const SearchNode& node, const SearchMessage& message) {
    return to_match(arrival_day(message) >= node.day);
}

// To the second, both ends included (RFC 5032 2).
Match is_younger(const SearchNode& node, const SearchMessage& message) {
    return to_match(message.internal_date_s >= node.instant_s);
}
Match is_older(const SearchNode& node, const SearchMessage& message) {
    return to_match(message.internal_date_s <= node.instant_s);
}

template <class Compare>
Match saved(const SearchNode& node, const SearchMessage& message, Compare compare) {
    if (message.saved == nullptr) return Match::unknown;
    return to_match(compare(day_of(message.saved->save_date_s), std::int64_t{node.day}));
}
Match saved_before(const SearchNode& node, const SearchMessage& message) { return saved(node, message, std::less<>()); }
Match saved_on(const SearchNode& node, const SearchMessage& message) { return saved(node, message, std::equal_to<>()); }
Match saved_since(const SearchNode& node, const SearchMessage& message) {
    return saved(node, message, std::greater_equal<>());
}
Match has_email_id(const SearchNode& node, const SearchMessage& message) {
    if (message.saved == nullptr) return Match::unknown;
    return to_match(node.number != 0 && message.saved->email == node.number);
}
// No message has a THREADID here (RFC 8474 5.2: NIL), so none has the one asked for.
Match has_thread_id(const SearchNode&, const SearchMessage&) { return Match::no; }

// The day of the Date field on its writer's own calendar.
template <class Compare>
Match sent(const SearchNode& node, const SearchMessage& message, Compare compare) {
    if (message.content == nullptr) return Match::unknown;
    const mime::Fields fields = mime::parse_fields(message.content->header());
    const auto raw = mime::find_first(fields, "Date");
    const auto date = raw ? mime::parse_date(*raw) : std::nullopt;
    if (!date) return Match::no;
    const auto local = date->utc + std::chrono::minutes(date->zone_minutes);
    const auto day = std::chrono::floor<std::chrono::days>(local).time_since_epoch().count();
    return to_match(compare(std::int64_t{day}, std::int64_t{node.day}));
}
Match sent_before(const SearchNode& node, const SearchMessage& message) { return sent(node, message, std::less<>()); }
Match sent_on(const SearchNode& node, const SearchMessage& message) { return sent(node, message, std::equal_to<>()); }
Match sent_since(const SearchNode& node, const SearchMessage& message) {
    return sent(node, message, std::greater_equal<>());
}

Match field_holds(std::string_view name, const SearchNode& node, const SearchMessage& message) {
    if (message.content == nullptr) return Match::unknown;
    // Without a text it is enough that the field is there: RFC 3501 6.4.4 HEADER.
    return to_match(mime::search_field_holds(message.content->folded_header(), name, node.text));
}
Match header_holds(const SearchNode& node, const SearchMessage& message) {
    return field_holds(node.field, node, message);
}
Match from_holds(const SearchNode& node, const SearchMessage& message) { return field_holds("From", node, message); }
Match to_holds(const SearchNode& node, const SearchMessage& message) { return field_holds("To", node, message); }
Match cc_holds(const SearchNode& node, const SearchMessage& message) { return field_holds("Cc", node, message); }
Match bcc_holds(const SearchNode& node, const SearchMessage& message) { return field_holds("Bcc", node, message); }
Match subject_holds(const SearchNode& node, const SearchMessage& message) {
    return field_holds("Subject", node, message);
}
Match body_holds(const SearchNode& node, const SearchMessage& message) {
    if (node.text.empty()) return Match::yes;
    if (message.content == nullptr) return Match::unknown;
    return to_match(mime::search_holds(message.content->folded_body(), node.text));
}
Match text_holds(const SearchNode& node, const SearchMessage& message) {
    if (node.text.empty()) return Match::yes;
    if (message.content == nullptr) return Match::unknown;
    return to_match(mime::search_holds(message.content->folded_header(), node.text) ||
                    mime::search_holds(message.content->folded_body(), node.text));
}

using Argument = SearchArgument;
using Place = SearchPlace;
constexpr std::array<SearchKey, 46> kKeys = {{
    {"ALL", Argument::none, is_any, "3501 6.4.4"},
    {"ANSWERED", Argument::none, has_flag<kAnswered>, "3501 6.4.4"},
    {"BCC", Argument::text, bcc_holds, "3501 6.4.4", Place::field},
    {"BEFORE", Argument::date, arrived_before, "3501 6.4.4"},
    {"BODY", Argument::text, body_holds, "3501 6.4.4", Place::body},
    {"CC", Argument::text, cc_holds, "3501 6.4.4", Place::field},
    {"DELETED", Argument::none, has_flag<kDeleted>, "3501 6.4.4"},
    {"DRAFT", Argument::none, has_flag<kDraft>, "3501 6.4.4"},
    {"EMAILID", Argument::object_id, has_email_id, "8474 6", Place::entry, "OBJECTID"},
    {"FLAGGED", Argument::none, has_flag<kFlagged>, "3501 6.4.4"},
    {"FROM", Argument::text, from_holds, "3501 6.4.4", Place::field},
    {"HEADER", Argument::header_and_text, header_holds, "3501 6.4.4", Place::field},
    {"KEYWORD", Argument::flag_keyword, has_keyword, "3501 6.4.4"},
    {"LARGER", Argument::number, is_larger, "3501 6.4.4"},
    {"MODSEQ", Argument::modseq, is_changed, "7162 3.1.5", Place::nowhere, "CONDSTORE"},
    {"NEW", Argument::none, is_new, "3501 6.4.4"},
    {"NOT", Argument::one_key, nullptr, "3501 6.4.4"},
    {"OLD", Argument::none, is_old, "3501 6.4.4"},
    {"OLDER", Argument::interval, is_older, "5032 2", Place::nowhere, "WITHIN"},
    {"ON", Argument::date, arrived_on, "3501 6.4.4"},
    {"OR", Argument::two_keys, nullptr, "3501 6.4.4"},
    {"RECENT", Argument::none, is_recent, "3501 6.4.4"},
    {"SAVEDATESUPPORTED", Argument::none, is_any, "8514 4.3", Place::nowhere, "SAVEDATE"},
    {"SAVEDBEFORE", Argument::date, saved_before, "8514 4.3", Place::entry, "SAVEDATE"},
    {"SAVEDON", Argument::date, saved_on, "8514 4.3", Place::entry, "SAVEDATE"},
    {"SAVEDSINCE", Argument::date, saved_since, "8514 4.3", Place::entry, "SAVEDATE"},
    {"SEEN", Argument::none, has_flag<kSeen>, "3501 6.4.4"},
    {"SENTBEFORE", Argument::date, sent_before, "3501 6.4.4", Place::raw_header},
    {"SENTON", Argument::date, sent_on, "3501 6.4.4", Place::raw_header},
    {"SENTSINCE", Argument::date, sent_since, "3501 6.4.4", Place::raw_header},
    {"SINCE", Argument::date, arrived_since, "3501 6.4.4"},
    {"SMALLER", Argument::number, is_smaller, "3501 6.4.4"},
    {"SUBJECT", Argument::text, subject_holds, "3501 6.4.4", Place::field},
    {"TEXT", Argument::text, text_holds, "3501 6.4.4", Place::text},
    {"THREADID", Argument::object_id, has_thread_id, "8474 6", Place::nowhere, "OBJECTID"},
    {"TO", Argument::text, to_holds, "3501 6.4.4", Place::field},
    {"UID", Argument::uid_set, in_uids, "3501 6.4.4"},
    {"UNANSWERED", Argument::none, lacks_flag<kAnswered>, "3501 6.4.4"},
    {"UNDELETED", Argument::none, lacks_flag<kDeleted>, "3501 6.4.4"},
    {"UNDRAFT", Argument::none, lacks_flag<kDraft>, "3501 6.4.4"},
    {"UNFLAGGED", Argument::none, lacks_flag<kFlagged>, "3501 6.4.4"},
    {"UNKEYWORD", Argument::flag_keyword, lacks_keyword, "3501 6.4.4"},
    {"UNSEEN", Argument::none, lacks_flag<kSeen>, "3501 6.4.4"},
    {"YOUNGER", Argument::interval, is_younger, "5032 2", Place::nowhere, "WITHIN"},
    // Forms without a name of their own.
    {"", Argument::uid_set, in_numbers, "3501 9"},
    {"(", Argument::none, nullptr, "3501 9"},
}};
constexpr std::size_t kNamedKeys = kKeys.size() - 2;
constexpr const SearchKey& kNumbersKey = kKeys[kNamedKeys];
constexpr const SearchKey& kListKey = kKeys[kNamedKeys + 1];
constexpr const SearchKey& kUidKey = *std::ranges::find(kKeys, std::string_view("UID"), &SearchKey::name);

enum class Charset { optional, demanded };

class Parser {
 public:
    Parser(Cursor& in, const Limits& limits) : in_(in), limits_(limits) {}

    Result<SearchProgram> run(Charset charset) {
        if (charset == Charset::demanded || in_.take_word("CHARSET ")) TRY_VOID(take_charset());
        TRY(SearchNode root, take_list('\0', 0));
        program_.nodes.push_back(std::move(root));
        return std::move(program_);
    }

 private:
    // astring SP
    Result<> take_charset() {
        TRY(const std::string charset, take_astring(in_));
        if (!ascii::equals_ci(charset, "US-ASCII") && !ascii::equals_ci(charset, "UTF-8")) {
            return Error(Errc::unsupported, "Unknown charset");
        }
        return take_space(in_);
    }

    // Keys separated by SP up to `close`, or to the end where that is NUL: all must match.
    Result<SearchNode> take_list(char close, std::size_t depth) {
        SearchNode list;
        list.key = &kListKey;
        for (;;) {
            TRY(const std::size_t child, take_key(depth));
            list.children.push_back(child);
            if (close != '\0' && in_.take(close)) return list;
            if (close == '\0' && in_.at_end()) return list;
            TRY_VOID(take_space(in_));
            if (close == '\0' && in_.at_end()) return list;
        }
    }

    Result<std::size_t> take_key(std::size_t depth) {
        if (depth >= limits_.search_depth_max) return bad("Search is nested too deeply");
        if (program_.nodes.size() >= limits_.search_keys_max) return bad("Search has too many keys");
        SearchNode node;
        if (in_.take('(')) {
            TRY(node, take_list(')', depth + 1));
        } else if (ascii::is_digit(in_.peek()) || in_.peek() == '*' || in_.peek() == '$') {
            node.key = &kNumbersKey;
            TRY(node.set, take_sequence_set(in_, limits_));
        } else {
            TRY(const std::string name, take_atom(in_));
            const auto keys = search_keys();
            const auto key = std::find_if(keys.begin(), keys.end(),
                                          [&](const SearchKey& row) { return ascii::equals_ci(row.name, name); });
            if (key == keys.end()) return bad("Unknown SEARCH key");
            node.key = &*key;
            TRY_VOID(take_arguments(node, depth));
        }
        program_.nodes.push_back(std::move(node));
        return program_.nodes.size() - 1;
    }

    Result<> take_arguments(SearchNode& node, std::size_t depth) {
        if (node.key->argument == Argument::none) return {};
        TRY_VOID(take_space(in_));
        switch (node.key->argument) {
            case Argument::none: return {};
            case Argument::text: return take_text(node.text);
            case Argument::header_and_text: {
                TRY(node.field, take_astring(in_));
                TRY_VOID(take_space(in_));
                return take_text(node.text);
            }
            case Argument::flag_keyword: {
                TRY(node.text, take_atom(in_));
                return {};
            }
            case Argument::date: {
                TRY(node.day, take_date(in_));
                return {};
            }
            case Argument::modseq: return take_modseq_argument(node);
            case Argument::number: {
                TRY(node.number, take_number64(in_));
                return {};
            }
            case Argument::interval: {
                TRY(node.number, take_nz_number(in_));
                return {};
            }
            case Argument::object_id: {
                TRY(const std::string id, take_astring(in_));
                node.number = parse_email_id(id).value_or(0);
                return {};
            }
            case Argument::uid_set: {
                TRY(node.set, take_sequence_set(in_, limits_));
                return {};
            }
            case Argument::one_key:
            case Argument::two_keys: {
                TRY(const std::size_t first, take_key(depth + 1));
                node.children.push_back(first);
                if (node.key->argument == Argument::one_key) return {};
                TRY_VOID(take_space(in_));
                TRY(const std::size_t second, take_key(depth + 1));
                node.children.push_back(second);
                return {};
            }
        }
        return {};
    }

    // [entry-name SP ("all" / "priv" / "shared") SP] mod-sequence-valzer. All flags of a message share one (RFC 7162
    // 3.1.5).
    Result<> take_modseq_argument(SearchNode& node) {
        if (in_.peek() == '"') {
            TRY_VOID(take_string(in_));
            TRY_VOID(take_space(in_));
            TRY(const std::string type, take_atom(in_));
            const bool known =
                ascii::equals_ci(type, "all") || ascii::equals_ci(type, "priv") || ascii::equals_ci(type, "shared");
            if (!known) return bad("Unknown kind of metadata");
            TRY_VOID(take_space(in_));
        }
        TRY(node.number, take_modseq(in_));
        return {};
    }

    // Without CHARSET UTF-8 is read too: several clients leave it out.
    Result<> take_text(std::string& into) {
        TRY(const std::string text, take_astring(in_));
        if (!ascii::is_valid_utf8(text)) return Error(Errc::unsupported, "Search text is not valid UTF-8");
        into = mime::fold_for_search(text);
        return {};
    }

    Cursor& in_;
    const Limits& limits_;
    SearchProgram program_;
};

// Recursion is bounded by search_depth_max, which the parser held.
Match judge_node(const SearchProgram& program, const SearchNode& node, const SearchMessage& message) {
    if (node.key->judge != nullptr) return node.key->judge(node, message);
    const auto child = [&](std::size_t i) { return judge_node(program, program.nodes[node.children[i]], message); };
    if (node.key->argument == Argument::one_key) {
        const Match inner = child(0);
        return inner == Match::unknown ? inner : to_match(inner == Match::no);
    }
    // A list is "and", OR is "or": each ends early on what decides it, else unknown wins over the other.
    const Match decides = node.key->argument == Argument::two_keys ? Match::yes : Match::no;
    Match out = decides == Match::yes ? Match::no : Match::yes;
    for (std::size_t i = 0; i < node.children.size(); ++i) {
        const Match inner = child(i);
        if (inner == decides) return inner;
        if (inner == Match::unknown) out = inner;
    }
    return out;
}

}  // namespace

std::span<const SearchKey> search_keys() { return std::span(kKeys).first(kNamedKeys); }

Result<SearchProgram> take_search_program(Cursor& in, const Limits& limits) {
    return Parser(in, limits).run(Charset::optional);
}

Result<SearchProgram> take_charset_and_program(Cursor& in, const Limits& limits) {
    return Parser(in, limits).run(Charset::demanded);
}

void resolve_sets(SearchProgram& program, const SearchView& view) {
    for (SearchNode& node : program.nodes) {
        if (node.key->argument == Argument::interval) {
            node.instant_s = view.now_s - static_cast<std::int64_t>(node.number);
        }
        if (node.key->argument != Argument::uid_set) continue;
        if (node.set.last_result) {
            // Saved as UIDs, whether it stands for numbers or for UIDs (RFC 5182 2.1).
            node.key = &kUidKey;
            node.ranges.assign(view.last_result.begin(), view.last_result.end());
        } else {
            node.ranges = resolve(node.set, node.key == &kNumbersKey ? view.exists : view.uid_max);
        }
    }
}

bool needs_saved(const SearchProgram& program) {
    return std::ranges::any_of(program.nodes,
                               [](const SearchNode& node) { return node.key->place == SearchPlace::entry; });
}

bool asks_modseq(const SearchProgram& program) {
    return std::ranges::any_of(program.nodes,
                               [](const SearchNode& node) { return node.key->argument == Argument::modseq; });
}

bool has_numbers(const SearchProgram& program) {
    return std::ranges::any_of(
        program.nodes, [](const SearchNode& node) { return node.key == &kNumbersKey && !node.set.last_result; });
}

SearchProgram restricted(SearchProgram program, std::vector<SequenceSet::Range> uids) {
    SearchNode node;
    node.key = &kUidKey;
    node.ranges = std::move(uids);
    SearchNode root = std::move(program.nodes.back());
    program.nodes.back() = std::move(node);
    root.children.push_back(program.nodes.size() - 1);
    program.nodes.push_back(std::move(root));
    return program;
}

void fix_numbers(SearchProgram& program, std::uint32_t exists,
                 const std::function<std::uint32_t(std::uint32_t)>& uid_of) {
    for (SearchNode& node : program.nodes) {
        if (node.key != &kNumbersKey) continue;
        node.key = &kUidKey;
        std::erase_if(node.ranges, [&](const SequenceSet::Range& range) { return range.first > exists; });
        // Between neighbours by number no message will ever come.
        for (SequenceSet::Range& range : node.ranges) {
            range = {uid_of(range.first), uid_of(std::min(range.last, exists))};
        }
    }
}

SearchSpan span_of(const SearchProgram& program) {
    SearchSpan out;
    if (program.nodes.empty()) return out;
    for (const std::size_t child : program.nodes.back().children) {
        const SearchNode& node = program.nodes[child];
        if (node.key->argument != Argument::uid_set) continue;
        SequenceSet::Range& span = node.key == &kNumbersKey ? out.numbers : out.uids;
        if (node.ranges.empty()) {
            span = {1, 0};
            continue;
        }
        span.first = std::max(span.first, node.ranges.front().first);
        span.last = std::min(span.last, node.ranges.back().last);
    }
    return out;
}

Match judge(const SearchProgram& program, const SearchMessage& message) {
    if (program.nodes.empty()) return Match::no;
    return judge_node(program, program.nodes.back(), message);
}

}  // namespace posthouse::imap
