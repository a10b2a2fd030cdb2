#pragma once
/// relay/report: delivery reports: multipart/report with a text for people and fields for machines.
/// RFC 3464 (message/delivery-status), RFC 6522 (the frame), RFC 3461 6 (RET, ENVID, ORCPT), RFC 6533 (UTF-8),
/// RFC 3834 5 (Auto-Submitted). The first line of the text says what happened in plain words, then what to do.
/// Pure but for `random`.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "protocols/base/clock.h"
#include "protocols/base/random.h"
#include "storage/queue.h"

namespace posthouse::relay {

enum class ReportKind { failed, delayed, relayed, delivered, expanded };

struct ReportedRecipient {
    std::string address;
    std::string orcpt;   ///< "rfc822;bob@example.org" or ""
    std::string status;  ///< "5.1.1"; made up from the kind where it is no status code
    std::string reply;   ///< the remote's words or our own sentence
    bool from_remote = false;
    bool expired = false;
    std::string remote;  ///< "mx.b.example [192.0.2.1]" or ""
    ReportedRecipient() = default;
};

struct Report {
    ReportKind kind = ReportKind::failed;
    std::string hostname;
    storage::QueueItem item;
    std::vector<ReportedRecipient> recipients;
    std::string original_header;          ///< header block of the message with its empty line
    std::optional<std::string> original;  ///< the whole message: RET=FULL of a failure
    Time now{};
    Report() = default;
};

/// The whole message, CRLF line ends, ready to be stored and sent with the null sender.
std::string format_report(const Report& report, Random& random);

/// What a status code means for the sender: one sentence of cause, one of advice. By RFC 3463 3 and the registry.
struct Explanation {
    std::string_view cause;
    std::string_view advice;
};
Explanation explain_status(std::string_view status);

}  // namespace posthouse::relay
