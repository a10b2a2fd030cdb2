// What a webhook is told, and the proof that it is from us; see webhooks.h.
#include <Poco/JSON/Array.h>
#include <Poco/JSON/Object.h>
#include <fmt/format.h>

#include <algorithm>
#include <sstream>

#include "protocols/base/ascii.h"
#include "protocols/crypto/crypto.h"
#include "protocols/mime/date.h"
#include "relay/webhooks.h"

namespace posthouse::relay {

namespace {

using Poco::JSON::Object;

// JSON is UTF-8 (RFC 8259 8.1); what a remote said may be anything.
std::string utf8_of(const std::string& text) {
    if (ascii::is_valid_utf8(text)) return text;
    std::string out;
    for (const char c : text) out += ascii::is_8bit(c) ? std::string("\xEF\xBF\xBD") : std::string(1, c);
    return out;
}

Object::Ptr json_of(const TellableEvent& one) {
    const storage::Event& event = one.event;
    Object::Ptr data = new Object(Poco::JSON_PRESERVE_KEY_ORDER);
    const auto set = [&](const char* name, const std::string& value) {
        if (!value.empty()) data->set(name, utf8_of(value));
    };
    if (storage::raw(event.queue) != 0) set("queue_id", storage::format_queue_id(event.queue));
    set("message_id", event.message_id);
    if (!event.recipient.empty()) data->set("sender", utf8_of(event.sender));  // "" is the null sender
    set("recipient", event.recipient);
    set("account", one.account);
    set("domain", event.facts.domain);
    set("way", event.facts.way);
    set("route", event.facts.route);
    set("address", event.facts.source);
    set("provider", event.facts.provider);
    set("class", event.facts.reply_class);
    set("detail", event.detail);
    Object::Ptr out = new Object(Poco::JSON_PRESERVE_KEY_ORDER);
    out->set("id", storage::format_event_id(event.id));
    out->set("type", std::string(storage::webhook_kind(event.kind)));
    out->set("timestamp", format_rfc3339(event.at));
    out->set("data", data);
    return out;
}

constexpr Milliseconds kWaitFirst{5'000};
constexpr Milliseconds kWaitMost{3'600'000};
constexpr std::uint32_t kDoublingsMax = 20;

}  // namespace

std::string webhook_message_id(std::span<const TellableEvent> events) {
    if (events.empty()) return "";
    const std::string first = storage::format_event_id(events.front().event.id);
    return events.size() == 1 ? first : fmt::format("{}_{}", first, events.back().event.id);
}

std::string webhook_body(std::span<const TellableEvent> events, bool as_array) {
    std::ostringstream out;
    if (!as_array && events.size() == 1) {
        json_of(events.front())->stringify(out);
        return out.str();
    }
    Poco::JSON::Array array;
    for (const TellableEvent& one : events) array.add(json_of(one));
    array.stringify(out);
    return out.str();
}

std::string webhook_signature(std::string_view secret, std::string_view id, std::int64_t timestamp,
                              std::string_view body) {
    const crypto::Sha256Digest mac = crypto::hmac_sha256(secret, fmt::format("{}.{}.{}", id, timestamp, body));
    return "v1," + crypto::base64_encode(std::string_view(reinterpret_cast<const char*>(mac.data()), mac.size()));
}

Milliseconds retry_after(std::string_view field, Time now) {
    const std::string_view text = ascii::trim(field);
    if (const auto seconds = ascii::parse_number(text)) {
        const auto most = static_cast<std::uint64_t>(kRetryAfterMost.count()) / 1000;
        return Milliseconds(static_cast<std::int64_t>(std::min(*seconds, most)) * 1000);
    }
    const auto date = mime::parse_date(text);
    if (!date) return Milliseconds(0);
    return std::clamp(Milliseconds(date->utc - now), Milliseconds(0), kRetryAfterMost);
}

Milliseconds webhook_wait(std::uint32_t failures) {
    return std::min(kWaitFirst * (std::int64_t{1} << std::min(failures, kDoublingsMax)), kWaitMost);
}

}  // namespace posthouse::relay
