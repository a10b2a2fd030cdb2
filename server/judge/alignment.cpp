#include "server/judge/alignment.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <utility>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/mailauth/foresee.h"
#include "protocols/mime/idna.h"
#include "storage/await.h"
#include "storage/routes.h"
#include "storage/settings.h"

namespace posthouse::server {
namespace {

// What the store knows: the keys that will sign, and whether mail may leave by somebody else's server.
struct Picture {
    std::vector<mailauth::ForeseeQuestion::Key> keys;
    bool any_relay = false;
    bool refuse = true;
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

class StoreAlignment final : public smtp::AlignmentCheck {
 public:
    explicit StoreAlignment(CheckDeps deps)
        : deps_(std::move(deps)),
          refused_(deps_.metrics->counter("submission_dmarc_refused_total",
                                          "Messages refused because DMARC would fail at the receiver")),
          weak_(deps_.metrics->counter("submission_dmarc_weak_total",
                                       "Answers that SPF or DKIM of a domain is not in order")) {}

    net::Task<Result<>> check(std::string author_domain, std::string envelope_domain) override {
        const auto author = mime::domain_to_ascii(author_domain);
        if (!author) co_return Result<>();
        std::pair<std::string, std::string> name(*author, mime::domain_to_ascii(envelope_domain).value_or(""));
        const auto kept = kept_.find(name);
        const Time now = deps_.clock->now();
        if (kept != kept_.end() && now < kept->second.until) co_return verdict(kept->second);
        auto& asked = asking_[name];
        if (!asked) {
            asked = std::make_shared<net::Event>(*deps_.loop);
            deps_.tasks->spawn("submission.alignment", ask(name, asked));
        }
        const auto answered = asked;  // the map forgets it when the answer is there
        static_cast<void>(co_await answered->wait_for(kAlignmentWaitMax));
        const auto found = kept_.find(name);
        if (found == kept_.end() || found->second.until <= deps_.clock->now()) {
            log::info("submission", "mail from {}: taken unchecked, the DNS is slow", name.first);
            co_return Result<>();
        }
        co_return verdict(found->second);
    }

 private:
    using Names = std::pair<std::string, std::string>;  // author's domain, envelope's domain
    struct Kept {
        mailauth::ForeseeAnswer answer;
        bool refuse = true;
        Time until{};
    };

    Result<> verdict(const Kept& kept) {
        if (kept.answer.what != mailauth::Foresight::refused || !kept.refuse) return {};
        refused_.add();
        return Error(Errc::denied, kept.answer.sentence);
    }

    net::Task<void> ask(Names name, std::shared_ptr<net::Event> answered) {
        auto answer = co_await judge(name.first, name.second);
        if (kept_.size() >= kAlignmentsMax) kept_.clear();
        Kept& place = kept_[name];
        place = std::move(answer);
        const bool refused = place.answer.what == mailauth::Foresight::refused;
        place.until = deps_.clock->now() + (refused ? kRefusalKept : kAlignmentKept);
        if (place.answer.what != mailauth::Foresight::passes) {
            weak_.add();
            log::warn("submission", "mail from {}: {}", name.first, place.answer.sentence);
        }
        asking_.erase(name);
        answered->set();
    }

    net::Task<Kept> judge(std::string author, std::string envelope) {
        Kept out;
        auto look = [author](const storage::Snapshot& snapshot) -> Result<Picture> {
            Picture picture;
            TRY(const auto keys, snapshot.catalog().dkim_keys());
            picture.keys = keys_for(keys, author);
            TRY(const auto ways, storage::RouteView(snapshot).ways());
            picture.any_relay = std::ranges::any_of(
                ways, [](const storage::Way& way) { return way.kind == storage::WayKind::smarthost; });
            TRY(const std::string wish, storage::setting_text(snapshot.catalog(), "dmarc.submission"));
            picture.refuse = wish != "warn";
            return picture;
        };
        const auto picture = co_await storage::read(*deps_.store, *deps_.pool, *deps_.loop, std::move(look));
        if (!picture) co_return out;
        out.refuse = picture->refuse;
        mailauth::ForeseeQuestion question;
        question.author_domain = author;
        question.envelope_domain = envelope;
        question.keys = picture->keys;
        question.helo = deps_.hostname;
        if (!picture->any_relay) {
            const auto ours = co_await deps_.resolver->addresses(deps_.hostname);
            // A DNS that does not know us now knows nothing else: the client waits for one question, not for ten.
            if (!ours) co_return out;
            if (!ours->records.empty()) question.from_addresses = ours->records;
        }
        out.answer = co_await mailauth::foresee_dmarc(*deps_.resolver, std::move(question));
        co_return out;
    }

    CheckDeps deps_;
    Metrics::Value& refused_;
    Metrics::Value& weak_;
    std::map<Names, Kept> kept_;
    std::map<Names, std::shared_ptr<net::Event>> asking_;
};

}  // namespace

std::unique_ptr<smtp::AlignmentCheck> make_alignment_check(CheckDeps deps) {
    return std::make_unique<StoreAlignment>(std::move(deps));
}

}  // namespace posthouse::server
