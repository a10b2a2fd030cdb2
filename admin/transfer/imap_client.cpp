#include "admin/transfer/imap_client.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "protocols/base/ascii.h"
#include "protocols/base/log.h"
#include "protocols/crypto/crypto.h"
#include "protocols/sasl/sasl.h"
#include "protocols/sasl/scram.h"

namespace posthouse::transfer {
namespace {

using imap::Condition;

// Response codes and words by which servers ask for patience (RFC 5530 3, RFC 9051 7.1; Gmail's own).
constexpr std::array<std::string_view, 6> kThrottleCodes = {"LIMIT",       "OVERQUOTA", "THROTTLED",
                                                            "UNAVAILABLE", "INUSE",     "SERVERBUG"};
constexpr std::array<std::string_view, 5> kThrottleWords = {"bandwidth", "too many", "throttl", "rate limit",
                                                            "try again"};

bool asks_for_patience(const Condition& condition) {
    if (std::ranges::find(kThrottleCodes, condition.code) != kThrottleCodes.end()) return true;
    return std::ranges::any_of(kThrottleWords, [&](std::string_view word) {
        return ascii::find_ci(condition.text, word) != std::string_view::npos;
    });
}

// What the server said, fit for one line of ours.
std::string quoted_text(const Condition& condition) {
    std::string text = log::escape(condition.text.substr(0, 200));
    if (!condition.code.empty()) text = fmt::format("[{}] {}", condition.code, text);
    return text;
}

}  // namespace

bool is_lost(Errc code) {
    return code == Errc::closed || code == Errc::timeout || code == Errc::unreachable || code == Errc::io ||
           code == Errc::dns_temporary;
}

Result<std::string> ImapClient::quote(std::string_view text) {
    std::string out = "\"";
    for (const char c : text) {
        if (c == '\r' || c == '\n' || c == '\0') return Error(Errc::unsupported, "a line end cannot be quoted");
        if (c == '"' || c == '\\') out += '\\';
        out += c;
    }
    return out + '"';
}

Result<std::unique_ptr<ImapClient>> ImapClient::open(const ImapOutside& outside, const ImapUrl& url,
                                                     const std::string& password) {
    std::vector<net::IpAddress> addresses;
    if (const auto literal = net::IpAddress::parse(url.host)) {
        addresses.push_back(*literal);
    } else if (url.host == "localhost") {  // RFC 6761 6.3
        addresses.push_back(net::IpAddress::v4(0x7f000001));
    } else {
        TRY(addresses, outside.resolve(url.host));
        if (addresses.empty()) return Error(Errc::not_found, fmt::format("the host {} has no address", url.host));
    }
    std::optional<Error> last;
    for (const net::IpAddress& address : addresses) {
        auto client = open_at(outside, url, net::Endpoint(address, url.port), password);
        if (client || client.error().code == Errc::cancelled) return client;
        // A server that answered has spoken for the others too.
        if (client.error().code == Errc::unauthenticated || client.error().code == Errc::tls) return client;
        last = client.error();
    }
    return *last;
}

Result<std::unique_ptr<ImapClient>> ImapClient::open_at(const ImapOutside& outside, const ImapUrl& url,
                                                        net::Endpoint at, const std::string& password) {
    if (url.security == ImapUrl::Security::plain && !at.address.is_loopback() && !at.address.is_private()) {
        return Error(Errc::denied, fmt::format("{} is no address of a private network; use imaps://", at.to_string()));
    }
    auto stream = run_to_end(*outside.loop, outside.dialer->dial(at, net::DialOptions()));
    if (!stream) {
        const Errc code = stream.error().code == Errc::refused ? Errc::unreachable : stream.error().code;
        return Error(code,
                     fmt::format("no connection to {} ({}): {}", url.host, at.to_string(), stream.error().context));
    }
    auto wire = std::make_unique<ImapWire>(*outside.loop, *std::move(stream), outside.silence_max, outside.interrupted);
    std::unique_ptr<ImapClient> out(new ImapClient(outside, url, std::move(wire)));
    if (url.security == ImapUrl::Security::implicit_tls) TRY_VOID(out->protect());
    TRY_VOID(out->greet());
    if (url.security == ImapUrl::Security::starttls) {
        if (!out->can("STARTTLS")) {
            return Error(Errc::tls, fmt::format("{} offers no STARTTLS, and the password is not sent in clear; "
                                                "try imaps://{}@{}",
                                                url.host, url.user, url.host));
        }
        TRY_VOID(out->command("STARTTLS", nullptr));
        TRY_VOID(out->protect());
        out->capabilities_told_ = false;  // what was said in clear does not count (RFC 3501 6.2.1)
        TRY_VOID(out->learn_capabilities());
    }
    if (!out->logged_in_) TRY_VOID(out->log_in(password));
    return out;
}

ImapClient::~ImapClient() {
    if (logged_in_) static_cast<void>(wire_->send("z LOGOUT\r\n").has_value());
}

Result<> ImapClient::protect() {
    if (outside_.tls == nullptr) return Error(Errc::internal, "there is no TLS context for the connection");
    const Result<> done = wire_->start_tls(*outside_.tls, url_.tls_name);
    if (done || done.error().code != Errc::tls) return done;
    return Error(Errc::tls, fmt::format("the connection to {} is not safe: {}; give the authority that signed its "
                                        "certificate with --ca-file FILE, or the name in it as ?name=HOST",
                                        url_.host, done.error().context));
}

// greeting = "*" SP (resp-cond-auth / resp-cond-bye) CRLF
Result<> ImapClient::greet() {
    TRY(ImapEvent event, next());
    const auto* condition = std::get_if<Condition>(&event.response.data);
    if (event.kind != ImapEvent::Kind::untagged || condition == nullptr) {
        return Error(Errc::invalid,
                     fmt::format("{} does not greet as an IMAP server; is this the right port?", url_.host));
    }
    if (condition->kind == Condition::Kind::preauth) logged_in_ = true;
    if (condition->kind == Condition::Kind::no || condition->kind == Condition::Kind::bad) {
        return Error(Errc::limit, fmt::format("{} turns us away: {}", url_.host, quoted_text(*condition)));
    }
    return learn_capabilities();
}

Result<> ImapClient::learn_capabilities() {
    if (capabilities_told_) return {};
    return command("CAPABILITY", nullptr);
}

Result<> ImapClient::log_in(const std::string& password) {
    capabilities_told_ = false;
    if (can("AUTH=PLAIN")) {
        const Result<> done = authenticate_plain(password);
        if (!done && done.error().code == Errc::invalid && !can("LOGINDISABLED")) {
            TRY_VOID(plain_login(password));  // the server says BAD to what it offers
        } else {
            TRY_VOID(done);
        }
    } else if (can("AUTH=SCRAM-SHA-256") || can("AUTH=SCRAM-SHA-256-PLUS")) {
        TRY_VOID(authenticate_scram(password));
    } else if (can("LOGINDISABLED")) {  // RFC 3501 6.2.3
        return Error(Errc::unsupported,
                     fmt::format("{} takes no password over this connection; use imaps://", url_.host));
    } else {
        TRY_VOID(plain_login(password));
    }
    logged_in_ = true;
    // Another set may be on offer now (RFC 3501 6.2.3); a server that told it with OK is not asked.
    return learn_capabilities();
}

// authenticate = "AUTHENTICATE" SP auth-type [SP initial-resp] *(CRLF base64)      RFC 4616, RFC 4959
Result<> ImapClient::authenticate_plain(const std::string& password) {
    TRY(const std::string response, sasl::plain_response(url_.user, password));
    const std::string encoded = crypto::base64_encode(response);
    if (can("SASL-IR")) return command("AUTHENTICATE PLAIN " + encoded, nullptr);
    TRY(const std::string tag, begin("AUTHENTICATE PLAIN"));
    return continue_with(tag, encoded + "\r\n");
}

Result<std::optional<std::string>> ImapClient::next_challenge(const std::string& tag, Result<>& verdict) {
    for (;;) {
        TRY(ImapEvent event, next());
        if (event.kind == ImapEvent::Kind::tagged) {
            if (event.response.tag != tag) {
                return Error(Errc::invalid, fmt::format("{} answers a command that was never sent", url_.host));
            }
            verdict = event.verdict;
            return std::optional<std::string>();
        }
        const auto* asked = std::get_if<imap::Continuation>(&event.response.data);
        if (event.kind != ImapEvent::Kind::untagged || asked == nullptr) continue;
        TRY(std::string challenge, crypto::base64_decode(ascii::trim(asked->text)));
        return std::optional(std::move(challenge));
    }
}

// RFC 5802, RFC 7677: where the server takes no PLAIN. It has to know the password's keys too, or it is an impostor.
Result<> ImapClient::authenticate_scram(const std::string& password) {
    constexpr std::size_t kNonceOctets = 18;
    sasl::ChannelBinding binding;
    binding.exporter = wire_->tls_binding().exporter;
    sasl::ScramClient scram(url_.user, password, std::move(binding), can("AUTH=SCRAM-SHA-256-PLUS"),
                            crypto::base64_encode(crypto::random_octets(kNonceOctets)));
    TRY(const std::string tag, begin(fmt::format("AUTHENTICATE {}", scram.mechanism())));
    bool believed = false;
    Result<> verdict;
    for (int step = 0;; ++step) {
        TRY(const auto challenge, next_challenge(tag, verdict));
        if (!challenge) break;
        std::string answer;
        switch (step) {
            case 0: answer = scram.first(); break;
            case 1: {
                TRY(answer, scram.answer(*challenge));
                break;
            }
            case 2: {
                TRY_VOID(scram.check(*challenge));
                believed = true;
                break;
            }
            default: return Error(Errc::invalid, fmt::format("{} asks for more than was to be said", url_.host));
        }
        TRY_VOID(wire_->send(crypto::base64_encode(answer) + "\r\n"));
    }
    TRY_VOID(verdict);
    if (believed) return {};
    return Error(Errc::unauthenticated, fmt::format("{} did not show that it knows the password", url_.host));
}

// login = "LOGIN" SP userid SP password
Result<> ImapClient::plain_login(const std::string& password) {
    TRY(const std::string user, quote(url_.user));
    const auto secret = quote(password);
    const bool plain = secret && !ascii::has_8bit(password) && password.size() < 500;
    if (plain) return command(fmt::format("LOGIN {} {}", user, *secret), nullptr);
    // What no quoted string of RFC 3501 can hold goes as a literal.
    TRY(const std::string tag, begin(fmt::format("LOGIN {} {{{}}}", user, password.size())));
    return continue_with(tag, password + "\r\n");
}

Result<> ImapClient::continue_with(const std::string& tag, std::string_view octets) {
    bool sent = false;
    for (;;) {
        TRY(ImapEvent event, next());
        if (event.kind == ImapEvent::Kind::tagged) {
            if (event.response.tag == tag) return event.verdict;
            return Error(Errc::invalid, fmt::format("{} answers a command that was never sent", url_.host));
        }
        if (event.kind != ImapEvent::Kind::untagged || !event.response.tag.empty() ||
            !std::holds_alternative<imap::Continuation>(event.response.data)) {
            continue;
        }
        if (sent) return Error(Errc::invalid, fmt::format("{} asks for more than was to be said", url_.host));
        sent = true;
        TRY_VOID(wire_->send(octets));
    }
}

Result<std::string> ImapClient::begin(std::string_view text) {
    std::string tag = fmt::format("p{}", ++last_tag_);
    TRY_VOID(wire_->send(fmt::format("{} {}\r\n", tag, text)));
    return tag;
}

Result<> ImapClient::command(std::string_view text, const Visitor& visit) {
    TRY(const std::string tag, begin(text));
    return wait_for(tag, visit);
}

Result<> ImapClient::wait_for(const std::string& tag, const Visitor& visit) {
    for (;;) {
        TRY(ImapEvent event, next());
        if (event.kind == ImapEvent::Kind::tagged) {
            if (event.response.tag == tag) return event.verdict;
            return Error(Errc::closed, fmt::format("{} answers a command that was never sent", url_.host));
        }
        if (event.kind == ImapEvent::Kind::untagged && visit) visit(event.response.data);
    }
}

Result<ImapEvent> ImapClient::next() {
    TRY(const imap::ReaderEvent read, wire_->next());
    ImapEvent out;
    if (read.kind == imap::ReaderEvent::Kind::body_begin) {
        out.kind = ImapEvent::Kind::body_begin;
        out.octets_total = read.octets_total;
        return out;
    }
    if (read.kind == imap::ReaderEvent::Kind::body) {
        out.kind = ImapEvent::Kind::body;
        out.octets = read.octets;
        return out;
    }
    auto parsed = imap::parse_response(wire_->reader().text(), wire_->reader().had_body());
    if (!parsed && logged_in_ && wire_->reader().text().starts_with("* ")) {
        out.garbled = true;  // its reader decides what that means
        return out;
    }
    TRY(out.response, std::move(parsed));
    take_note(out.response.data);
    const auto* condition = std::get_if<Condition>(&out.response.data);
    if (!out.response.tag.empty()) {
        out.kind = ImapEvent::Kind::tagged;
        out.verdict = verdict_of(*condition);
    } else if (condition != nullptr && condition->kind == Condition::Kind::bye) {
        const Errc code = asks_for_patience(*condition) ? Errc::limit : Errc::closed;
        return Error(code, fmt::format("{} says goodbye: {}", url_.host, quoted_text(*condition)));
    }
    return out;
}

void ImapClient::take_note(const imap::ResponseData& data) {
    const auto learn = [this](const imap::Capabilities& told) {
        capabilities_.clear();
        capabilities_.insert(told.names.begin(), told.names.end());
        capabilities_told_ = true;
    };
    if (const auto* told = std::get_if<imap::Capabilities>(&data)) learn(*told);
    const auto* condition = std::get_if<Condition>(&data);
    if (condition == nullptr) return;
    if (condition->code == "CAPABILITY") learn(imap::parse_capabilities(condition->arguments));
    if (condition->code == "ALERT" && condition->text != last_alert_) {  // must be shown (RFC 3501 7.1)
        last_alert_ = condition->text;
        outside_.note(fmt::format("{} says: {}", url_.host, quoted_text(*condition)));
    }
}

Result<> ImapClient::verdict_of(const Condition& condition) const {
    if (condition.kind == Condition::Kind::ok) return {};
    const std::string said = quoted_text(condition);
    if (condition.kind == Condition::Kind::bad) {
        return Error(Errc::invalid, fmt::format("{} does not understand us: {}", url_.host, said));
    }
    if (asks_for_patience(condition))
        return Error(Errc::limit, fmt::format("{} asks for patience: {}", url_.host, said));
    if (!logged_in_) {
        return Error(Errc::unauthenticated, fmt::format("{} does not let {} in: {}; check the user and the password, "
                                                        "and whether IMAP is allowed there",
                                                        url_.host, url_.user, said));
    }
    return Error(Errc::refused, fmt::format("{} says no: {}", url_.host, said));
}

Result<Selected> ImapClient::examine(const std::string& name) {
    Selected out;
    TRY(std::string text, quote(name));
    text = "EXAMINE " + text;
    if (can("CONDSTORE")) text += " (CONDSTORE)";  // RFC 7162 3.1.8
    TRY_VOID(command(text, [&](imap::ResponseData& data) {
        if (const auto* count = std::get_if<imap::Count>(&data)) {
            if (count->kind == imap::Count::Kind::exists) out.exists = count->number;
            return;
        }
        const auto* condition = std::get_if<Condition>(&data);
        if (condition == nullptr) return;
        const auto number = ascii::parse_number(ascii::trim(condition->arguments));
        if (!number) return;
        if (condition->code == "UIDVALIDITY") out.uid_validity = static_cast<std::uint32_t>(*number);
        if (condition->code == "UIDNEXT") out.uid_next = static_cast<std::uint32_t>(*number);
        if (condition->code == "HIGHESTMODSEQ") out.highest_modseq = *number;
    }));
    return out;
}

}  // namespace posthouse::transfer
