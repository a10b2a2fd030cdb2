#include "protocols/policy/one_click.h"

#include <fmt/format.h>

#include "protocols/base/ascii.h"

namespace posthouse::policy {
// List-Unsubscribe: <https://...>, <mailto:...>                          RFC 8058 3.1, RFC 2369 3.2
std::string one_click_fields(std::string_view base_url, std::string_view token, std::string_view mail_domain) {
    return fmt::format(
        "List-Unsubscribe: <{}{}{}>, <mailto:{}{}@{}>\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\n", base_url,
        kUnsubscribeTarget, token, kUnsubscribeMailbox, token, mail_domain);
}

std::optional<std::string> token_of_mailbox(std::string_view local_part) {
    if (!ascii::starts_with_ci(local_part, kUnsubscribeMailbox)) return std::nullopt;
    const std::string token = ascii::to_lower(local_part.substr(kUnsubscribeMailbox.size()));
    return is_page_token(token) ? std::optional(token) : std::nullopt;
}

std::optional<std::string> token_of_target(std::string_view target) {
    return token_behind(kUnsubscribeTarget, target);
}

std::string unsubscribe_question_page(std::string_view list) {
    const std::string body = fmt::format(
        "<p>Do you want no more mail of the list \"{}\"?</p>\n<form method=\"post\">"
        "<input type=\"hidden\" name=\"List-Unsubscribe\" value=\"One-Click\">"
        "<button type=\"submit\">Unsubscribe</button></form>",
        list);
    return html_page("Unsubscribe", body);
}

std::string unsubscribe_done_page(std::string_view list) {
    return html_page("Unsubscribed", fmt::format("<p>You get no more mail of the list \"{}\".</p>", list));
}

std::string unsubscribe_unknown_page() {
    return html_page("Nothing to unsubscribe from",
                "<p>This address is not complete, or was never given to anybody. Take it from the mail again.</p>");
}

}  // namespace posthouse::policy
