#include "protocols/policy/incident_page.h"

#include <fmt/format.h>

namespace posthouse::policy {
namespace {

std::string row(std::string_view name, std::string_view value) {
    if (value.empty()) return "";
    return fmt::format("<dt>{}</dt><dd>{}</dd>\n", name, escape_html(value));
}

std::string title_of(const IncidentFacts& facts) { return fmt::format("Incident {}", facts.number); }

std::string facts_of(const IncidentFacts& facts) {
    std::string out = fmt::format("<p>{}.</p>\n<dl>\n", escape_html(facts.what));
    out += row("Since", facts.since) + row("Said by", facts.remote) + row("Answer", facts.reply);
    if (facts.held) out += row("Held", fmt::format("{} recipients", *facts.held));
    if (facts.is_open) return out + row("What to do", facts.advice) + "</dl>\n";
    return out + row("Over since", facts.ended) + row("Because", facts.because) + "</dl>\n";
}

}  // namespace

std::string incident_page(const IncidentFacts& facts) {
    std::string body = facts_of(facts);
    constexpr std::string_view kButton =
        "<p>When it is mended, say so: what waits for it goes out at once.</p>\n<form method=\"post\">"
        "<button type=\"submit\">It is fixed</button></form>";
    body += facts.is_open ? kButton : std::string_view("<p>Nothing needs to be done.</p>");
    return html_page(title_of(facts), body);
}

std::string incident_fixed_page(const IncidentFacts& facts, std::uint64_t released, std::string_view why) {
    if (!why.empty()) {
        return html_page(title_of(facts), facts_of(facts) + fmt::format("<p>It stays open: {}.</p>", escape_html(why)));
    }
    return html_page(title_of(facts),
                     fmt::format("<p>It is over. {} recipients are released, and tried at once.</p>", released));
}

std::string incident_unknown_page() {
    return html_page("No such incident",
                     "<p>This address is not complete, too old, or was never given to anybody. On the server "
                     "<code>posthouse incident list</code> shows what is open.</p>");
}

}  // namespace posthouse::policy
