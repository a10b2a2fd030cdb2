#pragma once
/// tests/support/stand_in_world: the relay's scheduler against stand-in sites under a discrete virtual clock. The
/// decisions are those of relay/schedule; only the connections are played: connect, transaction, and what came of it.
/// Keeps a ledger of every recipient, so that a test can ask whether each ended in exactly one way.
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "relay/schedule.h"
#include "tests/support/stand_in.h"
#include "tests/support/virtual_time.h"

namespace posthouse::test {

/// One recipient's fate as the sender's side has it in its books.
struct Fate {
    enum class State { queued, delivered, bounced };
    State state = State::queued;
    std::string address;
    std::uint32_t attempts = 0;
    std::size_t ends = 0;  ///< how often it became final: never more than once
    Time created{};
    Time ended{};
    Time expires{};
    Fate() = default;
};

/// A lane, its site and its books.
class StandInLane {
 public:
    struct Options {
        Milliseconds latency{20};
        Milliseconds data_end_max{600'000};  ///< how long silence behind the dot is borne
        Milliseconds dial_max{30'000};
        Milliseconds lifetime{4 * 24 * 3'600'000LL};
        std::size_t messages_per_connection = 100;
        std::string host = "mx.stand-in.example";  ///< whose words they are
        Options() = default;
    };

    StandInLane(VirtualTime& time, StandInSite& site, const relay::Shaping& shaping, Random& random, Options options)
        : time_(time), site_(site), random_(random), options_(options), schedule_(shaping, time.now()) {}

    relay::LaneSchedule& schedule() { return schedule_; }
    const std::vector<Fate>& books() const { return books_; }

    std::size_t submit(const std::string& address, storage::QueueClass priority = storage::QueueClass::interactive,
                       const std::string& flow = "a") {
        enter(write_down(address, {priority, flow}));
        return books_.size() - 1;
    }
    /// A message to many: they share a queue id, so a transaction takes up to a hundred.
    void submit_many(std::size_t count, storage::QueueClass priority, const std::string& flow) {
        ++messages_;
        for (std::size_t i = 0; i < count; ++i) {
            const std::string address = "r" + std::to_string(books_.size());
            schedule_.add(priority, flow, entry(write_down(address, {priority, flow}), messages_));
        }
        pump();
    }
    void pump() {
        while (connections_ < schedule_.connections_wanted(time_.now())) {
            auto parcel = schedule_.take(time_.now(), recipients_max);
            if (!parcel) break;
            ++connections_;
            dial(std::make_shared<relay::Parcel>(*std::move(parcel)), first_host_++, 0);
        }
        // Whatever the lane waits for, it is looked at again then.
        const Time next = schedule_.earliest(time_.now());
        if (!schedule_.queue().empty() && next > time_.now() && next != alarm_) {
            alarm_ = next;
            time_.at(next, [this] { pump(); });
        }
    }

    std::size_t recipients_max = 1;  ///< a transaction

 private:
    using ParcelPtr = std::shared_ptr<relay::Parcel>;
    struct Flow {
        storage::QueueClass priority;
        std::string name;
    };

    relay::LaneEntry entry(std::size_t at, std::uint64_t message) {
        relay::LaneEntry out;
        out.recipient = static_cast<storage::RecipientId>(at);
        out.queue = static_cast<storage::QueueId>(message);
        return out;
    }
    std::size_t write_down(std::string address, Flow flow) {
        Fate& fate = books_.emplace_back();
        fate.address = std::move(address);
        fate.created = time_.now();
        fate.expires = time_.now() + options_.lifetime;
        flows_.push_back(std::move(flow));
        return books_.size() - 1;
    }
    void enter(std::size_t at) {
        schedule_.add(flows_[at].priority, flows_[at].name, entry(at, ++messages_));
        pump();
    }

    void dial(ParcelPtr parcel, std::size_t first, std::size_t tried) {
        const std::size_t host = (first + tried) % site_.traits.hosts;
        const bool dead = site_.fault(host) == BadHost::dead;
        const Milliseconds takes = dead ? options_.dial_max : options_.latency * 2 + site_.traits.tarpit;
        time_.in(takes, [this, parcel, first, host, tried] {
            const std::string banner = site_.connect(host);
            if (banner.starts_with("220")) {
                schedule_.opened(time_.now());
                transact(parcel, 0);
                return;
            }
            if (banner.empty() && tried + 1 < site_.traits.hosts) return dial(parcel, first, tried + 1);
            hang_up();
            finish(parcel, std::vector<std::string>(parcel->entries.size(), banner), relay::Stage::opening);
            pump();
        });
    }
    void hang_up() { --connections_; }
    void dial_again(const ParcelPtr& parcel) {  // it had hung up while the connection was idle
        site_.disconnect();
        schedule_.closed();
        dial(parcel, first_host_++, 0);
    }

    void transact(ParcelPtr parcel, std::size_t sent) {
        const Milliseconds tarpit = sent > 0 ? site_.traits.reuse_tarpit : Milliseconds(0);
        time_.in(options_.latency + site_.traits.service + tarpit, [this, parcel, sent] {
            const std::string mail = site_.mail(time_.now(), sent);
            if (mail.empty()) return dial_again(parcel);
            std::vector<std::string> replies = dialogue(*parcel, mail);
            bool broken = false;
            for (const std::string& reply : replies) broken = broken || reply.empty() || reply.starts_with("421");
            const Milliseconds wait = broken && replies.front().empty() ? options_.data_end_max : Milliseconds(0);
            time_.in(wait, [this, parcel, sent, broken, replies = std::move(replies)] {
                if (broken) site_.disconnect();
                finish(parcel, replies, relay::Stage::transaction);
                if (broken) {
                    schedule_.closed();
                    hang_up();
                } else {
                    go_on(sent + 1);
                }
                pump();
            });
        });
    }

    std::vector<std::string> dialogue(const relay::Parcel& parcel, const std::string& mail) {
        std::vector<std::string> out;
        for (const auto& entry : parcel.entries) {
            const std::string& address = book(entry).address;
            if (!mail.starts_with("250")) {
                out.push_back(mail);
                continue;
            }
            const std::string rcpt = site_.rcpt(address, time_.now());
            out.push_back(rcpt.starts_with("250") ? site_.dot(address) : rcpt);
        }
        return out;
    }

    void go_on(std::size_t sent) {
        std::optional<relay::Parcel> next;
        // A worker stays as long as the window has room for it.
        const std::size_t most = std::min(options_.messages_per_connection,
                                          schedule_.controller().messages_max(time_.now()));
        if (sent < most && connections_ <= schedule_.controller().window()) {
            next = schedule_.take(time_.now(), recipients_max);
        }
        if (next) return transact(std::make_shared<relay::Parcel>(*std::move(next)), sent);
        site_.disconnect();
        schedule_.closed();
        hang_up();
    }

    void finish(const ParcelPtr& parcel, const std::vector<std::string>& replies, relay::Stage stage) {
        std::vector<relay::LaneSchedule::Said> said;
        for (std::size_t i = 0; i < replies.size(); ++i) {
            relay::LaneSchedule::Said one;
            one.verdict = verdict_of(replies[i]);
            one.attempts = book(parcel->entries[i]).attempts;
            said.push_back(std::move(one));
        }
        const auto after = schedule_.settle(said, options_.host, stage, time_.now(), random_);
        schedule_.done();
        relay::Parcel back = *parcel;
        back.entries.clear();
        for (std::size_t i = 0; i < after.size(); ++i) {
            const auto& entry = parcel->entries[i];
            const auto at = static_cast<std::size_t>(storage::raw(entry.recipient));
            Fate& fate = books_[at];
            if (said[i].verdict.fate == relay::Fate::delivered) {
                end(fate, Fate::State::delivered);
            } else if (time_.now() >= fate.expires) {
                end(fate, Fate::State::bounced);
            } else if (after[i].stays_in_lane) {
                back.entries.push_back(entry);
            } else if (said[i].verdict.fate == relay::Fate::failed) {
                end(fate, Fate::State::bounced);
            } else {
                ++fate.attempts;
                time_.in(after[i].wait, [this, at] { enter(at); });
            }
        }
        if (!back.entries.empty()) schedule_.put_back(back);
    }

    void end(Fate& fate, Fate::State state) {
        fate.state = state;
        fate.ended = time_.now();
        ++fate.ends;
    }

    static relay::Verdict verdict_of(const std::string& reply) {
        if (reply.empty()) return {relay::Fate::deferred, "4.4.1", "No connection to mx.stand-in.example: refused"};
        relay::Verdict out;
        out.fate = reply[0] == '2'   ? relay::Fate::delivered
                   : reply[0] == '5' ? relay::Fate::failed
                                     : relay::Fate::deferred;
        out.reply = reply;
        const std::size_t end = reply.find(' ', 4);
        const std::string code = reply.substr(4, end == std::string::npos ? end : end - 4);
        if (code.find('.') != std::string::npos) out.enhanced = code;
        out.code = static_cast<unsigned>(std::stoul(reply.substr(0, 3)));
        out.from_remote = true;
        return out;
    }
    Fate& book(const relay::LaneEntry& entry) {
        return books_[static_cast<std::size_t>(storage::raw(entry.recipient))];
    }

    VirtualTime& time_;
    StandInSite& site_;
    Random& random_;
    Options options_;
    relay::LaneSchedule schedule_;
    std::vector<Fate> books_;
    std::vector<Flow> flows_;
    std::uint64_t messages_ = 0;
    std::size_t connections_ = 0;
    std::size_t first_host_ = 0;
    Time alarm_{};
};

}  // namespace posthouse::test
