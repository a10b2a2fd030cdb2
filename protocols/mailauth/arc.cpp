#include "protocols/mailauth/arc.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <optional>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"
#include "protocols/mailauth/auth_results.h"
#include "protocols/mailauth/folded_field.h"
#include "protocols/mailauth/tag_list.h"
#include "protocols/mailauth/verify.h"

namespace posthouse::mailauth {

std::string_view to_string(ArcStatus status) {
    constexpr std::array<std::string_view, 3> kNames = {"none", "pass", "fail"};
    return kNames[static_cast<std::size_t>(status)];
}

namespace {

constexpr std::string_view kArcSeal = "ARC-Seal";
constexpr std::string_view kArcResults = "ARC-Authentication-Results";

enum class Part : std::size_t { results, signature, seal };
constexpr std::array<std::string_view, 3> kPartNames = {kArcResults, kArcMessageSignature, kArcSeal};

// instance = [CFWS] %s"i" [CFWS] "=" [CFWS] position; 1 to 50                     RFC 8617 4.2.1
std::optional<std::size_t> parse_instance(std::string_view text) {
    const auto number = ascii::parse_number(ascii::trim(text));
    if (!number || *number == 0 || *number > kArcSetsMax) return std::nullopt;
    return static_cast<std::size_t>(*number);
}

// arc-info = instance [CFWS] ";" authres-payload                                  RFC 8617 4.1.1
std::optional<std::size_t> take_instance(Cursor& in) {
    const std::string_view whole = in.take_until(';');
    if (!in.take(';')) return std::nullopt;
    const std::size_t equals = whole.find('=');
    if (equals == std::string_view::npos || ascii::trim(whole.substr(0, equals)) != "i") return std::nullopt;
    return parse_instance(whole.substr(equals + 1));
}

std::optional<std::size_t> instance_of(Part part, std::string_view raw_value) {
    if (part == Part::results) {
        Cursor in(raw_value);
        return take_instance(in);
    }
    const auto tags = TagList::parse(raw_value);
    if (!tags) return std::nullopt;
    const auto text = tags->value("i");
    return text ? parse_instance(*text) : std::nullopt;
}

struct Seal {
    Signature signature;  // algorithm, domain, selector, value
    std::string cv;
};

// ARC-Seal: i, a, b, cv, d, s; a seal with h= is none                             RFC 8617 4.1.3
Result<Seal> parse_seal(std::string_view raw_value) {
    TRY(const TagList tags, TagList::parse(raw_value));
    for (const char* required : {"i", "a", "b", "cv", "d", "s"}) {
        if (!tags.value(required)) return Error(Errc::invalid, std::string("the seal has no ") + required + "=");
    }
    if (tags.value("h")) return Error(Errc::invalid, "the seal has h=");
    if (const auto time = tags.value("t"); time && !ascii::parse_number(*time)) {
        return Error(Errc::invalid, "a number of the seal cannot be read");
    }
    Seal out;
    out.cv = ascii::to_lower(*tags.value("cv"));
    if (out.cv != "none" && out.cv != "pass" && out.cv != "fail") return Error(Errc::invalid, "cv= is none of three");
    out.signature.domain = ascii::to_lower(*tags.value("d"));
    out.signature.identity_domain = out.signature.domain;
    out.signature.selector = *tags.value("s");
    TRY(out.signature.algorithm, parse_algorithm(*tags.value("a")));
    TRY(out.signature.value, crypto::base64_decode(without_fws(*tags.value("b"))));
    if (out.signature.value.empty()) return Error(Errc::invalid, "b= is empty");
    return out;
}

// Indexes of the fields of one instance.
struct Set {
    std::array<std::vector<std::size_t>, 3> parts;
    std::size_t at(Part part) const { return parts[static_cast<std::size_t>(part)].front(); }
};

// What is found of a chain before anything is checked.
struct Collected {
    std::map<std::size_t, Set> sets;  // by instance
    std::vector<Seal> seals;          // of instance 1, 2, ...
    std::string damage;               // why the structure is not that of a chain
};

Collected collect(const ReadMessage& message) {
    Collected out;
    const mime::Fields& fields = message.fields();
    for (std::size_t i = 0; i < fields.size(); ++i) {
        for (std::size_t part = 0; part < kPartNames.size(); ++part) {
            if (!ascii::equals_ci(fields[i].name, kPartNames[part])) continue;
            const auto instance = instance_of(static_cast<Part>(part), value_of(message.raw_field(i)));
            if (!instance) {
                out.damage = fmt::format("an {} field has no proper i=", kPartNames[part]);
            } else {
                out.sets[*instance].parts[part].push_back(i);
            }
        }
    }
    return out;
}

// RFC 8617 5.2 step 3
void check_structure(const ReadMessage& message, Collected& collected) {
    std::size_t expected = 1;
    for (const auto& [instance, set] : collected.sets) {
        const auto is_one = [](const auto& indexes) { return indexes.size() == 1; };
        if (instance != expected++ || !std::ranges::all_of(set.parts, is_one)) {
            collected.damage = fmt::format("the fields of set {} are not there once each", expected - 1);
            return;
        }
        auto seal = parse_seal(value_of(message.raw_field(set.at(Part::seal))));
        if (!seal) {
            collected.damage = seal.error().context;
            return;
        }
        if (seal->cv != (instance == 1 ? "none" : "pass")) {
            collected.damage = fmt::format("seal {} says cv={}", instance, seal->cv);
            return;
        }
        collected.seals.push_back(*std::move(seal));
    }
}

bool says_fail(const ReadMessage& message, const Set& set) {
    const auto& seals = set.parts[static_cast<std::size_t>(Part::seal)];
    if (seals.size() != 1) return false;
    const auto seal = parse_seal(value_of(message.raw_field(seals.front())));
    return seal && seal->cv == "fail";
}

struct KeyQuestion {
    const Signature& signature;
    const crypto::Sha256Digest& digest;
    bool body_matches;
    KeyQuestion(const Signature& s, const crypto::Sha256Digest& d, bool body)
        : signature(s), digest(d), body_matches(body) {}
};

// "" where it verifies.
net::Task<std::string> verify_with_keys(dns::Resolver& resolver, const KeyQuestion& question, bool& undecided) {
    std::string name = question.signature.selector + "._domainkey." + question.signature.domain;
    const auto keys = co_await resolver.txt(std::move(name));
    if (!keys) {
        undecided = keys.error().code != Errc::invalid;
        co_return keys.error().context;
    }
    DkimResult result;
    judge_keys(keys->records, question.signature, question.digest, question.body_matches, result);
    co_return result.status == DkimStatus::pass ? std::string() : result.reason;
}

net::Task<std::string> verify_message_signature(dns::Resolver& resolver, const ReadMessage& message, std::size_t index,
                                                bool& undecided) {
    const std::string_view raw_field = message.raw_field(index);
    const auto signature = parse_arc_signature(value_of(raw_field));
    if (!signature) co_return signature.error().context;
    const BodyDigest& body = message.body_digest(signature->body_form, signature->body_octets);
    const std::string hashed = field_without_value(raw_field);
    const crypto::Sha256Digest digest =
        header_digest(signature->header_form, message.octets(), message.fields(), signature->fields, index, hashed);
    const KeyQuestion question(*signature, digest, body.digest == signature->body_hash);
    co_return co_await verify_with_keys(resolver, question, undecided);
}

// The fields of all sets up to the one being sealed, whose seal comes last and without b=     RFC 8617 5.1.1
class SealHash {
 public:
    void add(std::string_view raw_field) { hash_.update(canonical_field(Canonical::relaxed, raw_field)); }
    crypto::Sha256Digest finish(std::string_view seal_without_value) {
        std::string last = canonical_field(Canonical::relaxed, seal_without_value);
        last.resize(last.size() - 2);
        hash_.update(last);
        return hash_.finish();
    }

 private:
    crypto::Sha256 hash_;
};

void add_set(const ReadMessage& message, const Set& set, SealHash& hash) {
    for (const Part part : {Part::results, Part::signature, Part::seal}) hash.add(message.raw_field(set.at(part)));
}

net::Task<std::string> verify_seals(dns::Resolver& resolver, const ReadMessage& message, const Collected& collected,
                                    bool& undecided) {
    for (std::size_t last = collected.seals.size(); last >= 1; --last) {
        SealHash hash;
        for (std::size_t i = 1; i < last; ++i) add_set(message, collected.sets.at(i), hash);
        const Set& own = collected.sets.at(last);
        hash.add(message.raw_field(own.at(Part::results)));
        hash.add(message.raw_field(own.at(Part::signature)));
        const std::string hashed = field_without_value(message.raw_field(own.at(Part::seal)));
        const crypto::Sha256Digest digest = hash.finish(hashed);
        const KeyQuestion question(collected.seals[last - 1].signature, digest, true);
        std::string reason = co_await verify_with_keys(resolver, question, undecided);
        if (!reason.empty()) co_return fmt::format("seal {}: {}", last, reason);
    }
    co_return std::string();
}

std::vector<ArcSet> describe_sets(const ReadMessage& message, const Collected& collected) {
    std::vector<ArcSet> out;
    for (std::size_t i = 1; i <= collected.seals.size(); ++i) {
        ArcSet& set = out.emplace_back();
        set.sealer = collected.seals[i - 1].signature.domain;
        Cursor in(value_of(message.raw_field(collected.sets.at(i).at(Part::results))));
        if (!take_instance(in)) continue;
        const auto results = parse_auth_results(in.rest());
        if (!results) continue;
        set.authserv_id = results->authserv_id;
        set.dmarc = results->result_of("dmarc");
    }
    return out;
}

}  // namespace

net::Task<ArcChain> verify_arc(dns::Resolver& resolver, const ReadMessage& message) {
    ArcChain chain;
    Collected collected = collect(message);
    if (collected.sets.empty() && collected.damage.empty()) co_return chain;
    chain.status = ArcStatus::fail;
    if (!collected.sets.empty()) {
        chain.highest = collected.sets.rbegin()->first;
        chain.closed = says_fail(message, collected.sets.rbegin()->second);
    }
    if (collected.damage.empty()) check_structure(message, collected);
    if (!collected.damage.empty()) {
        chain.reason = std::move(collected.damage);
        co_return chain;
    }
    const std::size_t newest = collected.sets.rbegin()->second.at(Part::signature);
    chain.reason = co_await verify_message_signature(resolver, message, newest, chain.undecided);
    if (chain.reason.empty()) chain.reason = co_await verify_seals(resolver, message, collected, chain.undecided);
    if (!chain.reason.empty()) co_return chain;
    chain.status = ArcStatus::pass;
    chain.sets = describe_sets(message, collected);
    co_return chain;
}

net::Task<ArcChain> verify_arc(dns::Resolver& resolver, std::string_view message) {
    const ReadMessage read(message);
    co_return co_await verify_arc(resolver, read);
}

bool is_vouched_for(const ArcChain& chain, const std::vector<std::string>& trusted) {
    if (chain.status != ArcStatus::pass) return false;
    // From the newest on: one who is not trusted may have made up everything before himself.
    for (auto set = chain.sets.rbegin(); set != chain.sets.rend(); ++set) {
        const bool known = std::ranges::any_of(trusted, [&](const std::string& domain) {
            return ascii::equals_ci(set->sealer, domain) || ascii::ends_with_ci(set->sealer, "." + domain);
        });
        if (!known) return false;
        if (set->dmarc == "pass") return true;
    }
    return false;
}

namespace {

// Signed where they are there. What a later sealer adds is signed by him; only his signature is checked then.
constexpr std::array<std::string_view, 18> kSealedFields = {
    "from",           "sender",        "to",        "cc",
    "reply-to",       "subject",       "date",      "message-id",
    "in-reply-to",    "references",    "list-id",   "list-unsubscribe",
    "mime-version",   "content-type",  "list-post", "content-transfer-encoding",
    "dkim-signature", "auto-submitted"};

std::vector<std::string> names_to_seal(const mime::Fields& fields) {
    std::vector<std::string> names;
    for (const std::string_view name : kSealedFields) {
        names.insert(names.end(), mime::find_all(fields, name).size(), std::string(name));
    }
    return names;
}

FoldedField begin_field(std::string_view name, std::size_t instance, const DkimSigner& signer, Time now) {
    FoldedField field(fmt::format("{}:", name));
    field.word(fmt::format("i={};", instance));
    field.word(fmt::format("a={};", algorithm_name(signer.key->algorithm())));
    field.word(fmt::format("d={};", signer.domain));
    field.word(fmt::format("s={};", signer.selector));
    field.word(fmt::format("t={};", to_unix_ms(now) / 1000));
    return field;
}

Result<std::string> make_message_signature(const DkimSigner& signer, MessageSource& message, std::size_t instance,
                                           Time now) {
    const mime::Fields fields = mime::parse_fields(message.header_block);
    if (fields.truncated) return Error(Errc::too_large, "the header has more fields than can be sealed");
    const std::vector<std::string> names = names_to_seal(fields);
    TRY(const std::string body_hash, hash_body(message));
    FoldedField field = begin_field(kArcMessageSignature, instance, signer, now);
    field.word("c=relaxed/relaxed;");
    field.word("h=");
    for (std::size_t i = 0; i < names.size(); ++i) {
        const std::string part = i + 1 == names.size() ? names[i] : names[i] + ":";
        i == 0 ? field.glue(part) : field.word(part);
    }
    field.glue(";");
    field.word(fmt::format("bh={};", body_hash));
    field.word("b=");
    const crypto::Sha256Digest digest =
        header_digest(Canonical::relaxed, message.header_block, fields, names, std::string_view::npos, field.text());
    TRY(const std::string value, signer.key->sign_digest(digest));
    field.cut_anywhere(crypto::base64_encode(value));
    return field.text() + "\r\n";
}

}  // namespace

Result<std::string> seal_arc(const DkimSigner& signer, MessageSource message, const ArcSealing& sealing, Time now) {
    ASSERT(signer.key != nullptr);
    const ReadMessage header(message.header_block);
    const Collected before = collect(header);
    const std::size_t highest = before.sets.empty() ? 0 : before.sets.rbegin()->first;
    if (highest >= kArcSetsMax) return std::string();
    if (highest > 0 && says_fail(header, before.sets.rbegin()->second)) return std::string();
    const std::size_t instance = highest + 1;
    const std::string results =
        fmt::format("{}: i={}; {};{}\r\n", kArcResults, instance, sealing.authserv_id, sealing.results);
    TRY(const std::string signature, make_message_signature(signer, message, instance, now));

    // A chain that failed is told to have failed, over the new set alone (RFC 8617 5.1.2).
    const bool whole = sealing.chain == ArcStatus::pass;
    FoldedField seal = begin_field(kArcSeal, instance, signer, now);
    seal.word(fmt::format("cv={};", to_string(sealing.chain)));
    seal.word("b=");
    SealHash hash;
    for (std::size_t i = 1; whole && i < instance; ++i) {
        const auto set = before.sets.find(i);
        const auto is_one = [](const auto& indexes) { return indexes.size() == 1; };
        if (set == before.sets.end() || !std::ranges::all_of(set->second.parts, is_one)) {
            return Error(Errc::invalid, "the chain is not whole any more");
        }
        add_set(header, set->second, hash);
    }
    hash.add(results);
    hash.add(signature);
    TRY(const std::string value, signer.key->sign_digest(hash.finish(seal.text())));
    seal.cut_anywhere(crypto::base64_encode(value));
    return seal.text() + "\r\n" + signature + results;
}

}  // namespace posthouse::mailauth
