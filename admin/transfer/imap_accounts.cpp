#include "admin/transfer/imap_accounts.h"

#include <fmt/format.h>

#include <utility>

#include "protocols/base/ascii.h"
#include "protocols/base/cursor.h"

namespace posthouse::transfer {
namespace {

constexpr std::string_view kFilePrefix = "file:";

// One line, split; nothing where a quote does not end.
std::optional<std::vector<std::string>> split_fields(std::string_view line) {
    std::vector<std::string> out;
    Cursor in(line);
    for (;;) {
        in.skip_blanks();
        std::string field;
        if (in.take('"')) {
            for (;;) {
                field += in.take_until('"');
                if (!in.take('"')) return std::nullopt;
                if (!in.take('"')) break;
                field += '"';
            }
            in.skip_blanks();
            if (!in.at_end() && in.peek() != ',') return std::nullopt;
        } else {
            field = std::string(ascii::trim(in.take_until(',')));
        }
        out.push_back(std::move(field));
        if (!in.take(',')) return out;
    }
}

AccountLine read_line(std::string_view text, std::size_t number) {
    AccountLine out;
    out.number = number;
    const auto wrong = [&](std::string_view why) {
        out.wrong = Error(Errc::invalid, fmt::format("line {}: {}", number, why));
        return out;
    };
    const auto fields = split_fields(text);
    if (!fields) return wrong("a quote does not end where it should");
    out.account = ascii::to_lower((*fields)[0]);
    if (fields->size() != 3) {
        return wrong("write three columns: the account here, its source, the password (or file:PATH)");
    }
    auto url = parse_imap_url((*fields)[1]);
    if (!url) return wrong(url.error().context);
    out.url = *std::move(url);
    const std::string& secret = (*fields)[2];
    if (secret.empty()) return wrong("the password is empty");
    if (secret.starts_with(kFilePrefix)) {
        out.password_file = secret.substr(kFilePrefix.size());
    } else {
        out.password = secret;
    }
    return out;
}

}  // namespace

std::vector<AccountLine> parse_accounts(std::string_view csv) {
    std::vector<AccountLine> out;
    if (csv.starts_with("\xef\xbb\xbf")) csv.remove_prefix(3);  // spreadsheets begin their files so
    Cursor in(csv);
    for (std::size_t number = 1; !in.at_end(); ++number) {
        const std::string_view line = ascii::trim(in.take_until('\n'));
        in.take('\n');
        if (line.empty() || line.starts_with('#')) continue;
        if (out.empty() && (ascii::starts_with_ci(line, "account,") || ascii::starts_with_ci(line, "account ,"))) {
            continue;
        }
        out.push_back(read_line(line, number));
    }
    return out;
}

}  // namespace posthouse::transfer
