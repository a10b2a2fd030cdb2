#pragma once
/// protocols/policy/one_click: unsubscribing in one step (RFC 8058, RFC 2369 3.2): the fields of a copy, and what a
/// person sees who opens the address by hand. A token says who wants no more of what; who makes and checks it is not
/// said here. Pure.
#include <optional>
#include <string>
#include <string_view>

#include "protocols/policy/page.h"

namespace posthouse::policy {

/// Path of the page, before the token.
inline constexpr std::string_view kUnsubscribeTarget = "/unsubscribe/";
/// Local part of the mailbox, before the token.
inline constexpr std::string_view kUnsubscribeMailbox = "unsubscribe-";

/// Two lines "Name: value\n". `base_url` begins with https:// (RFC 8058 3.1) and the token is put behind its path.
std::string one_click_fields(std::string_view base_url, std::string_view token, std::string_view mail_domain);
/// The token in such a local part (any case); nothing where it is none.
std::optional<std::string> token_of_mailbox(std::string_view local_part);
/// The token behind kUnsubscribeTarget; nothing for any other target.
std::optional<std::string> token_of_target(std::string_view target);

// Pages. `list` is [A-Za-z0-9_-].
/// With a button: a link scanner that follows every address must not unsubscribe anybody (RFC 8058 1).
std::string unsubscribe_question_page(std::string_view list);
std::string unsubscribe_done_page(std::string_view list);
std::string unsubscribe_unknown_page();

}  // namespace posthouse::policy
