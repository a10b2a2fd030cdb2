#include "relay/way_book.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/bounce/reply_class.h"
#include "protocols/smtp/presets.h"
#include "relay/core.h"
#include "relay/family.h"
#include "storage/await.h"

namespace posthouse::relay {

namespace {

constexpr std::size_t kReasonOctetsMax = 400;

// "550 5.7.1 text": what a remote said, as Reply::to_string() writes it.
struct Said {
    unsigned code = 0;
    std::string_view text;
};

Said read_said(std::string_view reply) {
    Said out;
    const auto code = ascii::parse_number(reply.substr(0, 3));
    if (!code || *code < 200 || *code > 599) return out;
    out.code = static_cast<unsigned>(*code);
    out.text = ascii::trim(reply.substr(std::min<std::size_t>(reply.size(), 3)));
    return out;
}

Lesson lesson(Lesson::Kind kind, std::string_view reason, std::optional<Milliseconds> wait = std::nullopt) {
    Lesson out;
    out.kind = kind;
    out.reason = reason.substr(0, kReasonOctetsMax);
    out.wait = wait;
    return out;
}

std::optional<Lesson::Kind> kind_of(smtp::ReplyScope scope) {
    switch (scope) {
        case smtp::ReplyScope::account_rate: return Lesson::Kind::too_fast;
        case smtp::ReplyScope::account_day: return Lesson::Kind::allowance;
        case smtp::ReplyScope::account_auth: return Lesson::Kind::login;
        case smtp::ReplyScope::sender: return Lesson::Kind::sender;
        case smtp::ReplyScope::message: break;
    }
    return std::nullopt;
}

bounce::Classification classify(const Target& target, const Verdict& verdict, const Said& said, bool first_contact) {
    bounce::ReplyFacts facts;
    facts.code = said.code;
    facts.enhanced = verdict.enhanced;
    facts.text = said.code != 0 ? said.text : std::string_view(verdict.reply);
    facts.host = target.url.host;
    facts.first_contact = first_contact;
    return bounce::classify(facts);
}

// A relay: what it says of the account first, then whether it could be spoken with at all.
Lesson learn_relay(const Target& target, const Verdict& verdict, bool first_contact) {
    using bounce::ReplyClass;
    const std::string& words = verdict.said.empty() ? verdict.reply : verdict.said;
    const Said said = verdict.from_remote || !verdict.said.empty() ? read_said(words) : Said();
    if (const smtp::Preset* const preset = smtp::find_preset(target.way.preset); preset != nullptr && said.code != 0) {
        const smtp::PresetReply* const row = smtp::judge_reply(*preset, said.code, said.text);
        const auto kind = row == nullptr ? std::nullopt : kind_of(row->scope);
        if (kind) return lesson(*kind, fmt::format("{} ({})", row->meaning, words));
    }
    if (!verdict.said.empty()) return lesson(Lesson::Kind::login, words);
    if (said.code == 530 || said.code == 535) return lesson(Lesson::Kind::login, words);
    if (said.code == 0) {  // no connection, no TLS, no DNS, no secret; what is too big for it is the message's affair
        return verdict.fate == Fate::deferred ? lesson(Lesson::Kind::down, words) : Lesson();
    }
    const bounce::Classification found = classify(target, verdict, said, first_contact);
    // What the far side thinks of our address says: this relay is of no use from here.
    if (found.what == ReplyClass::ip_blocked) return lesson(Lesson::Kind::down, words);
    // Who closes without a reason may be starting anew: the lane looks again in a while, the way is not passed over.
    if (found.what == ReplyClass::throttled && !found.is_bare) return lesson(Lesson::Kind::too_fast, words, found.wait);
    return {};
}

Lesson learn_direct(const Target& target, const Verdict& verdict, bool first_contact) {
    const Said said = verdict.from_remote ? read_said(verdict.reply) : Said();
    if (said.code == 0) {
        if (verdict.wrong_family) return lesson(Lesson::Kind::refused_here, verdict.reply);
        // Connections alone: what the DNS or TLS says is about the other side.
        return verdict.enhanced == "4.4.1" ? lesson(Lesson::Kind::down, verdict.reply) : Lesson();
    }
    const bounce::Classification found = classify(target, verdict, said, first_contact);
    if (found.what != bounce::ReplyClass::ip_blocked) return {};
    return lesson(Lesson::Kind::refused_here, verdict.reply);
}

// 1, 2, 4 ... times as long at each refusal without a success between.
Milliseconds growing(std::chrono::minutes first, std::chrono::minutes most, std::uint32_t tries) {
    const std::uint32_t steps = std::min<std::uint32_t>(tries > 0 ? tries - 1 : 0, 20);
    const auto grown = std::chrono::duration_cast<Milliseconds>(first) * (std::int64_t{1} << steps);
    return std::min<Milliseconds>(grown, most);
}

Milliseconds rest_of(const Lesson& lesson, std::uint32_t tries) {
    using std::chrono::minutes;
    switch (lesson.kind) {
        case Lesson::Kind::refused_here: return kRefusedRest;
        case Lesson::Kind::down: return growing(minutes(1), minutes(30), tries);
        case Lesson::Kind::too_fast: return lesson.wait.value_or(growing(minutes(1), minutes(15), tries));
        case Lesson::Kind::allowance: return growing(minutes(60), minutes(360), tries);
        case Lesson::Kind::login: return growing(minutes(5), minutes(60), tries);
        case Lesson::Kind::sender: return minutes(60);
        case Lesson::Kind::nothing:
        case Lesson::Kind::works: break;
    }
    return Milliseconds(0);
}

std::string source_text(const Target& target) { return target.source ? target.source->to_string() : std::string(); }

// Under which site a lesson is kept.
std::string place_of(const Lesson& lesson, const std::string& site, const std::string& sender) {
    if (lesson.kind == Lesson::Kind::refused_here) return site;
    return lesson.kind == Lesson::Kind::sender ? storage::sender_site(sender) : std::string();
}

struct Note {
    Target target;
    std::string site;
    std::string sender;
    Lesson lesson;
    std::uint64_t delivered = 0;
};

Result<> write_note(storage::Tx& tx, const Note& note) {
    storage::RouteTx routes(tx);
    const std::string& way = note.target.way.name;
    const std::string source = source_text(note.target);
    if (note.delivered > 0) {
        if (note.target.way.limits.day_max != 0) {
            TRY_VOID(routes.add_use(way, storage::day_number(tx.now()), note.delivered));
        }
        for (const std::string& place : {std::string(), note.site, storage::sender_site(note.sender)}) {
            TRY_VOID(routes.forget(way, source, place));
        }
    }
    if (!note.lesson.is_trouble()) return {};
    storage::Memory memory;
    memory.way = way;
    memory.source = source;
    memory.site = place_of(note.lesson, note.site, note.sender);
    memory.since = tx.now();
    TRY(const auto known, routes.memory());
    for (const storage::Memory& before : known) {
        if (before.way != way || before.source != source || before.site != memory.site) continue;
        memory.since = before.since;
        memory.tries = before.tries;
    }
    memory.tries += 1;
    memory.probe = tx.now() + rest_of(note.lesson, memory.tries);
    memory.reply = note.lesson.reason;
    return routes.remember(memory);
}

}  // namespace

Lesson learn(const Target& target, const Verdict& verdict, bool first_contact) {
    if (verdict.fate == Fate::delivered) return lesson(Lesson::Kind::works, "");
    return target.is_mx() ? learn_direct(target, verdict, first_contact) : learn_relay(target, verdict, first_contact);
}

bool WayBook::keeps_off_ipv6(std::string_view way, std::string_view site) const {
    return off_ipv6_.contains(std::pair(std::string(way), std::string(site)));
}

void WayBook::apply(storage::RoutePicture& picture, Time now) {
    suspects_.clear();
    off_ipv6_.clear();
    for (const storage::Memory& memory : picture.memory) {
        if (memory.source == kIpv6) {
            if (memory.probe > now) keep_off_ipv6(memory);
            continue;
        }
        suspects_.emplace(memory.way, memory.source);
    }
    for (const auto& [way, recipients] : under_way_) picture.used_today[way] += recipients;
    apply_claims(picture);
}

void WayBook::apply_claims(storage::RoutePicture& picture) const {
    for (storage::Memory& memory : picture.memory) {
        const auto claimed = claims_.find(Key(memory.way, memory.source, memory.site));
        if (claimed != claims_.end()) memory.probe = std::max(memory.probe, claimed->second);
    }
}

void WayBook::taken(const Target& target, std::size_t recipients) {
    under_way_[target.way.name] += recipients;  // counted without a limit too: it may be given one meanwhile
}

void WayBook::released(const Target& target, std::size_t recipients) {
    const auto found = under_way_.find(target.way.name);
    if (found == under_way_.end()) return;
    found->second -= std::min<std::uint64_t>(found->second, recipients);
    if (found->second == 0) under_way_.erase(found);
}

bool WayBook::is_suspect(const Target& target) const {
    return suspects_.contains(std::pair(target.way.name, source_text(target)));
}
void WayBook::suspect(const Target& target) { suspects_.emplace(target.way.name, source_text(target)); }

void WayBook::claim(const Target& target, std::string_view site, Time until) {
    const std::string source = source_text(target);
    for (const std::string& place : {std::string(site), std::string()}) {
        claims_[Key(target.way.name, source, place)] = until;
    }
    // Those that are over say nothing any more.
    if (claims_.size() > 1000)
        std::erase_if(claims_, [&](const auto& one) { return one.second + kRefusedRest < until; });
}

Time WayBook::turn(const storage::Way& way, Time now) const {
    if (way.limits.minute_max == 0) return now;
    const auto found = next_turn_.find(way.name);
    // Farther off lies only what a clock left behind that was set back.
    const bool counts = found != next_turn_.end() && found->second <= now + std::chrono::hours(2);
    return counts ? std::max(found->second, now) : now;
}

void WayBook::take_turn(const storage::Way& way, std::size_t recipients, Time now) {
    if (way.limits.minute_max == 0) return;
    const Milliseconds each(60'000 / way.limits.minute_max);
    const Milliseconds all(static_cast<std::int64_t>(recipients * 60'000 / way.limits.minute_max));
    const Time saved = now - std::max(Milliseconds(1'000) - each, Milliseconds(0));
    const Time before = turn(way, now);
    Time& next = next_turn_[way.name];
    next = (before > now ? before : std::clamp(next, saved, now)) + all;
}

bool WayBook::silent(const Target& target, std::string_view site) {
    auto& sites = silent_[target.way.name + "/" + source_text(target)];
    sites.emplace(site);
    return sites.size() >= kSilentSites;
}

void WayBook::answered(const Target& target) { silent_.erase(target.way.name + "/" + source_text(target)); }

net::Task<std::vector<bool>> keep_lessons(Core& core, Target target, std::string site, std::string sender,
                                          std::vector<Verdict> verdicts) {
    std::vector<bool> again(verdicts.size(), false);
    if (core.stopping.is_set()) co_return again;  // what breaks now is our own doing
    Note note;
    for (std::size_t i = 0; i < verdicts.size(); ++i) {
        Lesson learned = learn(target, verdicts[i], false);
        if (target.is_mx() && (verdicts[i].from_remote || learned.kind == Lesson::Kind::works))
            core.ways.answered(target);
        if (target.is_mx() && learned.kind == Lesson::Kind::down && !core.ways.silent(target, site)) continue;
        if (learned.kind == Lesson::Kind::works) ++note.delivered;
        // A way without a second is tried whatever is remembered of it: only what the route has an answer to is news.
        const bool has_answer = target.has_other || (target.has_end && learned.is_refusal());
        if (!learned.is_trouble() || !has_answer) continue;
        again[i] = true;
        if (!note.lesson.is_trouble()) note.lesson = std::move(learned);
    }
    const bool counts = note.delivered > 0 && (target.way.limits.day_max != 0 || core.ways.is_suspect(target));
    if (!counts && !note.lesson.is_trouble()) co_return again;
    if (note.lesson.is_trouble()) {
        core.ways.suspect(target);
        log::warn("relay", "way {} is passed over{}: {}", target.way.name,
                  note.lesson.kind == Lesson::Kind::refused_here ? " at " + site : std::string(), note.lesson.reason);
    }
    note.target = std::move(target);
    note.site = std::move(site);
    note.sender = std::move(sender);
    std::vector<storage::StagedBodyPtr> no_bodies;
    auto write = [note](storage::Tx& tx) { return write_note(tx, note); };
    const auto written =
        co_await storage::commit(*core.deps.store, *core.deps.loop, std::move(no_bodies), std::move(write));
    if (!written) {
        // Not kept: the same way would be chosen again. The message is put off as usual.
        log::error("relay", "what was learned of a way cannot be written: {}", written.error().context);
        again.assign(again.size(), false);
    }
    co_return again;
}

}  // namespace posthouse::relay
