#pragma once
/// server/smtp/intake: the octets of one message on their way to the backend: limits, line ends, header rules.
///
/// The header block is held (within its limit) until it is complete, handed to the rules of the service, and written
/// with
/// the trace fields on top; everything behind it streams through. The first fault wins: from then on octets are counted
/// and forgotten, so that the session reads on to the true end of the message and answers once.
/// Threads: the session's.
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "protocols/smtp/reply.h"
#include "server/smtp/backend.h"
#include "server/smtp/content.h"
#include "server/smtp/options.h"

namespace posthouse::server::smtp {

/// What the rules of a service make of a header block.
struct PreparedHeader {
    std::optional<wire::Reply> refusal;
    std::string octets;                ///< the block to keep: trace fields, fields, and the empty line if it had one
    bool tls_not_required = false;     ///< "TLS-Required: No" (RFC 8689 3)
    std::optional<wire::Path> author;  ///< submission: the mailbox of From, whose owner the login must be
    std::string key;                   ///< submission: the Idempotency-Key field, which is taken off
    std::string stream;                ///< submission: the X-Posthouse-Stream field, likewise

    PreparedHeader() = default;
    explicit PreparedHeader(wire::Reply reply) : refusal(std::move(reply)) {}
};
using HeaderRules = std::function<PreparedHeader(std::string_view header_block)>;

class Intake {
 public:
    Intake(std::unique_ptr<BodySink> sink, const SmtpLimits& limits, HeaderRules rules);

    /// Message octets, dots already undone.
    void append(std::string_view octets);
    /// The end of the message. A refusal, or nothing where it may be accepted.
    std::optional<wire::Reply> finish();
    /// Why the message is lost already, if it is: what still comes is only counted.
    const std::optional<wire::Reply>& fault() const { return fault_; }
    /// Bare CR, LF or NUL were met: an unauthenticated peer that sends them is shown the door.
    bool smuggled() const { return smuggled_; }
    bool has_8bit() const { return scan_.has_8bit(); }
    std::uint64_t octets() const { return octets_; }
    bool tls_not_required() const { return tls_not_required_; }
    const std::optional<wire::Path>& author() const { return author_; }
    const std::string& key() const { return key_; }
    const std::string& stream() const { return stream_; }
    BodySink& sink() { return *sink_; }
    std::unique_ptr<BodySink> take_sink() { return std::move(sink_); }

 private:
    void fail(wire::Reply reply);
    void write(std::string_view octets);
    void take_header(std::string_view octets);
    void end_header();

    std::unique_ptr<BodySink> sink_;
    const SmtpLimits& limits_;
    HeaderRules rules_;
    LineScan scan_;
    std::string header_;  // until the empty line has come
    bool in_header_ = true;
    bool smuggled_ = false;
    bool tls_not_required_ = false;
    std::uint64_t octets_ = 0;
    std::optional<wire::Path> author_;
    std::string key_;
    std::string stream_;
    std::optional<wire::Reply> fault_;
};

}  // namespace posthouse::server::smtp
