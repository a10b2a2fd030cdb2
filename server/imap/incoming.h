#pragma once
/// server/imap/incoming: messages off the wire for APPEND and REPLACE: literals, parts of other messages (CATENATE),
/// one message or many. Octets go to the store's stage as they come; nothing is in a mailbox before the commit.
///
/// Invariants  1. Octets of a message are never read as a command: what is refused is dropped, or never comes because
///                it was not granted.
///             2. Bare LF becomes CRLF, so that RFC822.SIZE is the octets that BODY[] gives. What came as literal8 in a
///                part that says "binary" keeps its octets, in base64 (RFC 3516 4.4): a client without BINARY is never
///                sent a NUL.
/// Threads: the loop's.   Limits: message_octets_max, append_octets_max, append_parts_max (protocols/imap/limits.h).
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/imap/append.h"
#include "server/imap/session.h"

namespace posthouse::server::imap {

/// Line ends on their way into the store; a bare CR is data, NUL is noted.
class Intake {
 public:
    /// exact: octets that are looked at when all are there.
    enum class Ends { mended, exact };
    explicit Intake(std::unique_ptr<storage::BodyWriter> writer, Ends ends = Ends::mended)
        : writer_(std::move(writer)), ends_(ends) {}
    Result<> take(std::string_view piece);
    Result<storage::StagedBodyPtr> finish() { return writer_->finish(); }
    std::uint64_t size_octets() const { return writer_->size_octets(); }
    bool has_nul() const { return has_nul_; }
    /// Octets that are no text in lines came in as they are.
    bool is_raw() const { return ends_ == Ends::exact && (has_nul_ || has_bare_lf_); }

 private:
    std::unique_ptr<storage::BodyWriter> writer_;
    Ends ends_;
    std::string out_;
    bool has_bare_lf_ = false;
    bool after_cr_ = false;
    bool has_nul_ = false;
};

/// "APPENDUID 38505 3955:3957" (RFC 4315 3, RFC 3502); "" where the client is not to see it.
std::string append_uid_code(const Session& session, const Appended& appended);

class Incoming {
 public:
    Incoming(Session& session, posthouse::imap::Messages messages)
        : session_(session), parser_(messages, session.limits()) {}

    /// Reads the whole command, whose text behind the mailbox is `text`. Nothing: messages() are complete. Else what
    /// to answer; the command is off the wire then too.
    net::Task<std::optional<Reply>> receive(std::string_view text);
    /// The command is refused without looking: what belongs to it is dropped.
    net::Task<Reply> refuse(std::string_view text, Reply reply);
    std::vector<NewMessage>& messages() { return messages_; }

 private:
    net::Task<Result<>> take_events(std::vector<posthouse::imap::AppendEvent> events);
    net::Task<Result<>> take_literal();
    net::Task<Result<>> take_url(std::string_view url);
    net::Task<Result<>> copy_part(MailboxId mailbox, const posthouse::imap::MessageUrl& url,
                                  const posthouse::imap::Section& section);
    net::Task<std::optional<Reply>> drain(Reply reply);
    Result<> check_offered_event(const posthouse::imap::AppendEvent& event);
    net::Task<void> begin(const posthouse::imap::AppendEvent& event);
    net::Task<bool> finish_message();
    net::Task<Result<>> encode_binary();
    bool check_size(std::uint64_t more);
    void refuse_with(Reply reply);

    Session& session_;
    posthouse::imap::AppendParser parser_;
    std::optional<posthouse::imap::LiteralMark> mark_;  // of the octets that come next
    std::vector<NewMessage> messages_;
    std::unique_ptr<Intake> intake_;
    storage::AppendOptions options_;
    std::uint64_t octets_ = 0;  // of all messages so far
    bool begun_ = false;        // a message
    bool utf8_ = false;         // its literal is in UTF8 (...)
    std::optional<Reply> refusal_;
};

}  // namespace posthouse::server::imap
