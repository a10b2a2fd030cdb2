// Handing one message over: the transaction part of relay/client.h.
#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"
#include "relay/client.h"

namespace posthouse::relay {

constexpr std::size_t kWriteOctets = 32UL * 1024;

struct Client::Transaction {
    explicit Transaction(const Envelope& e) : envelope(e), verdicts(e.recipients.size()), lines(e.recipients.size()) {}

    /// Everyone without a verdict of their own gets this one.
    void settle(const Verdict& verdict) {
        for (auto& one : verdicts) {
            if (!one) one = verdict;
        }
        over = true;
    }
    bool any_taken() const {
        return std::ranges::any_of(taken, [](bool is) { return is; });
    }
    std::vector<Verdict> result() {
        std::vector<Verdict> out;
        for (auto& one : verdicts) out.push_back(one ? std::move(*one) : Verdict(Fate::deferred, "4.3.0", "not tried"));
        return out;
    }

    const Envelope& envelope;
    std::vector<std::optional<Verdict>> verdicts;
    std::vector<std::string> lines;  // RCPT lines; "" where none can be said
    std::string mail_line;
    std::vector<bool> taken = std::vector<bool>(verdicts.size());
    std::vector<bool> fewer = std::vector<bool>(verdicts.size());  // refused because there are too many of them
    bool over = false;                                             // everybody has a verdict, or will get none any more
    bool dot_sent = false;                                         // the whole message went out
};

void Client::broke(Transaction& t, const Error& error) {
    usable_ = false;
    Verdict verdict(Fate::deferred, "4.4.2",
                    fmt::format("The connection to {} broke: {}", remote_name(), error.context));
    verdict.cut = error.code == Errc::timeout ? Cut::stalled : Cut::dropped;
    verdict.in_doubt = t.dot_sent;
    t.settle(verdict);
}

// Judges the message by what was offered, and makes the lines. True where nobody is left to send to.
bool Client::refuse_unsendable(Transaction& t) const {
    const Envelope& envelope = t.envelope;
    const std::uint64_t size_max = capabilities_.size_octets_max;
    if (capabilities_.size && size_max != 0 && envelope.mail.size_octets > size_max) {
        t.settle(Verdict(Fate::failed, "5.3.4",  // RFC 1870 6.1
                         fmt::format("The message has {} octets, {} takes {} at most", envelope.mail.size_octets,
                                     remote_name(), size_max)));
        return true;
    }
    if (envelope.needs_smtputf8 && !capabilities_.smtputf8) {
        t.settle(Verdict(Fate::failed, "5.6.7",  // RFC 6531 3.2: no downgrade
                         fmt::format("The message has addresses or header fields beyond ASCII, which {} does not take",
                                     remote_name())));
        return true;
    }
    smtp::MailOptions options = envelope.mail;
    // Asked for by the submitter, but all is ASCII: it may go without the keyword (RFC 6531 3.2).
    options.smtputf8 = options.smtputf8 && capabilities_.smtputf8;
    auto mail = smtp::format_mail(envelope.reverse_path, options, capabilities_);
    if (!mail) {
        t.settle(Verdict(Fate::failed, "5.1.7", "The sender's address cannot be sent: " + mail.error().context));
        return true;
    }
    t.mail_line = *std::move(mail);
    bool any = false;
    for (std::size_t i = 0; i < t.lines.size(); ++i) {
        auto line = smtp::format_rcpt(envelope.recipients[i].address, envelope.recipients[i].options, capabilities_);
        if (line) {
            t.lines[i] = *std::move(line);
            any = true;
        } else {
            t.verdicts[i] = Verdict(Fate::failed, "5.1.3", "The address cannot be sent: " + line.error().context);
        }
    }
    t.over = !any;
    return !any;
}

net::Task<std::vector<Verdict>> Client::send(const Envelope& envelope, MessageSource& message, Dialogue& dialogue) {
    ASSERT(envelope.recipients.size() <= kRecipientsMax);
    dialogue_ = &dialogue;
    heard_nothing_ = true;
    Transaction t(envelope);
    if (refuse_unsendable(t)) {
        heard_nothing_ = false;
        co_return t.result();
    }
    if (capabilities_.pipelining) {
        co_await envelope_pipelined(t);
    } else {
        co_await envelope_in_step(t);
    }
    if (!t.over) co_await send_data(t, message);
    // Nobody was taken, or DATA refused: for the remote the transaction is still open, and would refuse a second MAIL.
    if (usable_ && mail_open_) co_await reset();
    ++messages_;
    co_return t.result();
}

net::Task<void> Client::envelope_in_step(Transaction& t) {
    say(t.mail_line);
    co_await hear_mail(t);
    if (t.over) co_return;
    for (std::size_t i = 0; i < t.lines.size() && !t.over; ++i) {
        if (t.lines[i].empty()) continue;
        dialogue_->about(i);
        say(t.lines[i]);
        co_await hear_recipient(t, i);
    }
    judge_too_many(t);
    if (t.over) co_return;
    if (t.any_taken()) {
        say("DATA\r\n");
        co_return;
    }
    t.over = true;
}

// RFC 5321 4.5.3.1.10: whoever is refused for there being too many goes in the next transaction, at once where this one
// takes somebody; and is never lost for it, whether they say 452 or 552.
void Client::judge_too_many(Transaction& t) {
    const auto count = static_cast<std::size_t>(std::ranges::count(t.taken, true));
    bool at_the_end = true;  // all behind those that were taken
    for (std::size_t i = 0; i < t.fewer.size(); ++i) {
        if (!t.fewer[i]) continue;
        t.verdicts[i]->fate = count > 0 ? Fate::again : Fate::deferred;
        at_the_end = at_the_end &&
                     std::find(t.taken.begin() + static_cast<std::ptrdiff_t>(i), t.taken.end(), true) == t.taken.end();
    }
    const bool is_limit = count > 0 && at_the_end && std::ranges::find(t.fewer, true) != t.fewer.end();
    if (is_limit) capabilities_.recipients_max = count;  // as if it had said LIMITS RCPTMAX
}

// RSET: the connection is fit for the next message                         RFC 5321 4.1.1.5
net::Task<void> Client::reset() {
    say("RSET\r\n");
    const auto reply = co_await hear(options_.timeouts.command);
    if (!reply || !reply->is_success()) usable_ = false;
    mail_open_ = false;
}

// MAIL, RCPT... and DATA in one go                                         RFC 2920 3.1
net::Task<void> Client::envelope_pipelined(Transaction& t) {
    say(t.mail_line);
    for (std::size_t i = 0; i < t.lines.size(); ++i) {
        dialogue_->about(i);
        if (!t.lines[i].empty()) say(t.lines[i]);
    }
    dialogue_->about(std::nullopt);
    say("DATA\r\n");
    co_await hear_mail(t);
    const bool refused = t.over;
    // The answers to what was sent along are read even after a refusal: the connection lives on.
    for (std::size_t i = 0; i < t.lines.size() && usable_; ++i) {
        if (!t.lines[i].empty()) co_await hear_recipient(t, i);
    }
    judge_too_many(t);
    if (!usable_ || (t.any_taken() && !refused)) co_return;
    t.over = true;
    const auto reply = co_await hear(options_.timeouts.data_start);
    if (!reply || reply->code != 354) co_return;
    if (t.any_taken()) {
        // MAIL was refused, yet RCPT and DATA were taken: a dot now would send somebody an empty message.
        dialogue_->note("the server is out of step: the connection is given up");
        stream_.raw().close();
        usable_ = false;
        co_return;
    }
    // RFC 2920 3.1: DATA was accepted without a recipient; an empty message goes to nobody.
    say(".\r\n");
    const auto ended = co_await hear(options_.timeouts.command);
    mail_open_ = false;
    if (!ended) co_return;
}

net::Task<void> Client::hear_mail(Transaction& t) {
    auto max = options_.timeouts.command;
    if (messages_ > 0) max = std::min(max, options_.timeouts.reuse);
    const auto reply = co_await hear(max);
    if (!reply) {
        broke(t, reply.error());
    } else if (!reply->is_success()) {
        if (reply->code >= 300 && reply->code < 400) usable_ = false;  // no answer to MAIL is 3yz: we are out of step
        t.settle(Verdict::of(*reply));
    } else if (!usable_) {
        t.settle(Verdict(Fate::deferred, "4.4.2", "The server is closing the connection"));
    } else {
        mail_open_ = true;
    }
}

namespace {

// RFC 5321 4.5.3.1.10: too many recipients is 452, and 552 of old servers means the same. Without an enhanced code both
// may mean a full mailbox as well: only where there are several of us, or the words say it, is it about our number.
bool wants_fewer(const smtp::Reply& reply, std::size_t recipients) {
    if (reply.enhanced == "4.5.3" || reply.enhanced == "5.5.3") return true;
    if (reply.code != 452 && reply.code != 552) return false;
    const std::string words = ascii::to_lower(reply.to_string());
    if (words.contains("too many recipients")) return true;
    for (const std::string_view room : {"mailbox", "quota", "storage", "space", "full"}) {
        if (words.contains(room)) return false;
    }
    return reply.enhanced.empty() && recipients > 1;
}

}  // namespace

net::Task<void> Client::hear_recipient(Transaction& t, std::size_t index) {
    dialogue_->about(index);
    const auto reply = co_await hear(options_.timeouts.command);
    dialogue_->about(std::nullopt);
    if (!reply) {
        broke(t, reply.error());
        co_return;
    }
    if (reply->is_success()) t.taken[index] = true;
    if (t.verdicts[index] || t.taken[index]) co_return;  // where MAIL was refused, this only says so once more
    Verdict verdict = Verdict::of(*reply);
    t.fewer[index] = wants_fewer(*reply, t.lines.size());
    t.verdicts[index] = std::move(verdict);
    if (reply->code < 400) usable_ = false;
    if (!usable_) t.settle(Verdict(Fate::deferred, "4.4.2", "The server closed the connection: " + reply->to_string()));
}

net::Task<void> Client::send_data(Transaction& t, MessageSource& message) {
    const auto reply = co_await hear(options_.timeouts.data_start);
    if (!reply) {
        broke(t, reply.error());
        co_return;
    }
    if (reply->code != 354) {
        Verdict verdict = Verdict::of(*reply);
        if (verdict.fate == Fate::delivered) {  // a 250 to DATA: nothing has been handed over
            verdict.fate = Fate::deferred;
            usable_ = false;
        }
        t.settle(verdict);
        co_return;
    }
    // An answer that is there before the message is none to it.
    if (!stream_.buffered().empty()) {
        co_await finish_data(t);
        co_return;
    }
    if (co_await send_octets(t, message)) co_await finish_data(t);
}

// False where everybody has a verdict already. Small pieces are written together, the dot with them: each write wakes
// the other side.
net::Task<bool> Client::send_octets(Transaction& t, MessageSource& message) {
    smtp::DotStuffer stuffer;
    std::uint64_t octets = 0;
    std::string wire;
    bool begun = false;
    for (;;) {
        const auto piece = co_await message.next();
        if (!piece) {
            // Without the dot the remote throws away what it has (RFC 5321 4.1.1.4).
            stream_.raw().close();
            usable_ = false;
            dialogue_->note("the message could not be read: " + piece.error().context);
            t.settle(Verdict(Fate::deferred, "4.3.0", "The message could not be read here: " + piece.error().context));
            co_return false;
        }
        octets += piece->size();
        if (!piece->empty()) {
            stuffer.append(wire, *piece);
            if (wire.size() < kWriteOctets) continue;
        } else {
            if (begun && !stream_.buffered().empty()) {
                co_return true;  // it spoke before the end: finish_data judges, the dot is kept back
            }
            stuffer.finish(wire);
        }
        begun = true;
        stream_.raw().expires_in(options_.timeouts.data_block);
        const auto written = co_await stream_.write(wire);
        if (!written) {
            usable_ = false;
            co_return true;  // a refusal may have arrived before the connection broke
        }
        if (piece->empty()) break;
        wire.clear();
    }
    dialogue_->client(fmt::format("(the message, {} octets, and the final dot)", octets));
    t.dot_sent = true;
    co_return true;
}

net::Task<void> Client::finish_data(Transaction& t) {
    const bool ended = t.dot_sent;
    const auto max = ended ? options_.timeouts.data_end : options_.timeouts.quit;
    const auto reply = co_await hear(max);
    if (!reply) {
        broke(t, reply.error());
        co_return;
    }
    mail_open_ = false;
    Verdict verdict = Verdict::of(*reply);
    if (!ended) {
        usable_ = false;
        dialogue_->note("the server answered before the message had been sent");
    }
    verdict.after_message = true;
    if (verdict.fate == Fate::delivered && !ended) {
        verdict = Verdict(Fate::deferred, "4.5.0",
                          "The server answered before the message had been sent: " + reply->to_string());
    }
    if (reply->code >= 300 && reply->code < 400) usable_ = false;
    t.settle(verdict);
}

}  // namespace posthouse::relay
