#include "protocols/bounce/reply_class.h"

#include <algorithm>
#include <array>
#include <string>
#include <vector>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"
#include "protocols/bounce/reply_hint.h"
#include "protocols/bounce/reply_rules.h"
#include "protocols/bounce/reply_text.h"

namespace posthouse::bounce {
namespace {

using enum ReplyClass;

struct ClassFacts {
    ReplyClass what;
    std::string_view name;
    Fault fault;
};
constexpr ClassFacts kClasses[] = {
    {delivered, "delivered", Fault::nobody},
    {recipient_unknown, "recipient-unknown", Fault::recipient},
    {recipient_disabled, "recipient-disabled", Fault::recipient},
    {recipient_policy, "recipient-policy", Fault::nobody},
    {domain_no_mail, "domain-no-mail", Fault::recipient},
    {mailbox_full, "mailbox-full", Fault::nobody},
    {too_big, "too-big", Fault::message},
    {greylisted, "greylisted", Fault::nobody},
    {throttled, "throttled", Fault::nobody},
    {ip_blocked, "ip-blocked", Fault::our_address},
    {sender_auth, "sender-auth", Fault::our_domain},
    {sender_fault, "sender-fault", Fault::our_domain},
    {content, "content", Fault::message},
    {envelope_split, "envelope-split", Fault::nobody},
    {policy, "policy", Fault::message},
    {network, "network", Fault::remote},
    {dns, "dns", Fault::remote},
    {tls, "tls", Fault::remote},
    {protocol, "protocol", Fault::remote},
    {loop, "loop", Fault::remote},
    {expired, "expired", Fault::nobody},
    {other, "other", Fault::nobody},
};
static_assert(std::ranges::all_of(kClasses, [](const ClassFacts& facts) {
    return &kClasses[static_cast<std::size_t>(facts.what)] == &facts;
}));

// status-code = class "." subject "." detail                                                     RFC 3463 2
bool is_status_code(std::string_view word) {
    Cursor in(word);
    const char kind = in.peek();
    if ((kind != '2' && kind != '4' && kind != '5') || !in.take(kind) || !in.take('.')) return false;
    const std::size_t subject = in.take_while(ascii::is_digit).size();
    if (subject == 0 || subject > 3 || !in.take('.')) return false;
    const std::size_t detail = in.take_while(ascii::is_digit).size();
    return detail > 0 && detail <= 3 && in.at_end();
}

// Where the caller has none: some say "550; 5.7.515 Access denied", or "550 #5.1.0".
std::string_view status_in(std::string_view words) {
    constexpr int kFirstWords = 8;
    Cursor in(words);
    for (int i = 0; i < kFirstWords && !in.at_end(); ++i) {
        in.skip_blanks();
        const std::string_view word = in.take_until(' ');
        // Yahoo numbers its replies likewise: "[#4.16.5]". No subject of RFC 3463 has two digits.
        if (is_status_code(word) && word[3] == '.') return word;
    }
    return {};
}

// Codes that leave open what is meant: the text must tell. RFC 3463 3: x.y.0 is "other"; 7.1 and 5.0 are used for all.
bool is_vague(std::string_view status) {
    if (status.empty()) return true;
    const std::string_view rest = status.substr(1);
    constexpr std::string_view kVague[] = {".0.0", ".1.0", ".2.0", ".3.0", ".4.0", ".5.0",
                                           ".6.0", ".7.0", ".7.1", ".7.9", ".3.5", ".3.2"};
    return std::ranges::find(kVague, rest) != std::end(kVague);
}

bool fits_enhanced(std::string_view wanted, std::string_view status) {
    if (wanted.empty()) return true;
    for (Cursor in(wanted); !in.at_end(); in.skip_blanks()) {
        const std::string_view one = in.take_until(' ');
        if (one == "none" && status.empty()) return true;
        if (one == "vague" && is_vague(status)) return true;
        if (status.empty()) continue;
        if (one == status || (one.front() == 'x' && one.substr(1) == status.substr(1))) return true;
    }
    return false;
}

bool fits_code(std::uint16_t wanted, unsigned code) {
    if (wanted == 0) return true;
    if (wanted == 9) return code == 0;
    return wanted < 10 ? code / 100 == wanted : code == wanted;
}

// The rules with their phrases numbered.
class RuleSet {
 public:
    RuleSet() {
        for (const auto rules : {provider_rules(), reply_rules()}) {
            for (const ReplyRule& rule : rules) rows_.push_back({&rule, numbers(rule.any), numbers(rule.also)});
        }
    }
    struct Row {
        const ReplyRule* rule;
        std::vector<std::uint16_t> any;
        std::vector<std::uint16_t> also;
    };
    const std::vector<Row>& rows() const { return rows_; }
    std::vector<bool> find(std::string_view words) const { return index_.find(words); }

 private:
    std::vector<std::uint16_t> numbers(std::string_view phrases) {
        std::vector<std::uint16_t> out;
        for (Cursor in(phrases); !in.at_end(); in.take('|')) out.push_back(index_.add(in.take_until('|')));
        return out;
    }

    PhraseIndex index_;
    std::vector<Row> rows_;
};

const RuleSet& rule_set() {
    static const RuleSet kRules;
    return kRules;
}

bool one_of(const std::vector<std::uint16_t>& wanted, const std::vector<bool>& found) {
    return wanted.empty() || std::ranges::any_of(wanted, [&](std::uint16_t number) { return found[number]; });
}

const ReplyRule* first_fit(const ReplyFacts& reply, std::string_view status, std::string_view words) {
    const Provider provider = provider_of(reply.host, words);
    const std::vector<bool> found = rule_set().find(words);
    for (const RuleSet::Row& row : rule_set().rows()) {
        const ReplyRule& rule = *row.rule;
        if (rule.provider != Provider::any && rule.provider != provider) continue;
        if (!fits_code(rule.code, reply.code) || !one_of(row.any, found) || !one_of(row.also, found)) continue;
        if (fits_enhanced(rule.enhanced, status)) return &rule;
    }
    return nullptr;
}

}  // namespace

std::string_view to_string(ReplyClass what) { return kClasses[static_cast<std::size_t>(what)].name; }

Fault fault_of(ReplyClass what) { return kClasses[static_cast<std::size_t>(what)].fault; }

Classification classify(const ReplyFacts& reply) {
    Classification out;
    if (reply.code >= 200 && reply.code < 300) {
        out.what = delivered;
        out.rule = "delivered";
        return out;
    }
    const std::string words = words_of(reply.text);
    const std::string_view status = is_status_code(reply.enhanced) ? reply.enhanced : status_in(words);
    const bool hard = reply.code == 0 ? status.starts_with('5') : reply.code >= 500;
    out.permanent = hard;
    out.rule = "none";
    if (const ReplyRule* const rule = first_fit(reply, status, words)) {
        out.what = rule->what;
        out.rule = rule->name;
        if (rule->soft) out.permanent = false;
        out.pace = rule->pace;
        out.alarm = rule->alarm;
        // 421, x.7.0 and x.3.2 are said by servers that start anew as well as by those that have had enough.
        out.is_bare = out.what == throttled && (rule->name == "closing" || rule->name == "throttled-code");
    }
    // RFC 6647 2: who does not know us yet says "not now" in a hundred ways; the second attempt tells the truth.
    const bool vague_refusal = out.what == other || out.what == policy || out.what == recipient_policy;
    if (!hard && reply.code >= 400 && reply.first_contact && vague_refusal) {
        out.what = greylisted;
        out.rule = "first-contact";
        out.alarm = false;
    }
    if (!out.permanent) out.wait = find_wait(reply.text);
    return out;
}

bool is_dead_address(const Classification& found) {
    if (!found.permanent) return false;
    return found.what == recipient_unknown || found.what == domain_no_mail || found.rule == "moved";
}

}  // namespace posthouse::bounce
