#include "server/judge/alignment.h"

#include <fmt/format.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <tuple>
#include <utility>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/dns/budget.h"
#include "protocols/mailauth/dmarc.h"
#include "protocols/mailauth/foresee.h"
#include "protocols/mailauth/verify.h"
#include "protocols/mime/idna.h"
#include "protocols/smtp/provider.h"
#include "server/judge/judge.h"
#include "server/judge/way_facts.h"
#include "storage/await.h"
#include "storage/queue.h"
#include "storage/relay_clients.h"
#include "storage/route_choice.h"
#include "storage/settings.h"

namespace posthouse::server {
namespace {

// What the store knows: the keys that will sign, and the ways.
struct Picture {
    std::vector<storage::DkimKey> keys;
    storage::RoutePicture routes;
    std::map<std::string, std::uint8_t, std::less<>> client_classes;  ///< by name
    bool refuse = true;
};

// As the queue will have it: by the client, by what it is, by what was wished.
std::uint8_t class_of(const Picture& picture, const smtp::AlignmentQuestion& question) {
    if (question.mail_class) return *question.mail_class;
    std::uint8_t out = 0;
    const auto client = picture.client_classes.find(question.client);
    if (!question.client.empty() && client != picture.client_classes.end()) out = client->second;
    if (question.for_many) out = static_cast<std::uint8_t>(storage::QueueClass::bulk);
    constexpr auto kLeast = static_cast<std::uint8_t>(storage::QueueClass::transactional);
    return question.by_program ? std::max(out, kLeast) : out;
}

// Who keeps the mail of some domains, while the DNS is asked: who waits may not wait for the end.
struct Providers {
    explicit Providers(net::Loop& loop) : done(loop) {}
    std::vector<std::string> domains;
    std::map<std::string, std::string, std::less<>> found;
    bool failed = false;  ///< the DNS did not say
    net::Event done;
};

// The active keys of the domain or of the next one above it that has some, as the relay signs.
std::vector<mailauth::ForeseeQuestion::Key> keys_for(const std::vector<storage::DkimKey>& all,
                                                     std::string_view domain) {
    std::vector<mailauth::ForeseeQuestion::Key> out;
    while (out.empty() && domain.contains('.')) {
        for (const storage::DkimKey& key : all) {
            if (key.active && ascii::equals_ci(key.domain_name, domain)) {
                out.push_back({key.domain_name, key.selector, key.dns_record});
            }
        }
        domain.remove_prefix(domain.find('.') + 1);
    }
    return out;
}

bool is_signed(const smtp::SharedOctets& octets) {
    const std::size_t end = mime::find_header_end(octets.view);
    return mime::find_first(mime::parse_fields(octets.view.substr(0, end)), mailauth::kDkimSignature).has_value();
}

// The signatures of one message while they are looked at: who asks may not wait for the end.
struct Signatures {
    explicit Signatures(net::Loop& loop) : done(loop) {}
    smtp::SharedOctets octets;
    std::string author;
    net::Event done;
    bool vouch = true;  // until something else is known
};

class StoreAlignment final : public smtp::AlignmentCheck {
 public:
    explicit StoreAlignment(CheckDeps deps)
        : deps_(std::move(deps)),
          refused_(deps_.metrics->counter("submission_dmarc_refused_total",
                                          "Messages refused because DMARC would fail at the receiver")),
          weak_(deps_.metrics->counter("submission_dmarc_weak_total",
                                       "Answers that SPF or DKIM of a domain is not in order")),
          unknown_(deps_.metrics->counter("submission_sender_unknown_total",
                                          "Messages refused because the relay does not know their sender")) {
        // The store keeps its listeners for good: this one holds on to nothing of ours.
        deps_.store->subscribe([stale = stale_](const storage::CommitNotice& notice) {
            if (notice.catalog || notice.external) stale->store(true);
        });
    }

    net::Task<Result<>> check(smtp::AlignmentQuestion question) override {
        const auto author = mime::domain_to_ascii(question.author_domain);
        if (!author) co_return Result<>();
        const auto picture = co_await load();
        if (!picture) co_return Result<>();
        const std::size_t at = question.sender.rfind('@');
        const std::string envelope =
            at == std::string::npos ? "" : mime::domain_to_ascii(question.sender.substr(at + 1)).value_or("");
        MailTraits traits;
        traits.mail_class = class_of(*picture, question);
        if (!co_await find_providers(*picture, question, traits)) co_return Result<>();
        const Time now = deps_.clock->now();
        if (auto why = unknown_sender(picture->routes, question, traits, now)) {
            unknown_.add();
            co_return Error(Errc::refused, *std::move(why));
        }
        for (WayFacts& way : ways_of(picture->routes, question, traits, now)) {
            const bool own_path = !way.return_path.empty() && !envelope.empty();
            Names names(*author, own_path ? way.return_path : envelope, way.key);
            const bool later = way.later;
            auto verdict = co_await ask_about(std::move(names), std::move(way), picture);
            // Said in the log when it is found out. It may never be needed, and is no reason to refuse what goes well.
            if (verdict || !picture->refuse || later) continue;
            if (is_signed(question.octets) && co_await vouches(question, *author)) continue;
            refused_.add();
            co_return verdict;
        }
        co_return Result<>();
    }

 private:
    using Names = std::tuple<std::string, std::string, std::string>;  // author's domain, envelope's domain, way
    using PicturePtr = std::shared_ptr<const Picture>;
    struct Kept {
        mailauth::ForeseeAnswer answer;
        Time until{};
    };

    // Read again only where the catalog has changed, or the day.
    net::Task<PicturePtr> load() {
        const std::int64_t day = storage::day_number(deps_.clock->now());
        if (!stale_->exchange(false) && day == day_) co_return picture_;
        auto look = [day](const storage::Snapshot& snapshot) -> Result<Picture> {
            Picture picture;
            TRY(picture.keys, snapshot.catalog().dkim_keys());
            TRY(picture.routes, storage::RouteView(snapshot).picture(day));
            TRY(const auto clients, storage::RelayClientView(snapshot).list());
            for (const storage::RelayClient& one : clients) picture.client_classes[one.name] = one.mail_class;
            TRY(const std::string wish, storage::setting_text(snapshot.catalog(), "dmarc.submission"));
            picture.refuse = wish != "warn";
            return picture;
        };
        auto read = co_await storage::read(*deps_.store, *deps_.pool, *deps_.loop, std::move(look));
        if (!read) {
            stale_->store(true);
            co_return picture_;
        }
        day_ = day;
        kept_.clear();  // what was judged with other keys and ways
        picture_ = std::make_shared<const Picture>(*std::move(read));
        co_return picture_;
    }

    // False where the DNS is too slow: which route it takes is not known then.
    net::Task<bool> find_providers(const Picture& picture, const smtp::AlignmentQuestion& question,
                                   MailTraits& traits) {
        const auto asked = std::make_shared<Providers>(*deps_.loop);
        asked->domains = domains_to_ask(picture.routes, question, traits.mail_class);
        if (asked->domains.empty()) co_return true;
        deps_.tasks->spawn("submission.providers", ask_providers(asked));
        const auto answered = co_await asked->done.wait_for(kAlignmentWaitMax);
        if (answered) traits.providers = asked->found;
        co_return answered.has_value() && !asked->failed;
    }

    net::Task<void> ask_providers(std::shared_ptr<Providers> asked) {
        for (const std::string& domain : asked->domains) {
            auto mx = co_await deps_.resolver->mx(domain);
            if (!mx) {
                asked->failed = true;
                break;
            }
            std::vector<std::string> hosts;
            for (const dns::MxRecord& record : mx->records) hosts.push_back(record.host);
            if (hosts.empty()) hosts.push_back(domain);
            const ::posthouse::smtp::Provider* const keeper = ::posthouse::smtp::provider_of_all(hosts);
            asked->found[domain] = keeper == nullptr ? std::string() : std::string(keeper->name);
        }
        asked->done.set();
    }

    static Result<> verdict(const Kept& kept) {
        if (kept.answer.what != mailauth::Foresight::refused) return {};
        return Error(Errc::denied, kept.answer.sentence);
    }

    net::Task<Result<>> ask_about(Names names, WayFacts way, PicturePtr picture) {
        const auto kept = kept_.find(names);
        const Time now = deps_.clock->now();
        if (kept != kept_.end() && now < kept->second.until) co_return verdict(kept->second);
        // Held here, too: the map forgets it when the answer is there, which may be before spawn() has returned.
        std::shared_ptr<net::Event> answered;
        if (const auto asked = asking_.find(names); asked != asking_.end()) {
            answered = asked->second;
        } else {
            answered = std::make_shared<net::Event>(*deps_.loop);
            asking_.emplace(names, answered);
            deps_.tasks->spawn("submission.alignment", ask(names, std::move(way), std::move(picture), answered));
        }
        static_cast<void>(co_await answered->wait_for(kAlignmentWaitMax));
        const auto found = kept_.find(names);
        if (found == kept_.end() || found->second.until <= deps_.clock->now()) {
            log::info("submission", "mail from {}: taken unchecked, the DNS is slow", std::get<0>(names));
            co_return Result<>();
        }
        co_return verdict(found->second);
    }

    net::Task<void> ask(Names names, WayFacts way, PicturePtr picture, std::shared_ptr<net::Event> answered) {
        const bool later = way.later;
        auto answer = co_await judge(names, std::move(way), std::move(picture));
        if (kept_.size() >= kAlignmentsMax) kept_.clear();
        Kept& place = kept_[names];
        place.answer = std::move(answer);
        const bool refused = place.answer.what == mailauth::Foresight::refused;
        place.until = deps_.clock->now() + (refused ? kRefusalKept : kAlignmentKept);
        if (place.answer.what != mailauth::Foresight::passes) {
            weak_.add();
            log::warn("submission", "mail from {}{}: {}", std::get<0>(names),
                      later ? fmt::format(", should it have to go by {}", std::get<2>(names)) : "",
                      place.answer.sentence);
        }
        asking_.erase(names);
        answered->set();
    }

    net::Task<mailauth::ForeseeAnswer> judge(const Names& names, WayFacts way, PicturePtr picture) {
        mailauth::ForeseeQuestion question;
        question.author_domain = std::get<0>(names);
        question.envelope_domain = std::get<1>(names);
        question.keys = keys_for(picture->keys, question.author_domain);
        question.helo = deps_.hostname;
        question.spf_include = way.spf_include;
        question.sends = way.sends;
        if (way.own_host) {
            const auto ours = co_await deps_.resolver->addresses(deps_.hostname);
            // A DNS that does not know us now knows nothing else: the client waits for one question, not for ten.
            if (!ours) co_return mailauth::ForeseeAnswer();
            if (!ours->records.empty()) question.from_addresses = ours->records;
        } else if (!way.addresses.empty()) {
            question.from_addresses = std::move(way.addresses);
        }
        co_return co_await mailauth::foresee_dmarc(*deps_.resolver, std::move(question));
    }

    // Whether what the message is signed with already will do.
    net::Task<bool> vouches(const smtp::AlignmentQuestion& question, std::string author) {
        const auto one = std::make_shared<Signatures>(*deps_.loop);
        one->octets = question.octets;
        one->author = std::move(author);
        deps_.tasks->spawn("submission.signatures", verify(one));
        const auto answered = co_await one->done.wait_for(kAlignmentWaitMax);
        co_return !answered || one->vouch;
    }

    net::Task<void> verify(std::shared_ptr<Signatures> one) {
        const mailauth::ReadMessage message(one->octets.view);
        if (one->octets.view.size() > kJudgeHereOctetsMax) {
            auto prepare = [&message]() -> Result<> {
                message.prepare();
                return {};
            };
            static_cast<void>(co_await net::offload(*deps_.pool, *deps_.loop, std::move(prepare)));
        }
        dns::BudgetResolver budget(*deps_.resolver, *deps_.clock, kJudgeQueriesMax, kJudgeTimeMax);
        mailauth::DmarcQuestion dmarc;
        dmarc.author_domain = one->author;
        const auto results = co_await mailauth::verify_dkim(budget, message, deps_.clock->now());
        for (const mailauth::DkimResult& result : results) {
            if (result.status == mailauth::DkimStatus::pass) dmarc.dkim_domains.push_back(result.domain);
            if (result.status == mailauth::DkimStatus::temperror) dmarc.unsure.push_back(result.domain);
        }
        const mailauth::DmarcAnswer answer = co_await mailauth::check_dmarc(budget, std::move(dmarc));
        one->vouch = answer.result != mailauth::DmarcResult::fail;
        one->done.set();
    }

    CheckDeps deps_;
    Metrics::Value& refused_;
    Metrics::Value& weak_;
    Metrics::Value& unknown_;
    const std::shared_ptr<std::atomic<bool>> stale_ = std::make_shared<std::atomic<bool>>(true);
    std::int64_t day_ = -1;
    PicturePtr picture_;
    std::map<Names, Kept> kept_;
    std::map<Names, std::shared_ptr<net::Event>> asking_;
};

}  // namespace

std::unique_ptr<smtp::AlignmentCheck> make_alignment_check(CheckDeps deps) {
    return std::make_unique<StoreAlignment>(std::move(deps));
}

}  // namespace posthouse::server
