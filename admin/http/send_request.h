#pragma once
/// admin/http/send_request: from what a program asks to the message and its envelope. Names are the field's usual ones:
///
///   from, to, cc, bcc, reply_to     "Shop <shop@example.org>", or {"name": ..., "address": ...}; lists of them
///   subject, text, html             UTF-8
///   headers                         {"X-Order": "17"}: what is not made from the others
///   attachments                     [{"name", "type", "content" (base64), "content_id", "inline"}]
///   stream                          the name of one (storage/streams.h): its class, and one-click unsubscribing
///   class                           "transactional" or "bulk"
///   tags, metadata                  ["welcome"], {"order": "17"}: for the sender alone
///   envelope                        {"from", "to", "envid", "notify", "ret", "require_tls"} (RFC 3461, RFC 8689)
/// A field that is not known is an error: a typo must not send half a message.
/// Threads: any.   Limits: below, and storage/submissions.h.
#include <Poco/JSON/Object.h>

#include <map>
#include <optional>
#include <string>

#include "admin/http/json_body.h"
#include "protocols/base/random.h"
#include "storage/submissions.h"

namespace posthouse::admin {

inline constexpr std::size_t kSubjectOctetsMax = 900;
inline constexpr std::size_t kCustomHeadersMax = 100;
inline constexpr std::size_t kCustomHeaderOctetsMax = 900;
inline constexpr std::size_t kAttachmentsMax = 100;
inline constexpr std::size_t kEnvidOctetsMax = 100;  // RFC 3461 4.4

/// What is wrong with a request, and where: "to[2]", "attachments[0].content".
struct SendFault {
    std::string field;
    std::string sentence;
};

/// Fills recipients, octets and envelope of `out` from one message in JSON. `prefix` stands before the fields' names.
std::optional<SendFault> read_message(const Poco::JSON::Object& object, const std::string& prefix, Random& random,
                                      storage::Submission& out);
/// The same from a message as it is and the query: from, to (several: commas between), stream, class, tags (likewise),
/// envid, notify, ret, require_tls. Without `to` its To, Cc and Bcc fields count,
/// which must be lists of addresses then.
std::optional<SendFault> read_mail(std::string body, const std::map<std::string, std::string>& query,
                                   storage::Submission& out);

}  // namespace posthouse::admin
