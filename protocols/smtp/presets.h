#pragma once
/// protocols/smtp/presets: services that take mail for others, as data: where they are, how one logs in, what they
/// allow, which DNS records they ask for, and what their replies mean. Pure.
///
/// The figures are those the services publish; a way may set smaller ones. A reply that speaks of the account (its
/// rate, its quota, its login) says nothing about the message: the whole way waits, or the next one is taken.
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "protocols/smtp/relay_url.h"

namespace posthouse::smtp {

struct PresetPort {
    std::uint16_t port;
    RelayUrl::Security security;
};

/// {domain} is the sender's domain, {region} and {id} are filled in by the service.
struct PresetRecord {
    std::string_view type;
    std::string_view name;
    std::string_view value;
};

/// What a reply of a service speaks of.
enum class ReplyScope : std::uint8_t {
    message,       ///< this recipient or message: the usual rules
    account_rate,  ///< too fast for the account: the way rests a little
    account_day,   ///< the allowance of the hour or day is used up: the way rests long, others may be taken
    account_auth,  ///< the login, or an account that may not send: the way is of no use until somebody mends it
    sender,        ///< From or MAIL is not verified there: this sender cannot go by this way
};
std::string_view to_string(ReplyScope scope);

struct PresetReply {
    unsigned code;              ///< 0: any
    std::string_view contains;  ///< part of the text, in any case; "": any
    ReplyScope scope;
    std::string_view meaning;  ///< one plain sentence
};

struct PresetHeader {
    std::string_view name;
    std::string_view value;  ///< {queue} stands for an identifier of the message that stays the same at every attempt
};

struct Preset {
    std::string_view name;
    std::string_view title;
    std::string_view host;                ///< {region} and {tenant} come from the URL's options
    std::string_view region{};            ///< what stands for {region} where none was given; "" where one must be
    std::span<const PresetPort> ports{};  ///< the first is the default
    std::string_view fixed_user{};        ///< "": the caller's own
    std::string_view user{};              ///< what to give as user and password
    bool login = true;                    ///< false: known by address or certificate, no AUTH
    bool login_optional = false;          ///< it may also know us by our address: then no user is given
    std::string_view example{};
    std::uint32_t connections_max = 0;  ///< 0 throughout: not limited, or not published
    std::uint32_t minute_max = 0;
    std::uint32_t day_max = 0;
    std::uint64_t message_octets_max = 0;
    std::uint32_t recipients_max = 0;
    std::span<const PresetHeader> headers{};          ///< set on what goes there
    std::span<const std::string_view> own_headers{};  ///< names or prefixes ("X-PM-") that only this service may see
    std::span<const PresetRecord> records{};
    std::string_view return_path{};  ///< domain that the service itself puts into the reverse-path; "" where ours stays
    bool own_address_only = false;   ///< only addresses of the account as envelope sender: one with a token is refused
    std::span<const PresetReply> replies{};
    std::string_view token_url{};  ///< XOAUTH2: where tokens are had; {tenant} from the URL's options
    std::string_view scope{};
    std::string_view note{};
};

std::span<const Preset> presets();
/// Null for an unknown name; any case.
const Preset* find_preset(std::string_view name);
/// What the service asks its customers to include in SPF of the sender's domain: "mailgun.org"; "" for nothing.
std::string spf_include_of(const Preset& preset);
/// The row that a reply of this service fits, or null: then the usual rules decide.
const PresetReply* judge_reply(const Preset& preset, unsigned code, std::string_view text);
/// Whether a header field is meant for a service other than `preset` ("" for none) and must not leave with the message.
bool is_foreign_header(std::string_view field, std::string_view preset);

}  // namespace posthouse::smtp
