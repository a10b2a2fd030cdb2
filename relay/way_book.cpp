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
#include "storage/incidents.h"

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
        // Connections alone: what the DNS or TLS says is about the other side. A firewall may also let us connect and
        // then keep silent.
        const bool is_silent = verdict.enhanced == "4.4.1" || verdict.no_greeting;
        return is_silent ? lesson(Lesson::Kind::down, verdict.reply) : Lesson();
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
        case Lesson::Kind::silent_here: return growing(minutes(60), minutes(1440), tries);
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
    switch (lesson.kind) {
        case Lesson::Kind::refused_here: return site;
        case Lesson::Kind::silent_here: return storage::silent_site(site);
        case Lesson::Kind::sender: return storage::sender_site(sender);
        case Lesson::Kind::too_fast:
        case Lesson::Kind::allowance: return std::string(storage::kAccountSite);
        default: return {};
    }
}

// What a probe that was neither taken nor blocked says of the block.
enum class ProbeEnd : std::uint8_t { says_nothing, is_over, comes_back };

ProbeEnd end_of_probe(const Target& target, const Verdict& verdict) {
    using bounce::Fault;
    using bounce::ReplyClass;
    if (!verdict.from_remote) return ProbeEnd::says_nothing;
    const ReplyClass what = classify(target, verdict, read_said(verdict.reply), false).what;
    if (what == ReplyClass::greylisted) return ProbeEnd::comes_back;
    // "Not now" may be said to a bad address, too; what is about the recipient or the message was not.
    const bool is_past = what == ReplyClass::mailbox_full || what == ReplyClass::sender_auth ||
                         bounce::fault_of(what) == Fault::recipient || bounce::fault_of(what) == Fault::message;
    if (is_past && (verdict.fate == Fate::failed || what == ReplyClass::mailbox_full)) return ProbeEnd::is_over;
    const bool is_first = verdict.fate == Fate::deferred &&
                          classify(target, verdict, read_said(verdict.reply), true).what == ReplyClass::greylisted;
    return is_first ? ProbeEnd::comes_back : ProbeEnd::says_nothing;
}

struct Note {
    Target target;
    std::string site;
    std::string sender;
    Lesson lesson;
    std::uint64_t delivered = 0;
    bool was_suspect = false;       // something is held against the way
    bool probe_over = false;        // the block is: somebody was answered for what he is
    bool probe_later = false;       // the probe told nothing: the next one is a day off
    std::vector<storage::RecipientId> put_off;   // as probes: they come back
    std::vector<storage::RecipientId> answered;  // no more to be kept in mind, whoever was
    bool is_early_silence = false;  // written down, so that a restart does not begin to count anew
    bool has_answered = false;      // silence that was written down is over
};

Result<> forget_silence(storage::RouteTx& routes, const std::string& way, const std::string& source) {
    TRY(const auto known, routes.memory());
    for (const storage::Memory& one : known) {
        const bool is_it = one.way == way && one.source == source && one.site.starts_with(storage::kSilentSite);
        if (is_it) TRY_VOID(routes.forget(way, source, one.site));
    }
    return {};
}

Result<> end_allowance(storage::Tx& tx, const std::string& way) {
    storage::IncidentTx incidents(tx);
    TRY(const auto open, incidents.open());
    for (const storage::Incident& one : open) {
        if (one.key.kind != storage::IncidentKind::allowance || one.key.way != way) continue;
        TRY_VOID(incidents.clear(one.id, "the way takes mail again"));
    }
    return {};
}

// The site answers for the recipient's sake: it does not refuse our address any more.
Result<> end_block(storage::Tx& tx, const std::string& way, const std::string& source, const std::string& site) {
    storage::IncidentTx incidents(tx);
    TRY(const auto open, incidents.open());
    for (const storage::Incident& one : open) {
        const storage::IncidentKey& key = one.key;
        const bool is_it = key.kind == storage::IncidentKind::ip_blocked && key.way == way && key.source == source;
        if (is_it && key.site == site) TRY_VOID(incidents.clear(one.id, "a message was answered for its recipient"));
    }
    return storage::RouteTx(tx).forget(way, source, site);
}

Result<> note_allowance(storage::Tx& tx, const std::string& way, const std::string& reply) {
    storage::IncidentKey key;
    key.kind = storage::IncidentKind::allowance;
    key.way = way;
    storage::Refusal refusal;
    refusal.reply = reply;
    TRY_VOID(storage::IncidentTx(tx).note(key, refusal));
    return {};
}

Result<> put_probe_off(storage::Tx& tx, const std::string& way, const std::string& source, const std::string& site) {
    storage::RouteTx routes(tx);
    TRY(auto known, routes.memory());
    for (storage::Memory& one : known) {
        const bool here = one.site == site || one.site == storage::silent_site(site);
        if (one.way != way || one.source != source || !here || one.probe > tx.now()) continue;
        one.probe = tx.now() + kRefusedRest;
        TRY_VOID(routes.remember(one));
    }
    return {};
}

// Who comes back as a probe, and who need not any more; those whose day is over are forgotten.
Result<> keep_probes(storage::RouteTx& routes, const Note& note, Time now) {
    storage::Memory one;
    one.way = note.target.way.name;
    one.source = source_text(note.target);
    one.since = now;
    one.probe = now + kRefusedRest;
    for (const storage::RecipientId id : note.answered) {
        TRY_VOID(routes.forget(one.way, one.source, storage::probed_site(id)));
    }
    if (note.put_off.empty()) return {};
    TRY(const auto known, routes.memory());
    for (const storage::Memory& old : known) {
        const bool is_over = old.site.starts_with(storage::kProbedSite) && old.probe <= now;
        if (is_over) TRY_VOID(routes.forget(old.way, old.source, old.site));
    }
    for (const storage::RecipientId id : note.put_off) {
        one.site = storage::probed_site(id);
        TRY_VOID(routes.remember(one));
    }
    return {};
}

Result<> write_note(storage::Tx& tx, const Note& note) {
    storage::RouteTx routes(tx);
    const std::string& way = note.target.way.name;
    const std::string source = source_text(note.target);
    TRY_VOID(keep_probes(routes, note, tx.now()));
    if (note.delivered > 0) {
        if (note.target.way.limits.day_max != 0) {
            TRY_VOID(routes.add_use(way, storage::day_number(tx.now()), note.delivered));
        }
        for (const std::string& place :
             {std::string(), note.site, storage::sender_site(note.sender), std::string(storage::kAccountSite)}) {
            TRY_VOID(routes.forget(way, source, place));
        }
        // A check may have found it dead; where none has, its row says when it was last good.
        if (note.was_suspect) TRY_VOID(routes.forget(way, source, storage::kCheckSite));
        if (!note.target.is_mx()) TRY_VOID(end_allowance(tx, way));
    }
    if (note.has_answered) {
        TRY_VOID(forget_silence(routes, way, source));
        TRY_VOID(routes.forget(way, source, ""));
    }
    if (note.probe_over) TRY_VOID(end_block(tx, way, source, note.site));
    if (note.probe_later && !note.probe_over && note.delivered == 0) {
        TRY_VOID(put_probe_off(tx, way, source, note.site));
    }
    if (!note.lesson.is_trouble() && !note.is_early_silence) return {};
    if (note.lesson.kind == Lesson::Kind::allowance) TRY_VOID(note_allowance(tx, way, note.lesson.reason));
    storage::Memory memory;
    memory.way = way;
    memory.source = source;
    memory.site =
        note.is_early_silence ? storage::silent_site(note.site) : place_of(note.lesson, note.site, note.sender);
    memory.since = tx.now();
    TRY(const auto known, routes.memory());
    for (const storage::Memory& before : known) {
        if (before.way != way || before.source != source || before.site != memory.site) continue;
        memory.since = before.since;
        memory.tries = before.tries;
    }
    if (note.lesson.is_trouble()) memory.tries += 1;
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
        if (!knows_past_) recall_probe(memory);
        if (!storage::counts_against(memory)) continue;
        suspects_.emplace(memory.way, memory.source);
        if (!knows_past_ && memory.site.starts_with(storage::kSilentSite)) {
            silent_[memory.way + "/" + memory.source].emplace(memory.site.substr(storage::kSilentSite.size()),
                                                              memory.since);
        }
    }
    knows_past_ = true;
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
    for (const std::string& place :
         {std::string(site), std::string(), storage::silent_site(site), std::string(storage::kAccountSite)}) {
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

Lesson::Kind WayBook::silent(const Target& target, std::string_view site, Time now) {
    const std::string key = target.way.name + "/" + source_text(target);
    auto& sites = silent_[key];
    sites.emplace(std::string(site), now);
    if (sites.size() >= kSilentSites) return Lesson::Kind::down;
    if (has_answered_.contains(key)) return Lesson::Kind::nothing;  // the way works; this site does not
    const auto is_old = [&](const auto& one) { return one.second + kSilentFor <= now; };
    return std::ranges::any_of(sites, is_old) ? Lesson::Kind::silent_here : Lesson::Kind::nothing;
}

bool WayBook::has_answered(const Target& target) const {
    return has_answered_.contains(target.way.name + "/" + source_text(target));
}

bool WayBook::answered(const Target& target) {
    const std::string key = target.way.name + "/" + source_text(target);
    has_answered_.insert(key);
    return silent_.erase(key) > 0;
}

std::optional<Time> WayBook::last_good(std::string_view way) const {
    const auto found = last_good_.find(way);
    return found == last_good_.end() ? std::nullopt : std::optional(found->second);
}

void WayBook::keep_probing(storage::RecipientId recipient, const Target& target, Time until) {
    if (probed_.size() >= kProbedMax) probed_.erase(probed_.begin());
    Probed& kept = probed_[recipient];
    kept.by = std::pair(target.way.name, source_text(target));
    kept.until = until;
}

// From before the start.
void WayBook::recall_probe(const storage::Memory& memory) {
    if (!memory.site.starts_with(storage::kProbedSite) || probed_.size() >= kProbedMax) return;
    const auto id = ascii::parse_number(std::string_view(memory.site).substr(storage::kProbedSite.size()));
    if (!id) return;
    Probed& kept = probed_[static_cast<storage::RecipientId>(*id)];
    kept.by = std::pair(memory.way, memory.source);
    kept.until = memory.probe;
}

const std::pair<std::string, std::string>* WayBook::probing(storage::RecipientId recipient, Time now) const {
    const auto found = probed_.find(recipient);
    return found == probed_.end() || found->second.until <= now ? nullptr : &found->second.by;
}

namespace {

// Whether the route has an answer to it. A way without a second is tried whatever is remembered of it, but for its
// allowance, which only time mends.
bool has_answer(const Target& target, const Lesson& learned, const Verdict& verdict) {
    if (target.has_other || (target.has_end && learned.is_refusal())) return true;
    const bool is_final = verdict.fate == Fate::failed && learned.kind == Lesson::Kind::too_fast;
    return learned.kind == Lesson::Kind::allowance || is_final;
}

// By MX, where nobody answered: what that says of the way. Nothing where it is too early to tell.
Lesson judge_silence(Core& core, Note& note, Lesson learned) {
    if (!note.target.has_other) return {};
    const Lesson::Kind said = core.ways.silent(note.target, note.site, core.now());
    if (said != Lesson::Kind::nothing) {
        learned.kind = said;
        return learned;
    }
    note.is_early_silence = !core.ways.has_answered(note.target);
    note.lesson.reason = learned.reason;
    return {};
}

// A probe that was neither taken nor blocked. True where another way shall take the message.
bool end_probe(Core& core, Note& note, const Tried& one) {
    switch (end_of_probe(note.target, one.verdict)) {
        case ProbeEnd::is_over: note.probe_over = true; return false;
        case ProbeEnd::comes_back:
            note.probe_later = true;
            core.ways.keep_probing(one.recipient, note.target, core.now() + kRefusedRest);
            note.put_off.push_back(one.recipient);
            return false;
        case ProbeEnd::says_nothing: note.probe_later = true; break;
    }
    return note.target.has_other && one.verdict.fate == Fate::deferred;
}

void tell(const Note& note) {
    const bool is_here =
        note.lesson.kind == Lesson::Kind::refused_here || note.lesson.kind == Lesson::Kind::silent_here;
    log::warn("relay", "way {} is passed over{}: {}", note.target.way.name,
              is_here ? " at " + note.site : std::string(), note.lesson.reason);
}

}  // namespace

net::Task<std::vector<bool>> keep_lessons(Core& core, Target target, std::string site, std::string sender,
                                          std::vector<Tried> tried) {
    std::vector<bool> again(tried.size(), false);
    if (core.stopping.is_set()) co_return again;  // what breaks now is our own doing
    Note note;
    note.target = std::move(target);
    note.site = std::move(site);
    note.sender = std::move(sender);
    const bool by_mx = note.target.is_mx();
    for (std::size_t i = 0; i < tried.size(); ++i) {
        const Verdict& verdict = tried[i].verdict;
        Lesson learned = learn(note.target, verdict, false);
        const bool is_silence = by_mx && learned.kind == Lesson::Kind::down;
        if (by_mx && (verdict.from_remote || learned.kind == Lesson::Kind::works)) {
            const bool was_silent = core.ways.answered(note.target);
            note.has_answered = note.has_answered || was_silent || note.target.probe;
        }
        if (is_silence) learned = judge_silence(core, note, std::move(learned));
        if (learned.kind == Lesson::Kind::works) ++note.delivered;
        if (by_mx && note.target.probe && learned.kind == Lesson::Kind::nothing) {
            again[i] = end_probe(core, note, tried[i]);
        }
        const bool comes_back = std::ranges::find(note.put_off, tried[i].recipient) != note.put_off.end();
        if (note.target.probe && !comes_back) note.answered.push_back(tried[i].recipient);
        // That a service does not know a sender is told to who hands in the next message (server/judge).
        const bool is_sender = learned.kind == Lesson::Kind::sender;
        if (!learned.is_trouble() || (!is_sender && !has_answer(note.target, learned, verdict))) continue;
        again[i] = has_answer(note.target, learned, verdict);
        if (!note.lesson.is_trouble()) note.lesson = std::move(learned);
    }
    if (note.delivered > 0 && !by_mx) core.ways.took(note.target.way.name, core.now());
    note.was_suspect = core.ways.is_suspect(note.target);
    const bool counts = note.delivered > 0 && (note.target.way.limits.day_max != 0 || note.was_suspect);
    const bool writes = counts || note.has_answered || note.probe_over || note.probe_later || note.is_early_silence;
    if (!writes && !note.lesson.is_trouble()) co_return again;
    if (note.lesson.is_trouble()) {
        core.ways.suspect(note.target);
        tell(note);
    }
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
