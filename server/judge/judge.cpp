#include "server/judge/judge.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <map>
#include <memory>
#include <set>
#include <utility>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/dns/budget.h"
#include "protocols/mailauth/judge.h"
#include "protocols/mime/header.h"
#include "storage/await.h"
#include "storage/settings.h"

namespace posthouse::server {
namespace {

using Action = smtp::SenderVerdict::Action;
using mailauth::DmarcPolicy;
using mailauth::DmarcResult;

constexpr std::string_view kSentence =
    "The domain in From asks (DMARC, p=reject) that mail which neither its SPF nor its DKIM vouches for is refused";

// What the settings say; read again where the catalog has changed.
struct Rules {
    std::string policy = "enforce";
    std::vector<std::string> trusted;
};

std::vector<std::string> words_of(std::string_view text) {
    std::vector<std::string> out;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find(' '), text.size());
        if (end > 0) out.emplace_back(text.substr(0, end));
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return out;
}

// One message while it is judged: the task and whoever waits for it hold it together, and either may leave first.
struct Case {
    explicit Case(net::Loop& loop) : done(loop) {}
    smtp::SenderQuestion question;
    net::Event done;
    smtp::SenderVerdict verdict;
    bool judged = false;
    bool given_up = false;
};

class Judge final : public smtp::SenderCheck {
 public:
    explicit Judge(CheckDeps deps, Milliseconds time_max)
        : deps_(std::move(deps)),
          time_max_(time_max),
          refused_(deps_.metrics->counter("reception_dmarc_refused_total", "Messages refused since DMARC failed")),
          junked_(deps_.metrics->counter("reception_dmarc_junked_total", "Messages put into Junk since DMARC failed")),
          late_(deps_.metrics->counter("reception_unjudged_total", "Messages taken before the DNS had answered")) {
        for (const DmarcResult result :
             {DmarcResult::none, DmarcResult::pass, DmarcResult::fail, DmarcResult::temperror}) {
            by_dmarc_[static_cast<std::size_t>(result)] =
                &deps_.metrics->counter("reception_dmarc_total", "Messages from outside by the result of DMARC",
                                        fmt::format("result=\"{}\"", to_string(result)));
        }
        // The store keeps its listeners for good: this one holds on to nothing of ours.
        deps_.store->subscribe([stale = stale_](const storage::CommitNotice& notice) {
            if (notice.catalog || notice.external) stale->store(true);
        });
    }

    net::Task<smtp::SenderVerdict> check(smtp::SenderQuestion question) override {
        const Rules rules = co_await read_rules();
        if (rules.policy == "off") co_return smtp::SenderVerdict();
        if (stopping_ || under_way_ >= kJudgedMax) co_return undecided();
        const auto one = std::make_shared<Case>(*deps_.loop);
        one->question = std::move(question);
        open_.insert(one);
        deps_.tasks->spawn("reception.judge", judge(one, rules));
        const Milliseconds patience = silent_ ? std::min(time_max_, kSilentTimeMax) : time_max_;
        const auto answered = co_await one->done.wait_for(patience);
        open_.erase(one);
        if (!answered || !one->judged) {
            one->given_up = true;
            silent_ = silent_ || !stopping_;
            co_return undecided();
        }
        co_return std::move(one->verdict);
    }

    void stop() override {
        stopping_ = true;
        for (const auto& one : open_) one->done.set();
    }

 private:
    // Read again only where the catalog has changed: a message costs no step to another thread.
    net::Task<Rules> read_rules() {
        if (!stale_->exchange(false)) co_return rules_;
        auto look = [](const storage::Snapshot& snapshot) -> Result<Rules> {
            Rules rules;
            TRY(rules.policy, storage::setting_text(snapshot.catalog(), "dmarc.policy"));
            TRY(const std::string trusted, storage::setting_text(snapshot.catalog(), "arc.trusted"));
            rules.trusted = words_of(trusted);
            return rules;
        };
        auto rules = co_await storage::read(*deps_.store, *deps_.pool, *deps_.loop, std::move(look));
        if (rules) {
            rules_ = *std::move(rules);
        } else {
            stale_->store(true);
        }
        co_return rules_;
    }

    smtp::SenderVerdict undecided() {
        late_.add();
        log::warn("reception", "a message is taken unjudged: the DNS is slow, or too much is asked of it");
        smtp::SenderVerdict verdict;
        verdict.field = mailauth::format_auth_results(deps_.hostname, mailauth::undecided_results());
        verdict.summary = "taken unjudged: the DNS did not answer in time";
        return verdict;
    }

    net::Task<void> judge(std::shared_ptr<Case> one, Rules rules) {
        ++under_way_;
        const mailauth::ReadMessage message(one->question.octets.view);
        if (one->question.octets.view.size() > kJudgeHereOctetsMax) {
            auto prepare = [&message]() -> Result<> {
                message.prepare();
                return {};
            };
            static_cast<void>(co_await net::offload(*deps_.pool, *deps_.loop, std::move(prepare)));
        }
        mailauth::JudgeQuestion question;
        question.client = one->question.peer;
        question.helo = one->question.hello;
        question.mail_from = one->question.sender;
        question.receiver = deps_.hostname;
        question.now = deps_.clock->now();
        dns::BudgetResolver budget(*deps_.resolver, *deps_.clock, kJudgeQueriesMax, time_max_);
        const mailauth::Judgement found = co_await mailauth::judge_message(budget, message, std::move(question));
        --under_way_;
        if (!budget.exhausted()) silent_ = false;  // it answered, sooner or later
        if (!one->given_up) {
            const auto id = mime::find_first(message.fields(), "Message-ID");
            decide(*one, found, rules, id ? mime::unfold(*id) : std::string());
        }
        one->judged = true;
        one->done.set();
    }

    void decide(Case& one, const mailauth::Judgement& found, const Rules& rules, std::string message_id) {
        by_dmarc_[static_cast<std::size_t>(found.dmarc.result)]->add();
        smtp::SenderVerdict& verdict = one.verdict;
        std::vector<mailauth::AuthResult> results = found.results();
        verdict.summary = found.summary();
        verdict.action = wanted(found, rules);
        verdict.sender_proven = found.spf.result == mailauth::SpfResult::pass && !found.spf.of_helo;
        if (verdict.action != Action::accept && mailauth::is_vouched_for(found.arc, rules.trusted)) {
            verdict.action = Action::accept;
            verdict.summary += ", taken since a trusted ARC chain saw it pass";
        } else if (verdict.action == Action::refuse && one.question.sender.empty()) {
            verdict.action = Action::junk;
            verdict.summary += ", a report: not refused";
        }
        if (verdict.action == Action::junk) {
            junked_.add();
            verdict.summary += ", so it goes to Junk";
        }
        if (verdict.action == Action::refuse) {
            refused_.add();
            verdict.sentence = kSentence;
            note_refusal(one, std::move(message_id));
        }
        verdict.field = mailauth::format_auth_results(deps_.hostname, results);
    }

    static Action wanted(const mailauth::Judgement& found, const Rules& rules) {
        if (found.dmarc.result != DmarcResult::fail || !found.dmarc.found || rules.policy == "report") {
            return Action::accept;
        }
        switch (found.dmarc.found->disposition) {
            case DmarcPolicy::none: return Action::accept;
            case DmarcPolicy::quarantine: return Action::junk;
            case DmarcPolicy::reject: break;
        }
        return rules.policy == "enforce" ? Action::refuse : Action::junk;
    }

    // "Why did my mail not arrive?" is answered from the events. Nobody waits for this one.
    void note_refusal(const Case& one, std::string message_id) {
        storage::Event event;
        event.at = deps_.clock->now();
        event.kind = storage::EventKind::refused;
        if (message_id.starts_with('<') && message_id.ends_with('>')) {
            message_id = message_id.substr(1, message_id.size() - 2);
        }
        event.message_id = std::move(message_id);
        event.sender = one.question.sender;
        event.detail = fmt::format("refused, from {}: {}", one.question.peer.to_literal(), one.verdict.summary);
        const bool taken = deps_.pool->submit([store = deps_.store, event, recipients = one.question.recipients] {
            const auto written = store->write({}, [&](storage::Tx& tx) -> Result<> {
                storage::Event each = event;
                for (const std::string& recipient : recipients) {
                    each.recipient = recipient;
                    TRY_VOID(tx.events().append(each));
                }
                return {};
            });
            if (!written) log::error("reception", "a refusal cannot be written down: {}", written.error().context);
        });
        if (!taken) log::warn("reception", "too much work is queued: a refusal is not written down");
    }

    CheckDeps deps_;
    Milliseconds time_max_;
    Metrics::Value& refused_;
    Metrics::Value& junked_;
    Metrics::Value& late_;
    std::array<Metrics::Value*, 4> by_dmarc_{};
    std::size_t under_way_ = 0;
    bool silent_ = false;  ///< the last message was not judged in time
    bool stopping_ = false;
    std::set<std::shared_ptr<Case>> open_;  ///< somebody waits for it
    const std::shared_ptr<std::atomic<bool>> stale_ = std::make_shared<std::atomic<bool>>(true);
    Rules rules_;
};

}  // namespace

std::unique_ptr<smtp::SenderCheck> make_sender_check(CheckDeps deps, Milliseconds time_max) {
    return std::make_unique<Judge>(std::move(deps), time_max);
}

}  // namespace posthouse::server
