#include "protocols/policy/one_click.h"

#include <fmt/format.h>

#include <algorithm>

#include "protocols/base/ascii.h"

namespace posthouse::policy {
namespace {

bool is_token(std::string_view text) {
    return !text.empty() && text.size() <= kUnsubscribeTokenOctetsMax && std::ranges::all_of(text, ascii::is_alnum);
}

std::string page(std::string_view title, std::string_view body) {
    return fmt::format(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" "
        "content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\"><title>{}</title></head>\n"
        "<body><h1>{}</h1>\n{}\n</body></html>\n",
        title, title, body);
}

}  // namespace

// List-Unsubscribe: <https://...>, <mailto:...>                          RFC 8058 3.1, RFC 2369 3.2
std::string one_click_fields(std::string_view base_url, std::string_view token, std::string_view mail_domain) {
    return fmt::format(
        "List-Unsubscribe: <{}{}{}>, <mailto:{}{}@{}>\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\n", base_url,
        kUnsubscribeTarget, token, kUnsubscribeMailbox, token, mail_domain);
}

std::optional<std::string> token_of_mailbox(std::string_view local_part) {
    if (!ascii::starts_with_ci(local_part, kUnsubscribeMailbox)) return std::nullopt;
    const std::string token = ascii::to_lower(local_part.substr(kUnsubscribeMailbox.size()));
    return is_token(token) ? std::optional(token) : std::nullopt;
}

std::optional<std::string> token_of_target(std::string_view target) {
    if (!target.starts_with(kUnsubscribeTarget)) return std::nullopt;
    target.remove_prefix(kUnsubscribeTarget.size());
    const std::string token = ascii::to_lower(target.substr(0, target.find('?')));
    return is_token(token) ? std::optional(token) : std::nullopt;
}

std::string unsubscribe_question_page(std::string_view list) {
    return page("Unsubscribe", fmt::format("<p>Do you want no more mail of the list \"{}\"?</p>\n<form method=\"post\">"
                                           "<input type=\"hidden\" name=\"List-Unsubscribe\" value=\"One-Click\">"
                                           "<button type=\"submit\">Unsubscribe</button></form>",
                                           list));
}

std::string unsubscribe_done_page(std::string_view list) {
    return page("Unsubscribed", fmt::format("<p>You get no more mail of the list \"{}\".</p>", list));
}

std::string unsubscribe_unknown_page() {
    return page("Nothing to unsubscribe from",
                "<p>This address is not complete, or was never given to anybody. Take it from the mail again.</p>");
}

}  // namespace posthouse::policy
