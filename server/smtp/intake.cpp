#include "server/smtp/intake.h"

#include <algorithm>

#include "server/smtp/replies.h"

namespace posthouse::server::smtp {

Intake::Intake(std::unique_ptr<BodySink> sink, const SmtpLimits& limits, HeaderRules rules)
    : sink_(std::move(sink)), limits_(limits), rules_(std::move(rules)) {}

void Intake::fail(wire::Reply reply) {
    if (!fault_) fault_ = std::move(reply);
    sink_.reset();
    std::string().swap(header_);
}

void Intake::write(std::string_view octets) {
    if (fault_ || octets.empty()) return;
    const auto taken = sink_->append(octets);
    if (!taken) fail(reply_for(taken.error()));
}

void Intake::append(std::string_view octets) {
    octets_ += octets.size();
    scan_.feed(octets);
    if (fault_) return;
    if (octets_ > limits_.message_octets_max) {
        return fail(wire::Reply(552, "5.3.4", "The message is larger than this server takes"));
    }
    if (in_header_) {
        take_header(octets);
    } else {
        write(octets);
    }
}

void Intake::take_header(std::string_view octets) {
    // An empty line at the very start: a message without fields.
    const std::size_t searched = header_.size() < 3 ? 0 : header_.size() - 3;
    header_.append(octets);
    std::size_t end = header_.starts_with("\r\n") ? 2 : std::string::npos;
    if (end == std::string::npos) {
        const std::size_t blank = header_.find("\r\n\r\n", searched);
        if (blank != std::string::npos) end = blank + 4;
    }
    if (std::min(end, header_.size()) > limits_.header_octets_max) {
        return fail(wire::Reply(552, "5.3.4", "The message header is too large"));
    }
    if (end == std::string::npos) return;
    // The rest of this piece is body: it is written straight from where it lies.
    const std::size_t body = header_.size() - end;
    header_.resize(end);
    end_header();
    write(octets.substr(octets.size() - body));
}

void Intake::end_header() {
    in_header_ = false;
    PreparedHeader prepared = rules_(header_);
    std::string().swap(header_);
    if (prepared.refusal) return fail(*std::move(prepared.refusal));
    author_ = std::move(prepared.author);
    key_ = std::move(prepared.key);
    stream_ = std::move(prepared.stream);
    tls_not_required_ = prepared.tls_not_required;
    write(prepared.octets);
}

std::optional<wire::Reply> Intake::finish() {
    if (!scan_.clean()) {
        // RFC 5321 2.3.8: CR and LF only ever come together; anything else is how one message is made to look like two.
        smuggled_ = true;
        sink_.reset();
        return wire::Reply(550, "5.6.0", "The message holds a bare CR, a bare LF or a NUL");
    }
    if (!fault_ && in_header_) end_header();
    return fault_;
}

}  // namespace posthouse::server::smtp
